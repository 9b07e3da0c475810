"""torchvision's ImageNet classifiers, with the transforms that belong to each set of weights."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from counterground.errors import UsageError, did_you_mean
from counterground.models._family import Family, LoadOptions, Tower, known_models
from counterground.models._labels import Labels, match_labels, order_warning
from counterground.models._weights import check_cached, fetching, read_state_dict, refusing_code, rows_of
from counterground.models.classifiers._classifier import (
    ClassifierSource,
    NetworkClassifier,
    NetworkTower,
    cut_head,
    parse_classifier,
    refuse_labels,
    unnamed,
)

# DenseNet's published checkpoints spell "denselayer1.norm.1", its modules "denselayer1.norm1".
_DENSE_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)()")
_REMEDY = (
    "Connect to the network, put the file into torch's cache (TORCH_HOME/hub/checkpoints), "
    "or give the weights yourself: torchvision:NAME@FILE."
)


def _load(spec: str, options: LoadOptions) -> NetworkClassifier:
    """Load ``torchvision:NAME``, ``torchvision:NAME/WEIGHTS`` or ``torchvision:NAME@FILE?labels=FILE``.

    Raises:
        UsageError: unknown name, weights or file; outputs without names.
        CounterGroundError: weights cannot be fetched or do not fit.
    """
    source, weights, warnings = _resolve(spec)
    network, outputs = _read(spec, source, weights, offline=options.offline)
    labels = _labels(spec, weights, outputs, source)
    published = None if source.file else weights.meta.get("_metrics", {}).get("ImageNet-1K")
    return NetworkClassifier(
        spec,
        network,
        weights.transforms(),
        class_names=labels.names,
        imagenet_columns=labels.columns,
        description={
            **_description(source, weights),
            "published_accuracy": published,
            "warnings": [*warnings, *labels.warnings],
        },
        configuration={"library": "torchvision", "name": source.name, "num_classes": outputs},
        libraries=("torchvision",),
        options=options,
    )


def _load_tower(spec: str, options: LoadOptions) -> NetworkTower:
    """Load the network without its last linear layer; its outputs need no names."""
    source, weights, warnings = _resolve_tower(spec)
    network, outputs = _read(spec, source, weights, offline=options.offline)
    layer = cut_head(spec, network, outputs)
    return NetworkTower(
        spec,
        network,
        weights.transforms(),
        description={
            **_description(source, weights),
            "final_layer": f"before {layer}",
            "warnings": warnings,
        },
        configuration={"library": "torchvision", "name": source.name, "before": layer},
        libraries=("torchvision",),
        options=options,
    )


def _read(spec: str, source: ClassifierSource, weights: Any, *, offline: bool) -> tuple[Any, int]:
    path = source.file
    state = read_state_dict(path, spec) if path else _fetch(spec, weights, offline=offline)
    return _network(spec, source.name, weights, state, path)


def _description(source: ClassifierSource, weights: Any) -> dict[str, Any]:
    path = source.file
    return {
        "architecture": source.name,
        "weights": path.name if path else weights.name,
        "training_data": None if path else _training_data(weights.name),
    }


def _resolve(spec: str) -> tuple[ClassifierSource, Any, list[str]]:
    """Return the named source, torchvision's weights entry, and warnings.

    Raises:
        UsageError: unknown name, weights or file.
    """
    source = parse_classifier(spec)
    name, _, wanted = source.name.partition("/")
    available = _weights_of(spec, name)
    source = replace(source, name=name)
    if source.file is None or wanted:
        return source, _pick(available, wanted, spec, name), []
    weights, warnings = _weights_for_file(available, source.file, name)
    return source, weights, warnings


def _resolve_tower(spec: str) -> tuple[ClassifierSource, Any, list[str]]:
    found = _resolve(spec)
    refuse_labels(spec, found[0])
    return found


def _labels(spec: str, weights: Any, outputs: int, source: ClassifierSource) -> Labels:
    """Return the names of the outputs: the user's, or torchvision's own for ImageNet."""
    names = tuple(weights.meta["categories"])
    if source.labels is not None or outputs != len(names):
        return match_labels(spec, unnamed(outputs), source.labels)
    file = source.file
    if file is None or file.name == weights.url.rsplit("/", 1)[-1]:
        return Labels(names, tuple(range(outputs)))
    return Labels(names, tuple(range(outputs)), (order_warning(file, outputs, "imagenet-1k"),))


def _training_data(weights: str) -> str:
    """Return the training data of a torchvision weights name."""
    return "Instagram-3.6B, then ImageNet-1K" if "SWAG" in weights else "ImageNet-1K"


def _names() -> list[str]:
    """Return the names of torchvision's ImageNet classifiers."""
    from torchvision import models

    return list(models.list_models(module=models))


def _weights_of(spec: str, name: str) -> Any:
    from torchvision import models

    names = _names()
    if name not in names:
        raise UsageError(f"{spec}: torchvision has no classifier {name!r}.{did_you_mean(name, names)}")
    return models.get_model_weights(name)


def _pick(available: Any, wanted: str, spec: str, name: str) -> Any:
    if wanted in ("", "DEFAULT"):
        return available.DEFAULT
    names = [entry.name for entry in available]
    if wanted not in names:
        raise UsageError(
            f"{spec}: torchvision has no weights {wanted!r} for {name}; use one of {', '.join(names)}."
            f"{did_you_mean(wanted, names)}"
        )
    return available[wanted]


def _weights_for_file(available: Any, path: Path, name: str) -> tuple[Any, list[str]]:
    """Return the entry whose preprocessing goes with a file: by the file's name, else the default."""
    for entry in available:
        if entry.url.rsplit("/", 1)[-1] == path.name:
            return entry, []
    warning = (
        f"{path.name} is not a file name of torchvision's, so the preprocessing of "
        f"{available.DEFAULT.name} is assumed; write torchvision:{name}/WEIGHTS@FILE to choose another."
    )
    return available.DEFAULT, [warning] if len(list(available)) > 1 else []


def _fetch(spec: str, weights: Any, *, offline: bool) -> Any:
    import torch

    with fetching(spec, offline=offline, remedy=_REMEDY):
        if offline:
            check_cached(weights.url, spec)
        return torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", check_hash=True, weights_only=True
        )


def _network(spec: str, name: str, weights: Any, state: dict[str, Any], path: Path | None) -> tuple[Any, int]:
    """Return the network with its weights, and how many outputs it has: as many as the checkpoint."""
    from torchvision import models

    state = {_DENSE_KEY.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    outputs = len(weights.meta["categories"])
    with refusing_code(path or Path(weights.url.rsplit("/", 1)[-1]), spec):
        options = _builder_options(name, weights, state)
        network = models.get_model(name, weights=None, num_classes=outputs, **options)
        rows = state.get(f"{_last_layer(network)}.weight")
        if rows is not None and (found := rows_of(rows)) != outputs:
            outputs = found
            network = models.get_model(name, weights=None, num_classes=outputs, **options)
        network.load_state_dict(state)
        if name == "googlenet":
            network.aux_logits, network.aux1, network.aux2 = False, None, None
    return network, outputs


def _last_layer(network: Any) -> str:
    """Return the name of a network's classifier: the last linear layer, or convolution."""
    import torch

    layers = (torch.nn.Linear, torch.nn.Conv2d)
    return [str(name) for name, module in network.named_modules() if isinstance(module, layers)][-1]


def _builder_options(name: str, weights: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Return what torchvision's builders set themselves when they are given weights to download."""
    if name in {"googlenet", "inception_v3"}:
        auxiliary = any(key.startswith(("aux1.", "AuxLogits.")) for key in state)
        return {"init_weights": False, "aux_logits": auxiliary, "transform_input": True}
    if name.startswith("vit_"):
        return {"image_size": weights.meta["min_size"][0]}
    if name == "maxvit_t":
        return {"input_size": weights.meta["min_size"]}
    return {}


TORCHVISION = Family(
    prefix="torchvision",
    usage="torchvision:NAME",
    resolve=_resolve,
    load=_load,
    kind=lambda _spec: "classifier",
    list=partial(known_models, "torchvision:", "torchvision"),
    cite=lambda _spec: ("torchvision2016",),
    tower=Tower(_resolve_tower, _load_tower),
)
