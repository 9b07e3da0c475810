"""A local web page for reviewing photos and labelling their backgrounds. See README.md."""

from counterground.errors import needs_extra

with needs_extra("data"):
    from counterground.construction.annotate._serve import LabelSettings, SessionSummary, label_pool
    from counterground.construction.annotate._web import ServerSettings
    from counterground.construction.annotate.masks import ReviewSummary, review_masks

__all__ = [
    "LabelSettings",
    "ReviewSummary",
    "ServerSettings",
    "SessionSummary",
    "label_pool",
    "review_masks",
]
