"""A key for each label, so that labelling needs no mouse."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase

COMMAND_KEYS = frozenset("luz")
"""Later, undo, zoom."""

_SPARE = "1234567890"


def label_keys(labels: Sequence[str]) -> dict[str, str | None]:
    """Return each label's key: its first letter that is free, else any free letter, else a digit, else None.

    Keys go out in the order of the labels, so one that is added at the end leaves the others theirs.
    """
    free = dict.fromkeys([letter for letter in ascii_lowercase if letter not in COMMAND_KEYS])
    own: dict[str, str | None] = {}
    for label in labels:
        own[label] = next((letter for letter in label.lower() if letter in free), None)
        free.pop(own[label] or "", None)
    spare = iter([*free, *_SPARE])
    return {label: key or next(spare, None) for label, key in own.items()}
