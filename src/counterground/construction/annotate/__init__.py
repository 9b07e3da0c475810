"""A local web page for reviewing photos and labelling their backgrounds. See README.md."""

from counterground.errors import needs_extra

with needs_extra("data"):
    from counterground.construction.annotate._serve import LabelSettings, SessionSummary, label_pool

__all__ = ["LabelSettings", "SessionSummary", "label_pool"]
