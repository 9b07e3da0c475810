"""A local web page for reviewing photos and labelling their backgrounds. See README.md."""

from counterground.construction.annotate._pages import label_pool, review_masks
from counterground.construction.annotate._server import SessionSummary

__all__ = ["SessionSummary", "label_pool", "review_masks"]
