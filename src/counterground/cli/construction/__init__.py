"""The commands that make a benchmark from photos; see README.md of ``cli``."""

from counterground.cli.construction._collect import collect
from counterground.cli.construction._curate import curate
from counterground.cli.construction._discover import discover
from counterground.cli.construction._export import export
from counterground.cli.construction._import import import_
from counterground.cli.construction._label import label
from counterground.cli.construction._pool import pool

__all__ = ["collect", "curate", "discover", "export", "import_", "label", "pool"]
