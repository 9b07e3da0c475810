"""How a fraction is written: percent with one decimal, a true minus sign, an en dash where there is none."""

from __future__ import annotations

NOTHING = "–"


def percent(value: float | None, *, minus: str = "−") -> str:
    """Write a fraction as percent with one decimal, without the sign: 0.2134 -> ``21.3``; None -> ``–``."""
    if value is None:
        return NOTHING
    text = f"{value * 100:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", minus)


def bounds(low: float | None, high: float | None, *, minus: str = "−") -> str:
    """Write an interval of fractions as percent, ``[12.0, 30.1]``; empty where there is none."""
    if low is None or high is None:
        return ""
    return f"[{percent(low, minus=minus)}, {percent(high, minus=minus)}]"


def count(value: int | None) -> str:
    """Write a count with thousands separators; None -> ``–``."""
    return NOTHING if value is None else f"{value:,}"


def counted(value: int | None, noun: str) -> str:
    """Write a count and what is counted: ``1 class``, ``2,300 photos``; the noun's plural is regular."""
    ending = "" if value == 1 else "es" if noun.endswith("s") else "s"
    return f"{count(value)} {noun}{ending}"


def p_value(value: float | None) -> str:
    """Write a p-value with three decimals, never as zero."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
