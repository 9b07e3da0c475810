"""A figure with its interval, and how it is written.

Percent with one decimal, a true minus sign, an en dash if there is no figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOTHING = "–"


def percent(value: float | None, *, minus: str = "−") -> str:
    """Write a fraction as percent with one decimal, without the sign: 0.2134 -> ``21.3``; None -> ``–``."""
    if value is None:
        return NOTHING
    return decimal(value * 100, 1, minus=minus)


def decimal(value: float | None, places: int = 2, *, minus: str = "−") -> str:
    """Write a number with ``places`` decimals, never as a negative zero; None -> ``–``."""
    if value is None:
        return NOTHING
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if not float(text) else text.replace("-", minus)


def bounds(low: float | None, high: float | None, *, minus: str = "−") -> str:
    """Write an interval of fractions as percent, ``[12.0, 30.1]``; empty if there is none."""
    if low is None or high is None:
        return ""
    return f"[{percent(low, minus=minus)}, {percent(high, minus=minus)}]"


def signed(value: float | None) -> str:
    """Write a fraction as percent with its sign; 0.0 has none."""
    text = percent(value)
    return text if value is None or text == "0.0" or text.startswith("−") else f"+{text}"


def count(value: int | None) -> str:
    """Write a count with thousands separators; None -> ``–``."""
    return NOTHING if value is None else f"{value:,}"


def p_value(value: float | None) -> str:
    """Write a p-value with three decimals, never as zero."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equals(value: float | None, *, at_most: bool = False) -> str:
    """Write a p-value as an equation: ``p = 0.012``, ``p < 0.001``; ``p ≤ 0.012`` for an upper bound."""
    if value is None or value < 0.001:
        return f"p {p_value(value)}"
    return f"p {'≤' if at_most else '='} {p_value(value)}"


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval (fractions), and the photos and clusters behind it; None: unknown.

    ``low`` and ``high`` refer to other photos of the same classes, ``classes_low`` and ``classes_high`` to
    other classes chosen like these. ``p_value`` is two-sided, for a drop of 0, and not corrected.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int | None = None
    p_value: float | None = None
    classes_low: float | None = None
    classes_high: float | None = None

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
        own = ("p_value", "classes_low", "classes_high") if name == "value" else ()
        more = (_finite(row.get(column)) for column in own)
        return cls(value, low, high, row.get("n") or 0, row.get("clusters"), *more)

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


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
