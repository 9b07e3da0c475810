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
from counterground.models._family import Family, LoadOptions, ModelInfo
from counterground.models._paper import expand_specs
from counterground.models._registry import (
    check_specs,
    expected_kind,
    list_models,
    load_model,
    references_of,
)
from counterground.models.custom import wrap_model

__all__ = [
    "Classifier",
    "DualEncoder",
    "Encoder",
    "Family",
    "Generative",
    "LoadOptions",
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
    "references_of",
    "resolve_device",
    "wrap_model",
]
