"""Studies of the causes: the theorem, ColoredCOCO, MultiColoredMNIST (paper section 6, appendix D)."""

from counterground.study.coco import QUICK as QUICK_COLOREDCOCO
from counterground.study.coco import TABLE_7, CocoSettings, study_coloredcoco
from counterground.study.mnist import QUICK as QUICK_MULTICOLOREDMNIST
from counterground.study.mnist import ColoredSettings, study_multicoloredmnist
from counterground.study.theory import QUICK as QUICK_THEORY
from counterground.study.theory import TheorySettings, study_theory

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
