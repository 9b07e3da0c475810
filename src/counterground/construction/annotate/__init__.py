"""A local web page for reviewing photos and labelling their backgrounds. See README.md."""

from counterground.construction.annotate._masks import ReviewSummary, review_masks
from counterground.construction.annotate._pool import SessionSummary, label_pool

__all__ = ["ReviewSummary", "SessionSummary", "label_pool", "review_masks"]
