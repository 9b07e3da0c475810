"""Classifiers and headless networks from libraries, and the wrappers they share."""

from counterground.models.classifiers._classifier import (
    NetworkClassifier,
    NetworkTower,
    cut_head,
    final_linear,
    keep_float32,
    without_head,
)
from counterground.models.classifiers._lite import LITE
from counterground.models.classifiers._timm import TIMM
from counterground.models.classifiers._torchvision import TORCHVISION

__all__ = [
    "LITE",
    "TIMM",
    "TORCHVISION",
    "NetworkClassifier",
    "NetworkTower",
    "cut_head",
    "final_linear",
    "keep_float32",
    "without_head",
]
