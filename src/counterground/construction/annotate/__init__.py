"""A local web page for reviewing photos and labelling their backgrounds. See README.md."""

from counterground.errors import needs_extra

with needs_extra("data"):
    from counterground.construction.annotate._serve import SessionSummary, label_pool
    from counterground.construction.annotate.masks import ReviewSummary, review_masks

__all__ = [
    "ReviewSummary",
    "SessionSummary",
    "label_pool",
    "review_masks",
]
