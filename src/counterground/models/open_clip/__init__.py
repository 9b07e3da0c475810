"""OpenCLIP checkpoints: which weights, which activation, and the encoder."""

from counterground.models.open_clip._model import HUB, OPEN_CLIP, SHIPPED, OpenClipEncoder
from counterground.models.open_clip._source import base_name, resolve_activation

__all__ = [
    "HUB",
    "OPEN_CLIP",
    "SHIPPED",
    "OpenClipEncoder",
    "base_name",
    "resolve_activation",
]
