"""Studies that show why: the theorem, ColoredCOCO, MultiColoredMNIST (paper section 6, appendix D)."""

from counterground.study._theory_study import QUICK as QUICK_THEORY
from counterground.study._theory_study import TheorySettings, study_theory

__all__ = ["QUICK_THEORY", "TheorySettings", "study_theory"]
