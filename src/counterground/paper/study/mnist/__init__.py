"""MultiColoredMNIST (paper appendix D): contrastive and supervised training, beside Table 8."""

from counterground.paper.study.mnist._mnist import Digits, load_mnist
from counterground.paper.study.mnist._study import (
    QUICK,
    ColoredSettings,
    compare_methods,
    draw_colored,
    run_cells,
    study_multicoloredmnist,
    summarise,
)
from counterground.paper.study.mnist._training import PALETTE, Cell, Setting, color_digits, train_cell

__all__ = [
    "PALETTE",
    "QUICK",
    "Cell",
    "ColoredSettings",
    "Digits",
    "Setting",
    "color_digits",
    "compare_methods",
    "draw_colored",
    "load_mnist",
    "run_cells",
    "study_multicoloredmnist",
    "summarise",
    "train_cell",
]
