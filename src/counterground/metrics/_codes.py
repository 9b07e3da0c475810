"""Photos coded by class, group and cluster, checked once for every metric."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]

GROUPS = ("common", "counter")
"""What a photo's background is to its class; null for neither."""

COMMON, COUNTER, NEITHER = 0, 1, 2


def as_flags(correct: npt.ArrayLike, what: str = "correct") -> Flags:
    """Return a one-dimensional Boolean array; nulls and other values are refused."""
    values = np.asarray(correct)
    if values.ndim != 1:
        raise ValueError(f"{what!r} must have one dimension, not {values.ndim}.")
    if values.dtype == bool:
        flags: Flags = values
        return flags
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        numbers = np.full(values.shape, np.nan)
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise ValueError(f"{what!r} must hold true or false for every photo, without nulls.")
    return np.asarray(numbers == 1.0, dtype=bool)


def group_codes(group: npt.ArrayLike | None, n: int) -> Codes:
    """Code groups as COMMON, COUNTER, or NEITHER for null; ``None`` means that no photo has a group."""
    if group is None:
        return np.full(n, NEITHER, dtype=np.intp)
    values = np.asarray(group, dtype=object)
    same_length(n, values, "group")
    codes = np.full(n, NEITHER, dtype=np.intp)
    codes[values == "common"] = COMMON
    codes[values == "counter"] = COUNTER
    strange = {repr(value) for value in values[codes == NEITHER] if not is_null(value)}
    if strange:
        raise ValueError(f"A group is 'common', 'counter' or null, not {', '.join(sorted(strange))}.")
    return codes


def cluster_codes(cluster: npt.ArrayLike | None, n: int) -> tuple[Codes, int]:
    """Code clusters 0, 1, ... and count them; a photo whose cluster is null is a cluster of its own."""
    if cluster is None:
        return np.arange(n, dtype=np.intp), n
    values = np.asarray(cluster, dtype=object)
    same_length(n, values, "cluster")
    null = np.fromiter((is_null(value) for value in values), dtype=bool, count=n)
    codes = np.empty(n, dtype=np.intp)
    names, codes[~null] = np.unique(values[~null].astype(str), return_inverse=True)
    codes[null] = len(names) + np.arange(null.sum())
    return codes, len(names) + int(null.sum())


def same_length(n: int, values: npt.NDArray[np.generic] | npt.NDArray[np.object_], what: str) -> None:
    """Refuse a column that does not have one value per photo."""
    if values.shape != (n,):
        raise ValueError(f"{what!r} has shape {values.shape}, but there are {n} photos.")


def is_null(value: object) -> bool:
    """Return whether a value is None or NaN."""
    return value is None or value != value  # noqa: PLR0124 - only NaN differs from itself


@dataclass(frozen=True)
class Strata:
    """Photos by class and by class x group.

    ``classes`` are the class indices that occur, sorted; ``by_class`` codes photos by them ``[n]``;
    ``by_cell`` is ``2 * class + group``, and -1 for photos without a group.
    """

    classes: npt.NDArray[np.int64]
    by_class: Codes
    by_cell: Codes
    group: Codes

    @classmethod
    def of(cls, class_index: npt.ArrayLike, group: npt.ArrayLike | None, n: int) -> Strata:
        """Code the photos; ``class_index`` ``[n]`` are integers, ``group`` ``[n]`` as in ``group_codes``."""
        indices = np.asarray(class_index)
        same_length(n, indices, "class_index")
        if n and not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"'class_index' must hold integers without nulls, not {indices.dtype}.")
        classes, by_class = np.unique(indices.astype(np.int64), return_inverse=True)
        groups = group_codes(group, n)
        by_cell = np.where(groups == NEITHER, -1, 2 * by_class + groups)
        return cls(classes, by_class.astype(np.intp), by_cell.astype(np.intp), groups)

    @cached_property
    def cell_sizes(self) -> Codes:
        """Photos per class and group, ``[c, 2]``."""
        inside = self.by_cell[self.by_cell >= 0]
        return np.bincount(inside, minlength=2 * len(self.classes)).reshape(-1, 2)
