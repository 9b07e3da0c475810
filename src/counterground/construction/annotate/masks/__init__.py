"""The page on which masks are accepted, rejected or redrawn. See README.md of ``annotate``."""

from counterground.construction.annotate.masks._serve import ReviewSummary, review_masks
from counterground.construction.annotate.web import ServerSettings

__all__ = ["ReviewSummary", "ServerSettings", "review_masks"]
