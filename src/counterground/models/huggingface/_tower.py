"""The vision side of transformers' models, for a head that is fitted on its features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.models._base import Kind
from counterground.models._family import LoadOptions
from counterground.models.classifiers import NetworkTower, cut_head
from counterground.models.huggingface._classifier import logits_of
from counterground.models.huggingface._images import HfTransform, load_transform
from counterground.models.huggingface._loading import (
    LIBRARIES,
    MissingTensorsError,
    code_parts,
    read_network,
    weights_name,
)
from counterground.models.huggingface._source import HfSource
from counterground.models.huggingface._texts import pooled

if TYPE_CHECKING:
    import torch


def load_hf_tower(source: HfSource, kind: Kind, options: LoadOptions) -> NetworkTower:
    """Load a classifier without its last layer, or a vision model; call it inside `reading`.

    A vision model's features are its pooled output, or without one the first token of its last layer.

    Raises:
        UsageError: a classifier without a last linear layer.
        CounterGroundError: its weights are incomplete, or photos do not become tensors of one shape.
    """
    from transformers import AutoModel, AutoModelForImageClassification

    transform = load_transform(source)
    if kind == "classifier":
        model = read_network(AutoModelForImageClassification, source)
        taken = f"before {cut_head(source.spec, model, model.config.num_labels)}"
        network = logits_of(model, transform)
    else:
        model, taken = _vision_model(AutoModel, source)
        network = _pooled_of(model, transform)
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
            "code": code_parts(source, model, transform.processor),
        },
        libraries=LIBRARIES,
        options=options,
    )


def _vision_model(auto: Any, source: HfSource) -> tuple[Any, str]:
    """Return the model and where its features are taken; weights may lack the pooling layer."""
    try:
        return read_network(auto, source), "pooled output"
    except MissingTensorsError as error:
        if not all(name.startswith("pooler.") for name in error.names):
            raise
    return read_network(auto, source, add_pooling_layer=False), "first token of the last layer"


def _pooled_of(model: Any, transform: HfTransform) -> Any:
    """Return a network from a batch of the transform's tensors to features."""
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            inputs = transform.inputs(batch)
            if hasattr(self.model, "get_image_features"):
                return pooled(self.model.get_image_features(**inputs))
            output = self.model(**inputs)
            features: torch.Tensor | None = getattr(output, "pooler_output", None)
            return output.last_hidden_state[:, 0] if features is None else features

    return Pooled()
