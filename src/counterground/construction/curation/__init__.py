"""Curate: signals for the paper's four reasons to discard and for duplicates. See README.md."""

from counterground.construction.curation._curate import CurateReport, curate
from counterground.construction.curation._signals import CurateSettings

__all__ = ["CurateReport", "CurateSettings", "curate"]
