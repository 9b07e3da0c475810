"""Stop early: photos in a random order that is fair to every class, and a look at the drop now and then.

A look is an interval of a confidence sequence (`metrics.Confidence`), so stopping at any look is allowed.
Photos are drawn, not clusters: each look then estimates what the whole benchmark would, however the drop
depends on the size of clusters or on how many classes they span, and successive looks relate as the sequence
assumes. The interval refers to the population of clusters, as that of a whole run does.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from counterground.errors import UsageError
from counterground.metrics import (
    DESIGN,
    KEYS,
    Confidence,
    Design,
    Interval,
    cluster_columns,
    drop_interval,
    score_predictions,
)
from counterground.results import NO_GROUPS

Verdict = Literal["above", "below"]

# Photos of each class and group at the first look, and the factor by which they grow at each later look.
_FIRST, _GROWTH = 4, 1.1
_ANYTIME = Confidence(anytime=True)


@dataclass(frozen=True)
class Until:
    """When an evaluation may stop: when it is decided whether the drop is above ``max_drop`` or below.

    Attributes:
        max_drop: the limit (fraction).
        seed: decides the order of the photos.

    Raises:
        UsageError: a limit below 0, or of 1 or more.
    """

    max_drop: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop < 1:
            raise UsageError(f"A drop is 0 to 100 points; --max-drop cannot be {100 * self.max_drop:g}.")

    def verdict(self, drop: Interval) -> Verdict | None:
        """Return on which side of the limit the drop is; None while that is open."""
        if drop.low is not None and drop.low > self.max_drop:
            return "above"
        if drop.high is not None and drop.high < self.max_drop:
            return "below"
        return None

    def looks(self, photos: pl.DataFrame) -> list[np.ndarray]:
        """Return the rows of ``photos`` that each look adds, sorted.

        A look is a simple random sample of the photos of each class and group, equally many of each while
        there are enough. Photos of classes without both groups, and photos without a group, are in no look.

        Raises:
            UsageError: no class has both groups.
        """
        rows = _paired(photos, self.seed)
        turn, place = rows["turn"].to_numpy(), rows["row"].to_numpy()
        found, before, until = [], 0, _FIRST
        while before < turn.max():
            found.append(np.sort(place[(turn > before) & (turn <= until)]))
            before, until = until, max(until + 1, math.ceil(_GROWTH * until))
        return found


def look(
    predictions: pl.DataFrame, *, models: int = 1, design: Design = DESIGN
) -> list[tuple[dict[str, object], Interval]]:
    """Return, for each setting of a model, the interval of its drop in a confidence sequence.

    The error is shared by all settings of ``models`` models, as in ``check``; the clusters are those of
    ``design``. ``predictions`` has the columns of ``predictions.parquet``.

    Raises:
        ValueError: the photos lack a column of clusters.
    """
    parts = predictions.partition_by(KEYS, as_dict=True, maintain_order=True)
    confidence = _ANYTIME.shared_by(models * len(parts))
    return [
        (
            dict(zip(KEYS, key, strict=True)),
            drop_interval(
                rows["correct"],
                rows["class_index"],
                rows["group"],
                **cluster_columns(rows, design),
                confidence=confidence,
            ),
        )
        for key, rows in parts.items()
    ]


def score_stopped(predictions: pl.DataFrame, *, design: Design = DESIGN) -> pl.DataFrame:
    """Return the scores of a run that may have stopped early: its intervals are confidence sequences.

    Columns and errors are those of `metrics.score_predictions`.
    """
    return score_predictions(predictions, confidence=_ANYTIME, design=design)


def _paired(photos: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return ``row`` and ``turn``, its place in its class and group, of the photos that can show a drop."""
    rows = photos.with_row_index("row").filter(pl.col("group").is_not_null())
    rows = rows.filter(pl.col("group").n_unique().over("class_index") == 2)
    if rows.is_empty():
        raise UsageError(
            f"There is no drop to decide on: {NO_GROUPS}. Leave out --until, or choose pairs with discover."
        )
    photo = rows.select(pl.format("photo {}", pl.col("photo_id") + pl.col("path"))).to_series()
    order = pl.Series("order", [_random(seed, name) for name in photo])
    return rows.with_columns(order).select(
        pl.col("row").cast(pl.Int64),
        pl.col("order").rank("dense").over("class_index", "group").cast(pl.Int64).alias("turn"),
    )


def _random(seed: int, photo: str) -> int:
    """Return a number that depends on nothing else, so that other photos do not change the order of these."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\n{photo}".encode(), digest_size=8).digest(), "big") >> 1
