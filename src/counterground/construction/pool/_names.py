"""Names that enter a pool: a class and a person each keep one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from counterground.errors import CounterGroundError, UsageError
from counterground.photos import assign_classes, name_key, quoted_ways

if TYPE_CHECKING:
    from counterground.construction.pool._store import Pool


def spelling_of(labels: Iterable[str]) -> dict[str, str]:
    """Return how a pool writes each of its labels, by ``name_key``: the first of several spellings."""
    spelling: dict[str, str] = {}
    for label in labels:
        spelling.setdefault(name_key(label), label)
    return spelling


def check_class_names(
    pool: Pool, names: Iterable[str], remedy: Callable[[str, str], str], *, also: Iterable[str] = ()
) -> None:
    """Refuse classes that the pool has under other names.

    Args:
        pool: the pool.
        names: names of the incoming classes.
        remedy: function from a name and the pool's name for the class to the remedy.
        also: further names that count as the pool's.

    Raises:
        CounterGroundError: the message names the class and its remedy.
    """
    theirs = {*pool.photos()["class_name"], *pool.candidates()["class_name"], *also}
    plain = {name_key(name): name for name in theirs}
    fresh = sorted(set(names) - theirs)
    for name in fresh:
        if known := plain.get(name_key(name)):
            theirs_and_ours = " ".join(quoted_ways([name, known]))
            raise CounterGroundError(f"The pool calls the class {theirs_and_ours}. {remedy(name, known)}")
    if fresh:
        assign_classes([*theirs, *fresh])  # refuses two names of one class


def check_annotators(pool: Pool, names: Iterable[str]) -> None:
    """Refuse another spelling of an earlier annotator's name: one person would count as two.

    Raises:
        UsageError: there is one; the message names both.
    """
    earlier = pool.decisions()["annotator"].unique().to_list()
    known = {name_key(name): name for name in sorted(earlier)}
    for name in names:
        same = known.get(name_key(name), name)
        if name not in earlier and same != name:
            raise UsageError(
                f"The pool has decisions by {same!r}: use that name, since {name!r} would count as a second "
                "person."
            )
