"""A figure with its interval: what every table, finding and page takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from counterground.text import bounds, percent, signed

SIGNIFICANT = 0.05
"""A corrected p-value below it is called significant."""


@dataclass(frozen=True)
class Estimate:
    """A fraction with its interval, and the photos and clusters behind it; None: unknown.

    Attributes:
        value: None if there is nothing to measure.
        low: lower end of the interval for other photos of the same classes (and pairs of backgrounds); None
            with fewer than two clusters, or if all photos of a side are in one.
        high: upper end of that interval.
        n: number of photos.
        clusters: number of clusters, by the first way of clustering.
        p_value: two-sided, for a difference of 0, not corrected; None if the value is not a difference.
        classes_low: lower end of the interval for other classes, with these taken as a random sample; None if
            the value is not an average over classes.
        classes_high: upper end of that interval.
        clusters_2: number of clusters of the second way of clustering.
        p_corrected: ``p_value`` corrected for ``family`` tests.
        family: number of tests.
        confidence: of both intervals.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int | None = None
    p_value: float | None = None
    classes_low: float | None = None
    classes_high: float | None = None
    clusters_2: int | None = None
    p_corrected: float | None = None
    family: int | None = None
    confidence: float = 0.95

    @classmethod
    def of(cls, row: Mapping[str, Any], name: str = "value", *, bounds: str = "") -> Estimate:
        """Read a row of a table; what is not a finite number is unknown.

        Args:
            row: a row with the column ``name`` and its ends: ``low`` and ``high`` after the prefix
                ``bounds``, as in ``drop_low``; ``n`` and ``clusters`` if the row has them.
            name: the column of the figure.
            bounds: prefix of the columns of the ends.
        """
        value, low, high = (_finite(row[column]) for column in (name, f"{bounds}low", f"{bounds}high"))
        own = ("p_value", "p_corrected", "family", "clusters_2", "classes_low", "classes_high")
        more = {column: row.get(column) for column in own} if name == "value" else {}
        return cls(value, low, high, row.get("n") or 0, row.get("clusters"), **more)  # type: ignore[arg-type]

    @property
    def significant(self) -> bool:
        """Whether a difference is, after correction."""
        return self.p_corrected is not None and self.p_corrected < SIGNIFICANT

    @property
    def fewest_clusters(self) -> int | None:
        """The number of clusters by the way of clustering that has fewer."""
        known = [each for each in (self.clusters, self.clusters_2) if each is not None]
        return min(known, default=None)

    @property
    def text(self) -> str:
        """Percent with one decimal, or an en dash."""
        return percent(self.value)

    @property
    def signed(self) -> str:
        """Percent with its sign, or an en dash."""
        return signed(self.value)

    @property
    def interval(self) -> str:
        """``[low, high]`` in percent, or empty."""
        return bounds(self.low, self.high) if self.value is not None else ""

    @property
    def classes_interval(self) -> str:
        """``[low, high]`` over other classes in percent, or empty."""
        return bounds(self.classes_low, self.classes_high)


UNKNOWN = Estimate(clusters=0)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
