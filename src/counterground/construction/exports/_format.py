"""The record of an export format, and what the card of one export states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from counterground.construction.exports._copying import Tick
from counterground.construction.exports._facts import CardFacts
from counterground.construction.exports._layout import Contents, keep_paths
from counterground.photos import Benchmark


@dataclass(frozen=True)
class ExportFormat:
    """A form in which others can read a benchmark.

    Another package adds one with an entry point of the group ``counterground.exports``. The card, the credits
    and the list of left-out photos are the same for all formats and are written by ``export``.

    Attributes:
        name: name for ``--format``, and the name of another package's entry point.
        summary: the first line of the card: what is in the folder.
        reader: Python code that opens the export, run in its folder.
        write: write photos, masks and manifest into a new folder; call the tick once for each photo.
        lay_out: decide the path of each photo in the export.
        card_head: return the text before the card, such as YAML for a hub.
        finish: write the files that describe the others, after all of them.
    """

    name: str
    summary: str
    reader: str
    write: Callable[[Contents, Path, Tick], None]
    lay_out: Callable[[Benchmark], Contents] = keep_paths
    card_head: Callable[[Benchmark, Statement, Path], str] | None = None
    finish: Callable[[Benchmark, Statement, Path], None] | None = None


@dataclass(frozen=True)
class Statement:
    """What the card of one export says besides the photos: its format, the facts, and remarks."""

    format: ExportFormat
    facts: CardFacts
    shared: bool
    remarks: tuple[str, ...]

    def title(self, benchmark: Benchmark) -> str:
        """Return what the collection is called."""
        return self.facts.title or benchmark.name
