"""The commands that make a benchmark from photos; see README.md of ``cli``."""

from counterground.construction.cli._collect import collect
from counterground.construction.cli._curate import curate
from counterground.construction.cli._export import export
from counterground.construction.cli._import import import_
from counterground.construction.cli._label import label
from counterground.construction.cli._masks import masks
from counterground.construction.cli._pool import pool

__all__ = ["collect", "curate", "export", "import_", "label", "masks", "pool"]
