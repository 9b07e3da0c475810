"""How numbers are written, and untrusted text shown as it is: on pages, in Markdown and LaTeX.

Percent with one decimal, a true minus sign, an en dash if there is no figure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "''",
    "−": "$-$",
    "–": r"\textendash{}",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
}

NOTHING = "–"

# They keep right-to-left text from reordering the text beside it.
_ISOLATE, _END = "\u2068", "\u2069"
_KEPT = f"\t\n\r{_ISOLATE}{_END}"


def one_line(text: str) -> str:
    """Return a text in one line, without control characters and without marks that reorder text."""
    return " ".join(
        "".join(" " if char.isspace() else char for char in text if char.isspace() or _visible(char)).split()
    )


def in_utf8(text: str) -> str:
    """Return a text as it can be written: half a surrogate pair, as a server may send alone, is spelt out."""
    return text.encode(errors="backslashreplace").decode()


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


def counted(number: int, noun: str) -> str:
    """Return a count and what is counted: ``1 class``, ``2,300 photos``; the noun's plural is regular."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def and_more(names: Sequence[str], most: int) -> str:
    """Return the first ``most`` names, and how many more there are: ``ox, zebra and 3 more``."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def duration(seconds: float | None) -> str:
    """Return a time as people say it: ``2.3 s``, ``45 s``, ``10 min``, ``2 h 05 min``; None is a dash."""
    if seconds is None:
        return "–"
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def legible(value: Any) -> Any:
    """Return JSON-like data without the characters that `one_line` drops; white space and isolates stay."""
    if isinstance(value, str):
        if value.isprintable():  # most are, and photos in pages are long
            return value
        return "".join(char for char in value if _visible(char) or char in _KEPT)
    if isinstance(value, dict):
        return {legible(key): legible(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [legible(item) for item in value]
    return value


def isolated(text: str) -> str:
    """Return ``text`` wrapped so that, if it is right-to-left, the sentence around it keeps its order."""
    reorders = any(unicodedata.bidirectional(char) in {"R", "AL"} for char in text)
    return f"{_ISOLATE}{text}{_END}" if reorders else text


def _visible(char: str) -> bool:
    is_noncharacter = ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF
    return not is_noncharacter and unicodedata.category(char) not in {"Cc", "Cf", "Cs"}


def markdown(text: str) -> str:
    """Return ``text`` so that Markdown and HTML show it as it is: no markup, no cell ends, no links."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#|&~^$@!]|(?<=/)/)", r"\\\1", one_line(text))
    # At the start of a line these begin a list.
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", escaped)


def code(text: str) -> str:
    """Return ``text`` as Markdown's inline code, fenced by more backticks than it has in a row."""
    line = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    gap = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{gap}{line}{gap}{fence}"


def latex(text: str) -> str:
    """Return ``text`` so that LaTeX prints it as it is; hyphens in a row do not become a dash."""
    written = "".join(_LATEX.get(sign, sign) for sign in one_line(text))
    return re.sub(r"-(?=-)", "-{}", written)
