"""The commands that repeat the paper."""

from counterground.paper.cli._figures import figures
from counterground.paper.cli._study import study

__all__ = ["figures", "study"]
