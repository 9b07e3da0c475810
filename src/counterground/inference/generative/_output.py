"""What the evaluation of a generative model gives, under any protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from counterground.inference.store import ReadStatus
from counterground.results import PositionsRecord


@dataclass(frozen=True)
class GenerativeOutput:
    """The results of a generative model.

    Attributes:
        predictions: rows of ``predictions.parquet``, one for each prompt and photo that was read.
        read: which photos were read.
        asked: JSON-ready account of each prompt.
        answers: generated answers, None if losses were computed.
        unmatched: number of predictions without a class, because no answer names a candidate; None if losses
            were computed.
        several: number of answers that name more than one candidate.
        unclear: number of answers to yes-no questions that begin with neither yes nor no.
        positions: effect of the order of options, by number of options.
    """

    predictions: pl.DataFrame
    read: ReadStatus
    asked: list[dict[str, Any]]
    answers: pl.DataFrame | None = None
    unmatched: int | None = None
    several: int = 0
    unclear: int = 0
    positions: tuple[PositionsRecord, ...] = ()
