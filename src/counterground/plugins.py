"""What other packages add by entry points: model families, metrics, benchmarks, export formats.

A package declares, for example, ``brier = "mine:BRIER"`` under
``[project.entry-points."counterground.metrics"]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Plugins(Generic[T]):
    """What the entry points of a group gave, and one sentence for each that gave nothing.

    A package that cannot be loaded breaks no other: ``problems`` belong into the message about a name that
    is then unknown.
    """

    found: tuple[T, ...]
    problems: tuple[str, ...]

    @property
    def hint(self) -> str:
        """The problems as a text to append to a message."""
        return "".join(f" {problem}" for problem in self.problems)


@cache
def load_plugins(group: str, kind: type[T], taken: Iterable[str] = (), key: str = "name") -> Plugins[T]:
    """Load the entry points of a group, once per process, in the order of their names.

    Args:
        group: as in ``counterground.metrics``.
        kind: the class that each entry point must be an instance of.
        taken: names that are built in; a tuple. The second of two equal names is left out.
        key: the attribute of ``kind`` that must be unique.
    """
    found: dict[str, T] = {}
    problems = []
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        package = point.dist.name if point.dist is not None else point.value
        try:
            loaded = point.load()
        except Exception as error:  # whatever a stranger's package raises on import
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            problems.append(f"{point.name!r} of the package {package} cannot be loaded ({reason}).")
            continue
        if not isinstance(loaded, kind):
            problems.append(f"{point.name!r} of the package {package} is not a {kind.__name__}.")
            continue
        name = getattr(loaded, key)
        if name in found or name in taken:
            problems.append(f"The package {package} adds a second {name!r}, which is left out.")
            continue
        found[name] = loaded
    return Plugins(tuple(found.values()), tuple(problems))
