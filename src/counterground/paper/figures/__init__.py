"""The paper's figures and tables for print: its own numbers, and those of the user's runs and studies."""

from __future__ import annotations

from counterground.paper.figures._write import FIGURES, WrittenFigures, chosen_names, write_figures

__all__ = ["FIGURES", "WrittenFigures", "chosen_names", "write_figures"]
