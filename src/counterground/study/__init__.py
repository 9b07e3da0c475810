"""Studies that show why: the theorem, ColoredCOCO, MultiColoredMNIST (paper section 6, appendix D)."""

from counterground.study.coco._study import QUICK as QUICK_COLOREDCOCO
from counterground.study.coco._study import TABLE_7, study_coloredcoco
from counterground.study.coco._trials import CocoSettings
from counterground.study.mnist._study import QUICK as QUICK_MULTICOLOREDMNIST
from counterground.study.mnist._study import ColoredSettings, study_multicoloredmnist
from counterground.study.theory._study import QUICK as QUICK_THEORY
from counterground.study.theory._study import TheorySettings, study_theory

__all__ = [
    "QUICK_COLOREDCOCO",
    "QUICK_MULTICOLOREDMNIST",
    "QUICK_THEORY",
    "TABLE_7",
    "CocoSettings",
    "ColoredSettings",
    "TheorySettings",
    "study_coloredcoco",
    "study_multicoloredmnist",
    "study_theory",
]
