"""Registries of named objects: built in, or added by another package through an entry point.

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

from counterground.errors import CounterGroundError, UsageError, error_summary

T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Objects by their names. Another package is imported only when one of its names is used.

    Attributes:
        group: group of the entry points, as in ``counterground.metrics``.
        kind: the class whose instances are registered.
        built_in: our objects by name, in the order in which they are listed.
        named_by: the attribute that holds the name, which must equal that of the entry point.
    """

    group: str
    kind: type[T]
    built_in: dict[str, T]
    named_by: str = "name"

    def names(self) -> list[str]:
        """Return all names, ours first; nothing is imported."""
        return list(dict.fromkeys([*self.built_in, *_entries(self.group, tuple(sys.path))]))

    def find(self, name: str) -> T | None:
        """Return the object with this name, None if there is none.

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
                f"{name!r} is claimed by several packages ({', '.join(owners)}): keep one of them."
            )
        return self._load(claims[0])

    def package(self, name: str) -> str | None:
        """Return the package that adds this name, None for ours."""
        claims = _entries(self.group, tuple(sys.path)).get(name, ())
        return _package(claims[0]) if claims else None

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
        lead = f"The package {_package(entry)} cannot provide {entry.name!r} ({self.group}): {entry.value}"
        try:
            loaded = entry.load()
        except (Exception, SystemExit) as error:  # whatever another package raises when it is imported
            raise CounterGroundError(
                f"{lead} cannot be imported ({error_summary(error, (_module(entry),))}). "
                "Update or uninstall it."
            ) from error
        if not isinstance(loaded, self.kind) or getattr(loaded, self.named_by, entry.name) != entry.name:
            raise CounterGroundError(
                f"{lead} is not a {self.kind.__name__} of that name. Update or uninstall it."
            )
        return loaded


def plugin_modules() -> frozenset[str]:
    """Return the top-level modules of all packages that add something; nothing is imported."""
    found = entry_points()
    groups = [group for group in found.groups if group.startswith("counterground.")]
    return frozenset(
        _module(entry).partition(".")[0] for group in groups for entry in found.select(group=group)
    )


@cache
def _entries(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points by name, read again only if ``sys.path`` has changed, since that takes time."""
    del path
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: (entry.name, _package(entry))):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _package(entry: EntryPoint) -> str:
    return (entry.dist.name if entry.dist else None) or entry.value  # metadata may lack the name


def _module(entry: EntryPoint) -> str:
    found = EntryPoint.pattern.match(entry.value)
    return found["module"] if found else ""
