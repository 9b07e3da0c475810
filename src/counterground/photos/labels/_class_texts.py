"""Class names that a text encoder may read badly, because nobody writes captions like that."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from counterground.text import and_more

_WNID = re.compile(r"[nvars]\d{8}")
_CAMEL = re.compile(r"[a-z]{2}(?=[A-Z])")
_SHOWN = 3
_ACRONYM = 4  # letters: SUV and USB are read as they are written


def badly_read_names(names: Sequence[str]) -> str:
    """Return what is odd about class names as texts, in a few words; empty if nothing is.

    It looks for WordNet ids, bare numbers, single letters, underscores, words run together (``AnnualCrop``)
    and capitals throughout (longer than an acronym, or in all names).
    """
    capitals = all(name.isupper() for name in names)
    found = {name: what for name in names if (what := _oddity(name, capitals=capitals))}
    if not found:
        return ""
    listed = and_more([f"{name!r} ({what})" for name, what in found.items()], _SHOWN)
    return f"{len(found):,} of {len(names):,} class names may read badly to a text encoder: {listed}"


def _oddity(name: str, *, capitals: bool) -> str:
    checks: tuple[tuple[str, Callable[[str], object]], ...] = (
        ("a WordNet id", _WNID.fullmatch),
        ("a bare number", lambda text: re.fullmatch(r"[\d.,\s-]+", text)),
        ("a single letter", lambda text: len(text) == 1),
        ("an underscore", lambda text: "_" in text),
        ("words run together", lambda text: " " not in text and _CAMEL.search(text)),
        ("all capitals", lambda text: text.isupper() and (capitals or _letters(text) >= _ACRONYM)),
    )
    return next((what for what, is_odd in checks if is_odd(name.strip())), "")


def _letters(text: str) -> int:
    return sum(char.isalpha() for char in text)
