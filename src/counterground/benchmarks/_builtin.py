"""The record of a built-in benchmark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from counterground.photos import Benchmark


@dataclass(frozen=True)
class BuiltInBenchmark:
    """A benchmark that is opened by its name.

    Another package adds one with an entry point of the group ``counterground.benchmarks``.

    Attributes:
        name: what commands call it, and the name of another package's entry point; without a slash.
        description: one line for ``counterground benchmarks``.
        n_photos: how many photos it has.
        folder: where it lies in the cache, fetched or not.
        is_ready: whether it can be opened without fetching anything.
        get: fetch or build it, from a folder or archive (None: from where it is published), with a progress
            bar on standard error or without.
        source: which option of ``benchmarks get`` names that folder or archive: ``--from`` an archive, or
            ``--packages`` a folder of packages.
        on_demand: whether opening it by name may fetch it; else it must be fetched first.
        cite: keys of known references, or BibTeX entries of its own.
    """

    name: str
    description: str
    n_photos: int
    folder: Callable[[], Path]
    is_ready: Callable[[], bool]
    get: Callable[[Path | None, bool], Benchmark]
    source: Literal["archive", "packages"] = "archive"
    on_demand: bool = False
    cite: tuple[str, ...] = ()
