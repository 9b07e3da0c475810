"""The page on which masks are accepted, rejected or redrawn. See README.md of ``annotate``."""

from counterground.construction.annotate._server import ServerSettings
from counterground.construction.annotate.masks._serve import ReviewSummary, review_masks

__all__ = ["ReviewSummary", "ServerSettings", "review_masks"]
