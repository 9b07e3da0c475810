"""Families of models with one file each; ``hf:`` and ``open_clip:`` have folders of their own."""

from counterground.models.families._endpoint import ENDPOINT
from counterground.models.families._lite import LITE
from counterground.models.families._onnx import ONNX
from counterground.models.families._timm import TIMM
from counterground.models.families._torchvision import TORCHVISION
from counterground.models.families._user import OBJECT, USER, complete_model, load_object, wrap_model

__all__ = [
    "ENDPOINT",
    "LITE",
    "OBJECT",
    "ONNX",
    "TIMM",
    "TORCHVISION",
    "USER",
    "complete_model",
    "load_object",
    "wrap_model",
]
