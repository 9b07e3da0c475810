"""Image classifiers and vision models from transformers, and what their classes mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.models._base import Kind
from counterground.models._family import LoadOptions
from counterground.models._labels import match_labels, names_of
from counterground.models.classifiers import NetworkClassifier, NetworkTower, cut_head
from counterground.models.huggingface._images import HfTransform, load_transform
from counterground.models.huggingface._loading import (
    LIBRARIES,
    HfSource,
    MissingTensorsError,
    read_network,
    weights_name,
)
from counterground.models.huggingface._texts import pooled

if TYPE_CHECKING:
    import torch


def load_hf_classifier(source: HfSource, options: LoadOptions) -> NetworkClassifier:
    """Load a classifier; call it inside `reading`.

    Raises:
        UsageError: its classes have no names, and the user did not say which they are.
        CounterGroundError: its weights are incomplete, or photos do not become tensors of one shape.
    """
    from transformers import AutoModelForImageClassification

    model = read_network(AutoModelForImageClassification, source)
    labels = match_labels(source.spec, names_of(source.spec, model.config.id2label), source.labels)
    transform = load_transform(source)
    return NetworkClassifier(
        source.spec,
        logits_of(model, transform),
        transform,
        class_names=labels.names,
        imagenet_columns=labels.columns,
        description={
            "architecture": type(model).__name__,
            "weights": weights_name(source),
            "training_data": None,
            "warnings": list(labels.warnings),
        },
        configuration={
            "library": "transformers",
            "config": model.config.to_json_string(),
        },
        libraries=LIBRARIES,
        options=options,
    )


def logits_of(model: Any, transform: HfTransform) -> Any:
    """Return a network from a batch of the transform's tensors to logits."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(**transform.inputs(batch)).logits
            return logits

    return Logits()


# What transformers' models call it.
_CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")


def load_hf_tower(source: HfSource, kind: Kind, options: LoadOptions) -> NetworkTower:
    """Load a classifier without its last layer, or a vision model; call it inside `reading`.

    A vision model's features are its pooled output. Without one, they are the class token of its last layer,
    or the mean of all tokens if no token stands for the class.

    Raises:
        UsageError: a classifier without a last linear layer.
        CounterGroundError: its weights are incomplete, or photos do not become tensors of one shape.
    """
    from PIL import Image
    from transformers import AutoModel, AutoModelForImageClassification

    transform = load_transform(source)
    if kind == "classifier":
        model = read_network(AutoModelForImageClassification, source)
        taken = f"before {cut_head(source.spec, model, model.config.num_labels)}"
        network = logits_of(model, transform)
    else:
        model = _vision_model(AutoModel, source)
        network = _pooled_of(model, transform)
        taken = network.taken(transform(Image.new("RGB", (256, 256)))[None])
    return NetworkTower(
        source.spec,
        network,
        transform,
        description={
            "architecture": type(model).__name__,
            "weights": weights_name(source),
            "training_data": None,
            "final_layer": taken,
            "warnings": [],
        },
        configuration={
            "library": "transformers",
            "config": model.config.to_json_string(),
            "taken": taken,
        },
        libraries=LIBRARIES,
        options=options,
    )


def _vision_model(auto: Any, source: HfSource) -> Any:
    """Return the model; weights may lack the pooling layer."""
    try:
        return read_network(auto, source)
    except MissingTensorsError as error:
        if not all(name.startswith("pooler.") for name in error.names):
            raise
    return read_network(auto, source, add_pooling_layer=False)


def _pooled_of(model: Any, transform: HfTransform) -> Any:
    """Return a network from a batch of the transform's tensors to features."""
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return self._features(transform.inputs(batch))[0]

        def taken(self, batch: torch.Tensor) -> str:
            """Return which output of the model the features are."""
            with torch.inference_mode():
                return self._features(transform.inputs(batch))[1]

        def _features(self, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, str]:
            if hasattr(self.model, "get_image_features"):
                return pooled(self.model.get_image_features(**inputs)), "pooled output"
            output = self.model(**inputs)
            features: torch.Tensor | None = getattr(output, "pooler_output", None)
            if features is not None:
                return features, "pooled output"
            tokens: torch.Tensor = output.last_hidden_state
            if _has_class_token(self.model) or tokens.ndim != 3:
                return tokens[:, 0], "first token of the last layer"
            seen = inputs.get("pixel_attention_mask", tokens.new_ones(tokens.shape[:2]))[..., None]
            mean = (tokens * seen).sum(dim=1) / seen.sum(dim=1).clamp(min=1)
            return mean, "mean of the last layer's tokens"

    return Pooled()


def _has_class_token(model: Any) -> bool:
    """Whether the first token is no part of the photo (I-JEPA, AIMv2 and some SigLIPs have patches only)."""
    return any(name.rpartition(".")[2] in _CLASS_TOKENS for name, _ in model.named_parameters())
