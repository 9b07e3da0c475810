"""Class names of a source, brought together with those of the pool; nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from counterground.build.imports._options import ImportOptions
from counterground.errors import UsageError, did_you_mean
from counterground.photos import assign_classes
from counterground.pool import check_class_names

if TYPE_CHECKING:
    from counterground.pool import Pool


def settle_classes(written: Iterable[str], options: ImportOptions) -> dict[str, str]:
    """Return the pool's class name for each name of the source: renamed, then read as benchmarks read theirs.

    Raises:
        UsageError: a name to be renamed that the source does not have.
        CounterGroundError: two of the names mean one class, or one is ambiguous beside classes of ImageNet.
    """
    names = list(dict.fromkeys(written))
    for name in options.rename:
        if name not in names:
            raise UsageError(f"The source has no class {name!r} to be renamed.{did_you_mean(name, names)}")
    renamed = {name: options.rename.get(name, name) for name in names}
    classes = assign_classes(list(dict.fromkeys(renamed.values())))
    return {name: classes.label_space.names[classes.index[new]] for name, new in renamed.items()}


def check_against_pool(pool: Pool, names: Iterable[str]) -> None:
    """Refuse a class that the pool has under another writing.

    Raises:
        CounterGroundError: which, and how to mend it.
    """
    check_class_names(
        pool, names, lambda name, known: f"Import it as that one: --rename {f'{name}={known}'!r}."
    )
