"""Models of the user's own: an ONNX file, or a function that returns a model."""

from counterground.models.custom._onnx import ONNX
from counterground.models.custom._user import USER
from counterground.models.custom._wrap import wrap_model

__all__ = ["ONNX", "USER", "wrap_model"]
