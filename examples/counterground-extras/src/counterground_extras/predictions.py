"""A format of predictions: lines of ``photo = name (probability)``."""

from __future__ import annotations

import re

import polars as pl

from counterground.predictions import GivenPredictions, PredictionFormat

LINE = re.compile(r"(.+) = (.+) \((.+)\)")


def read(path, content, columns):
    rows = [LINE.fullmatch(line).groups() for line in path.read_text("utf-8").splitlines()]
    return GivenPredictions(pl.DataFrame(rows, ["photo", "prediction", "confidence"], orient="row"))


LINES = PredictionFormat("lines", lambda path, content: path.suffix == ".lines", read)
