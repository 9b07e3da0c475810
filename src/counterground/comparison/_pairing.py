"""Paired tests of drops for every two points on the same photos, whatever they were asked."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from counterground.comparison._deduplicate import fingerprint, predictions_of
from counterground.comparison._ranks import Pair
from counterground.metrics import paired_test
from counterground.results import Run

_PHOTO = ("path", "photo_id", "class_index", "group", "cluster")


class _Answers(NamedTuple):
    photos: str
    correct: np.ndarray[Any, Any]
    class_index: np.ndarray[Any, Any]
    group: list[Any]
    cluster: list[Any]


def paired_drops(points: pl.DataFrame, holders: Sequence[Run | None]) -> dict[Pair, float | None]:
    """Return p-values of the difference in drop by places (i < j) among the points.

    Pairs of which one saw other photos, or has none (the paper's rows), are left out. Names, prompts and ways
    of asking may differ: the photos are what is paired.

    Args:
        points: columns of ``model_points``.
        holders: the run that holds each point, None for published rows.
    """
    known = [
        (place, _answers(run, row))
        for place, (run, row) in enumerate(zip(holders, points.iter_rows(named=True), strict=True))
        if run is not None
    ]
    found = {}
    for (first, a), (second, b) in combinations(known, 2):
        if a.photos == b.photos:
            test = paired_test(a.correct, b.correct, a.class_index, a.group, a.cluster, quantity="drop")
            found[first, second] = test.p_value
    return found


def _answers(run: Run, row: dict[str, Any]) -> _Answers:
    found = predictions_of(run, row)
    return _Answers(
        fingerprint(found.select(_PHOTO)),
        found["correct"].to_numpy(),
        found["class_index"].to_numpy(),
        found["group"].to_list(),
        found["cluster"].to_list(),
    )
