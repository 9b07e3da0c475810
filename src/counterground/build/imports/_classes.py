"""Class names of a source, brought together with those of the pool; nothing is guessed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from counterground.build.imports._options import ImportOptions
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.photos import assign_classes

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
    theirs = set(pool.photos()["class_name"]) | set(pool.candidates()["class_name"])
    plain = {_plain(name): name for name in theirs}
    fresh = sorted(set(names) - theirs)
    for name in fresh:
        known = plain.get(_plain(name))
        if known is None:
            try:
                assign_classes([*theirs, name])
                continue
            except CounterGroundError as error:
                raise CounterGroundError(f"{error} {_remedy(name, 'NAME')}") from error
        raise CounterGroundError(f"The pool calls the class {name!r} {known!r}. {_remedy(name, known)}")


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


def _remedy(name: str, known: str) -> str:
    return f"Import it as that one: --rename {f'{name}={known}'!r}."
