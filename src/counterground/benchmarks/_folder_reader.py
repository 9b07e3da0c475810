"""A kind of folder that another package reads as a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from counterground.photos import Benchmark


@dataclass(frozen=True)
class FolderReader:
    """Reads folders that only it knows. Added by an entry point of the group ``counterground.folders``.

    Attributes:
        name: the name of the entry point.
        find: function that returns the folder that a path names, None for a path of another kind.
        read: function that reads such a folder.
    """

    name: str
    find: Callable[[Path], Path | None]
    read: Callable[[Path], Benchmark]
