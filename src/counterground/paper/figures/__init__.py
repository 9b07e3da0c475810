"""The paper's figures and tables for print: its own numbers, and those of the user's runs and studies."""

from __future__ import annotations

from counterground.paper.figures._catalogue import FIGURES, chosen_names
from counterground.paper.figures._write import FORMATS, WrittenFigures, write_figures

__all__ = ["FIGURES", "FORMATS", "WrittenFigures", "chosen_names", "write_figures"]
