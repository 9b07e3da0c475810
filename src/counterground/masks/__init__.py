"""Masks: where they come from, whether they can be used, and what people decided about them."""

from counterground.masks._coco import OutlineError, draw_outline
from counterground.masks._decisions import (
    MOST_MASK_BYTES,
    VERDICTS,
    MaskDecision,
    MaskDecisions,
    Verdict,
    standing,
)
from counterground.masks._make import make_masks, with_masks
from counterground.masks._masks import TABLE_SCHEMA as MASKS_SCHEMA
from counterground.masks._masks import Masks, is_masks_folder, mask_id, read_masks
from counterground.masks._sources import NO_OBJECT, REASONS, Weights, read_mask

__all__ = [
    "MASKS_SCHEMA",
    "MOST_MASK_BYTES",
    "NO_OBJECT",
    "REASONS",
    "VERDICTS",
    "MaskDecision",
    "MaskDecisions",
    "Masks",
    "OutlineError",
    "Verdict",
    "Weights",
    "draw_outline",
    "is_masks_folder",
    "make_masks",
    "mask_id",
    "read_mask",
    "read_masks",
    "standing",
    "with_masks",
]
