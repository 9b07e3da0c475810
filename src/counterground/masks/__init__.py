"""Masks: where they come from, and whether they can be used."""

from counterground.masks._found import REASONS, Weights
from counterground.masks._make import make_masks, with_masks
from counterground.masks._masks import Masks, is_masks_folder, read_masks
from counterground.masks._settings import MaskLimits, MaskSettings

__all__ = [
    "REASONS",
    "MaskLimits",
    "MaskSettings",
    "Masks",
    "Weights",
    "is_masks_folder",
    "make_masks",
    "read_masks",
    "with_masks",
]
