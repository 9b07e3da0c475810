"""Columns of Hugging Face's ``ClassLabel``: whole numbers, whose names the data set states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from counterground.errors import CounterGroundError


def label_name(value: Any, names: Sequence[str], where: str) -> Any:
    """Return the name for a value of a ``ClassLabel`` column; None for a negative one, which means unknown.

    What is not a number is returned as it is.

    Args:
        value: the value.
        names: of the numbers, from 0 on.
        where: row and column, for messages.

    Raises:
        CounterGroundError: a number without a name.
    """
    if not isinstance(value, int):
        return value
    if value >= len(names):
        raise CounterGroundError(f"{where} is number {value}, but there are {len(names)} names.")
    return names[value] if value >= 0 else None
