"""Which entry of a source belongs to which photo, and which to which class, by name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Generic, TypeVar

from counterground.errors import UsageError, did_you_mean
from counterground.masks._found import Found
from counterground.photos import name_key
from counterground.text import counted

T = TypeVar("T", bound=Hashable)


class NameMatch(Generic[T]):
    """The entries whose names are those of photos.

    The name of ``ox/grass/a.jpg`` is that, else ``grass/a.jpg``, else ``a.jpg``: the longest that an entry
    has. With ``stems``, a name may lack the suffix.

    Args:
        paths: paths of the photos.
        names: entries with each name.
        stems: whether names may lack the suffix.
        fits: whether an entry with the name of a photo may be of that photo; None: each may.
    """

    def __init__(
        self,
        paths: Sequence[str],
        names: Mapping[str, Sequence[T]],
        *,
        stems: bool,
        fits: Callable[[str, T], bool] | None = None,
    ) -> None:
        self._found = {path: _longest(path, names, stems=stems, fits=fits) for path in paths}
        self.claims = Counter(entry for found in self._found.values() for entry in found)

    def has(self, path: str) -> bool:
        """Whether any entry has the name of a photo."""
        return bool(self._found[path])

    def one(self, path: str, what: str) -> T | Found:
        """Return the one entry of a photo, or why there is none; ``what`` names an entry in messages."""
        found = self._found[path]
        if not found:
            return Found(None, "missing", f"no {what} has the name of the photo")
        if len(found) > 1:
            return Found(None, "ambiguous", f"{counted(len(found), what)} have the name of the photo")
        if self.claims[found[0]] > 1:
            photos = counted(self.claims[found[0]], "photo")
            return Found(None, "ambiguous", f"{photos} have the name of one {what}")
        return found[0]


def _longest(
    path: str, names: Mapping[str, Sequence[T]], *, stems: bool, fits: Callable[[str, T], bool] | None
) -> Sequence[T]:
    parts = PurePosixPath(path).parts
    for start in range(len(parts)):
        tail = PurePosixPath(*parts[start:])
        for wanted in (str(tail), str(tail.with_suffix(""))) if stems else (str(tail),):
            entries = names.get(wanted, ())
            if found := [entry for entry in entries if fits is None or fits(path, entry)]:
                return found
    return ()


def of_classes(
    source: Path | str, noun: str, names: Mapping[T, str], classes: Sequence[str], called: Mapping[str, str]
) -> dict[str, frozenset[T]]:
    """Return the entries of each class: those with its own name, or with the name given for it.

    Args:
        source: what has the entries, for messages.
        noun: what an entry is called.
        names: the name of each entry.
        classes: names of the photos' classes, sorted.
        called: for a class, the name that the source calls it.

    Raises:
        UsageError: ``called`` names no class or no entry, or no entry is a class.
    """
    by_key: dict[str, set[T]] = defaultdict(set)
    for entry, name in names.items():
        by_key[name_key(name)].add(entry)
    for name, wanted in called.items():
        if name not in classes:
            raise UsageError(f"There is no class {name!r}.{did_you_mean(name, classes)}")
        if name_key(wanted) not in by_key:
            raise UsageError(f"{source} has no {noun} {wanted!r}.{did_you_mean(wanted, names.values())}")
    found = {name: frozenset(by_key.get(name_key(called.get(name, name)), ())) for name in classes}
    if not any(found.values()):
        raise UsageError(
            f"No {noun} of {source} is a class of the photos ({classes[0]!r}, ...): say which is, with "
            f"--category CLASS={noun.upper()}."
        )
    return found
