"""Models with their own preprocessing, activation and fingerprint; nothing heavy is imported here."""

from counterground.models._base import (
    Classifier,
    DualEncoder,
    Encoder,
    Generative,
    Model,
    Precision,
    Protocol,
)
from counterground.models._device import autocast, check_precision, resolve_device
from counterground.models._kind import expected_kind
from counterground.models._listing import ModelInfo, list_models
from counterground.models._load import check_specs, load_model
from counterground.models._spec import expand_specs, split_spec

__all__ = [
    "Classifier",
    "DualEncoder",
    "Encoder",
    "Generative",
    "Model",
    "ModelInfo",
    "Precision",
    "Protocol",
    "autocast",
    "check_precision",
    "check_specs",
    "expand_specs",
    "expected_kind",
    "list_models",
    "load_model",
    "resolve_device",
    "split_spec",
]
