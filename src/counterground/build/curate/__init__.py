"""Curate: signals for the paper's four reasons to discard and for duplicates. See README.md."""

from counterground.build.curate._curate import CurateReport, curate
from counterground.build.curate._settings import CurateSettings

__all__ = ["CurateReport", "CurateSettings", "curate"]
