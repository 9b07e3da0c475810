"""ImageNet classifiers of libraries, and the wrapper that all of them share."""

from counterground.models.classifiers._classifier import NetworkClassifier, final_linear, keep_float32
from counterground.models.classifiers._lite import LITE
from counterground.models.classifiers._timm import TIMM
from counterground.models.classifiers._torchvision import TORCHVISION

__all__ = ["LITE", "TIMM", "TORCHVISION", "NetworkClassifier", "final_linear", "keep_float32"]
