"""Labels of a pool that differ only in spelling are one label."""

from __future__ import annotations

from collections.abc import Iterable

from counterground.photos import name_key


def spelling_of(labels: Iterable[str]) -> dict[str, str]:
    """Return how a pool writes each of its labels, by ``name_key``: the first of several spellings."""
    spelling: dict[str, str] = {}
    for label in labels:
        spelling.setdefault(name_key(label), label)
    return spelling
