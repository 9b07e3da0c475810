"""OpenCLIP checkpoints: which weights, which activation, and the encoder."""

from counterground.models.open_clip._model import OpenClipEncoder

__all__ = ["OpenClipEncoder"]
