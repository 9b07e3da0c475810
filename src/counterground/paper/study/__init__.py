"""Studies of the causes: the theorem, ColoredCOCO, MultiColoredMNIST (paper section 6, appendix D)."""

from counterground.paper.study.coco import QUICK as QUICK_COLOREDCOCO
from counterground.paper.study.coco import TABLE_7, CocoSettings, study_coloredcoco
from counterground.paper.study.mnist import QUICK as QUICK_MULTICOLOREDMNIST
from counterground.paper.study.mnist import ColoredSettings, study_multicoloredmnist
from counterground.paper.study.theory import QUICK as QUICK_THEORY
from counterground.paper.study.theory import TheorySettings, study_theory

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
