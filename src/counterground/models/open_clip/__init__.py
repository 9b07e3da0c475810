"""OpenCLIP checkpoints: which weights, which activation, and the encoder."""

from counterground.models.open_clip._activation import base_name, resolve_activation
from counterground.models.open_clip._families import OPEN_CLIP, SHIPPED
from counterground.models.open_clip._model import OpenClipEncoder
from counterground.models.open_clip._training_data import training_data_of

__all__ = [
    "OPEN_CLIP",
    "SHIPPED",
    "OpenClipEncoder",
    "base_name",
    "resolve_activation",
    "training_data_of",
]
