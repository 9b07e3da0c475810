"""OpenCLIP checkpoints: which weights, which activation, and the encoder."""

from counterground.models.open_clip._families import OPEN_CLIP, SHIPPED
from counterground.models.open_clip._model import OpenClipEncoder

__all__ = ["OPEN_CLIP", "SHIPPED", "OpenClipEncoder"]
