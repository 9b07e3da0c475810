"""Masks that models make: the licence of their weights is accepted by name before anything is loaded."""

from counterground.masks.models._huggingface import hf_source
from counterground.masks.models._rembg import UNVERIFIED, known_weights, rembg_source

__all__ = ["UNVERIFIED", "hf_source", "known_weights", "rembg_source"]
