"""The user's own models: an ONNX file, a function that returns a model, or an object in memory."""

from counterground.models.custom._onnx import ONNX
from counterground.models.custom._user import OBJECT, USER, load_object
from counterground.models.custom._wrap import complete_model, wrap_model

__all__ = [
    "OBJECT",
    "ONNX",
    "USER",
    "complete_model",
    "load_object",
    "wrap_model",
]
