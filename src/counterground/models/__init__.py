"""Models with their own preprocessing, activation and fingerprint; nothing heavy is imported here."""

from counterground.models._base import (
    NEED_LOSSES,
    Classifier,
    DualEncoder,
    Encoder,
    Generative,
    ImageEncoder,
    Model,
)
from counterground.models._family import Family, LoadOptions, ModelInfo, Tower
from counterground.models._fingerprint import (
    combine,
    library_versions,
    plain_repr,
    tensor_digests,
)
from counterground.models._named import AnyModel, AnyModels, NamedModel, named_models
from counterground.models._probe import probe_images
from counterground.models._registry import (
    calls_users_code,
    check_specs,
    expected_kind,
    list_models,
    load_model,
    references_of,
)
from counterground.models._specs import HeadSpec, ModelSet, expand_specs, split_head
from counterground.models.custom import wrap_model
from counterground.models.execution import (
    Runtime,
    autocast,
    check_precision,
    freed_memory_kept,
    out_of_memory,
    own_arithmetic,
    resolve_device,
)
from counterground.models.generative import without_thoughts

__all__ = [
    "NEED_LOSSES",
    "AnyModel",
    "AnyModels",
    "Classifier",
    "DualEncoder",
    "Encoder",
    "Family",
    "Generative",
    "HeadSpec",
    "ImageEncoder",
    "LoadOptions",
    "Model",
    "ModelInfo",
    "ModelSet",
    "NamedModel",
    "Runtime",
    "Tower",
    "autocast",
    "calls_users_code",
    "check_precision",
    "check_specs",
    "combine",
    "expand_specs",
    "expected_kind",
    "freed_memory_kept",
    "library_versions",
    "list_models",
    "load_model",
    "named_models",
    "out_of_memory",
    "own_arithmetic",
    "plain_repr",
    "probe_images",
    "references_of",
    "resolve_device",
    "split_head",
    "tensor_digests",
    "without_thoughts",
    "wrap_model",
]
