"""Curate: signals for the paper's four reasons to discard and for duplicates. See README.md."""

from counterground.construction.curate._curate import CurateReport, curate
from counterground.construction.curate._settings import CurateSettings

__all__ = ["CurateReport", "CurateSettings", "curate"]
