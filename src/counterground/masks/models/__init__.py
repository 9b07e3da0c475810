"""Masks that models make: the licence of their weights is accepted by name before anything is loaded."""

from counterground.masks.models._models import model_source
from counterground.masks.models._weights import UNVERIFIED, known_weights

__all__ = ["UNVERIFIED", "known_weights", "model_source"]
