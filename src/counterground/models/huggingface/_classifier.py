"""Image classifiers from transformers, their ``id2label`` matched strictly with ImageNet-1K."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.models._family import LoadOptions
from counterground.models._labels import match_labels, names_of
from counterground.models.classifiers import NetworkClassifier
from counterground.models.huggingface._images import HfTransform, load_transform
from counterground.models.huggingface._loading import LIBRARIES, code_parts, read_network, weights_name
from counterground.models.huggingface._source import HfSource

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
            "code": code_parts(source, type(model), type(transform.processor)),
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
