"""What the predictions say about the classes: names, and the backgrounds of both groups."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from counterground.findings import DROP_WORDS, Words
from counterground.metrics import GROUPS
from counterground.text import NOTHING


class ClassFacts(NamedTuple):
    """What the predictions say about a class: its name and the backgrounds of its groups."""

    name: str
    common: str
    counter: str

    @property
    def change(self) -> str:
        """``grass → sky``, or empty if no background is recorded."""
        return f"{self.common or NOTHING} → {self.counter or NOTHING}" if self.common or self.counter else ""


def class_facts(predictions: pl.DataFrame, words: Words = DROP_WORDS) -> dict[int, ClassFacts]:
    """Return name and backgrounds of every class from the predictions; for another contrast, its sides."""
    table = (
        predictions.select("class_index", "class_name", "group", "background")
        .unique()
        .sort("class_index", "group", "background", nulls_last=True)
    )
    names: dict[int, str] = {}
    backgrounds: dict[tuple[int, str], list[str]] = {}
    for index, name, group, background in table.iter_rows():
        names.setdefault(index, name)
        if group in GROUPS and background is not None:
            backgrounds.setdefault((index, group), []).append(background)
    if not words.is_drop:
        return {index: ClassFacts(name, words.left, words.right) for index, name in names.items()}
    return {
        index: ClassFacts(name, *(", ".join(backgrounds.get((index, group), [])) for group in GROUPS))
        for index, name in names.items()
    }
