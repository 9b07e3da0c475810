"""Studies that show why: the theorem, ColoredCOCO, MultiColoredMNIST (paper section 6, appendix D)."""

from counterground.study._coco_study import QUICK as QUICK_COLOREDCOCO
from counterground.study._coco_study import TABLE_7, study_coloredcoco
from counterground.study._coco_trials import CocoSettings
from counterground.study._colored_study import QUICK as QUICK_MULTICOLOREDMNIST
from counterground.study._colored_study import ColoredSettings, study_multicoloredmnist
from counterground.study._theory_study import QUICK as QUICK_THEORY
from counterground.study._theory_study import TheorySettings, study_theory

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
