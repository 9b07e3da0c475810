"""Curate: signals for the paper's four reasons to discard and for duplicates. See README.md."""

from counterground.construction.curation._curate import CurateReport, curate

__all__ = ["CurateReport", "curate"]
