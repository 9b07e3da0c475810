"""Class names on their way into a pool: one class keeps one name, else no benchmark could hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from counterground.errors import CounterGroundError
from counterground.photos import assign_classes

if TYPE_CHECKING:
    from counterground.pool._store import Pool


def check_class_names(
    pool: Pool, names: Iterable[str], remedy: Callable[[str, str], str], *, also: Iterable[str] = ()
) -> None:
    """Refuse classes that the pool has under other names, all of them at once.

    Args:
        pool: the pool.
        names: classes that are to come in.
        remedy: from a name, and what the pool calls the class ("NAME" where that is not known), to the
            sentence that mends it.
        also: further names that count as the pool's.

    Raises:
        CounterGroundError: which, and how to mend each.
    """
    theirs = {*pool.photos()["class_name"], *pool.candidates()["class_name"], *also}
    plain = {_plain(name): name for name in theirs}
    fresh = sorted(set(names) - theirs)
    if not fresh:
        return
    whole, problems = _problem([*theirs, *fresh]), []
    for name in fresh:
        known = plain.get(_plain(name))
        # "Cardigan" may be a dog: it is not renamed to the garment "cardigan".
        if known and (_problem([name]) is None or _problem([known])):
            problems.append(f"The pool calls the class {name!r} {known!r}. {remedy(name, known)}")
        elif whole and (error := _problem([*theirs, name])):
            problems.append(f"{error} {remedy(name, 'NAME')}")
    if problems:
        raise CounterGroundError(" ".join(problems))
    if whole:
        raise whole


def _problem(names: list[str]) -> CounterGroundError | None:
    try:
        assign_classes(names)
    except CounterGroundError as error:
        return error
    return None


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
