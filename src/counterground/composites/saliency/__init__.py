"""Which parts of each photo a model's answer depends on, and how its score changes with the background."""

from __future__ import annotations

from counterground.composites.saliency._attribution import attribute, share_outside
from counterground.composites.saliency._saliency import check_saliency, write_saliency

__all__ = [
    "attribute",
    "check_saliency",
    "share_outside",
    "write_saliency",
]
