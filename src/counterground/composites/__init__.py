"""Composites of photos: the same object on other backgrounds, and what models say about them."""

from counterground.composites._plan import plan_swap, without_objects
from counterground.composites._recipe import Composite, MaskedPhoto, Placement
from counterground.composites._swap import swap_backgrounds

__all__ = [
    "Composite",
    "MaskedPhoto",
    "Placement",
    "plan_swap",
    "swap_backgrounds",
    "without_objects",
]
