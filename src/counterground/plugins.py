"""Registries of what has a name: built in, or added by another package through an entry point.

A package adds a metric, for example, with ``brier = "mine:BRIER"`` under
``[project.entry-points."counterground.metrics"]``. The name of the entry point is the name of the metric.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from counterground.errors import CounterGroundError, UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Things by their names. Another package is imported only when one of its names is used.

    Attributes:
        group: of the entry points, as in ``counterground.metrics``.
        kind: the class whose instances are registered.
        built_in: ours by name, in the order in which they are listed.
    """

    group: str
    kind: type[T]
    built_in: dict[str, T]

    def names(self) -> list[str]:
        """Return all names, ours first; nothing is imported."""
        return list(dict.fromkeys([*self.built_in, *_entries(self.group, tuple(sys.path))]))

    def find(self, name: str) -> T | None:
        """Return what has this name, None where nothing has.

        Raises:
            UsageError: several packages claim the name.
            CounterGroundError: the package that adds it is broken.
        """
        claims = _entries(self.group, tuple(sys.path)).get(name, ())
        if not claims:
            return self.built_in.get(name)
        owners = [*(["counterground"] if name in self.built_in else []), *map(_package, claims)]
        if len(owners) > 1:
            raise UsageError(
                f"{name!r} is claimed in {self.group} by several packages ({', '.join(owners)}): "
                "keep one of them."
            )
        return self._load(claims[0])

    def each(self, warn: Callable[[str], object]) -> Iterator[T]:
        """Yield everything, ours first; call ``warn`` with one line for what cannot be loaded."""
        for name in self.names():
            try:
                found = self.find(name)
            except CounterGroundError as error:
                warn(str(error))
                found = self.built_in.get(name)
            if found is not None:
                yield found

    def _load(self, entry: EntryPoint) -> T:
        try:
            loaded = entry.load()
        except Exception as error:  # whatever another package raises when it is imported
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise CounterGroundError(
                f"{entry.name!r} of the package {_package(entry)} cannot be loaded ({reason}): "
                "update or remove that package."
            ) from error
        if not isinstance(loaded, self.kind):
            raise CounterGroundError(
                f"{entry.name!r} of the package {_package(entry)} is {type(loaded).__name__}; "
                f"entry points of {self.group} must be {self.kind.__name__}."
            )
        return loaded


@cache
def _entries(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points by name, read again only where ``sys.path`` has changed: that takes time."""
    del path
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, _package(entry))):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value
