"""torchvision's ImageNet classifiers, with the transforms that belong to each set of weights."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from counterground.errors import UsageError, did_you_mean
from counterground.models._base import Family, LoadOptions, Tower, known_models, known_training_data
from counterground.models._labels import Labels, match_labels, order_warning, unnamed
from counterground.models._networks import NetworkClassifier, NetworkTower, cut_head
from counterground.models._weights import (
    ClassifierSource,
    check_cached,
    fetching,
    parse_classifier,
    read_state_dict,
    refusing_code,
)

# DenseNet's published checkpoints spell "denselayer1.norm.1", its modules "denselayer1.norm1".
_DENSE_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)()")
_REMEDY = (
    "Connect to the network, put the file into torch's cache (TORCH_HOME/hub/checkpoints), "
    "or give the weights yourself: torchvision:NAME@FILE."
)


def _load(spec: str, options: LoadOptions, *, headless: bool = False) -> NetworkClassifier | NetworkTower:
    """Load ``torchvision:NAME``, ``NAME/WEIGHTS`` or ``NAME@FILE?labels=FILE``; maybe ``headless``.

    Raises:
        UsageError: unknown name, weights or file; outputs without names.
        CounterGroundError: weights cannot be fetched or do not fit.
    """
    source, weights, warnings = _resolve(spec, headless=headless)
    path = source.file
    state = read_state_dict(path, spec) if path else _fetch(spec, weights, offline=options.offline)
    network, outputs = _network(spec, source.name, weights, state, path)
    description = {
        "architecture": source.name,
        "weights": path.name if path else weights.name,
        "training_data": None if path else known_training_data(f"torchvision:{source.name}/{weights.name}"),
        "warnings": warnings,
    }
    configuration = {"library": "torchvision", "name": source.name}
    facts: dict[str, Any] = {"libraries": ("torchvision",), "options": options}
    if headless:
        layer = cut_head(spec, network, outputs)
        description["final_layer"] = f"before {layer}"
        configuration["before"] = layer
        return NetworkTower(
            spec, network, weights.transforms(), description=description, configuration=configuration, **facts
        )
    description["published_accuracy"] = None if path else weights.meta.get("_metrics", {}).get("ImageNet-1K")
    return NetworkClassifier(
        spec,
        network,
        weights.transforms(),
        _labels(spec, weights, outputs, source),
        description=description,
        configuration={**configuration, "num_classes": outputs},
        **facts,
    )


def _resolve(spec: str, *, headless: bool = False) -> tuple[ClassifierSource, Any, list[str]]:
    """Return the named source, torchvision's weights entry, and warnings.

    Raises:
        UsageError: unknown name, weights or file.
    """
    from torchvision import models

    source = parse_classifier(spec, headless=headless)
    name, _, wanted = source.name.partition("/")
    names = models.list_models(module=models)
    if name not in names:
        raise UsageError(f"{spec}: torchvision has no classifier {name!r}.{did_you_mean(name, names)}")
    available: Any = models.get_model_weights(name)
    source, path = replace(source, name=name), source.file
    entries = {entry.name: entry for entry in available}
    if wanted not in ("", "DEFAULT", *entries):
        raise UsageError(
            f"{spec}: torchvision has no weights {wanted!r} for {name}; use one of {', '.join(entries)}."
            f"{did_you_mean(wanted, entries)}"
        )
    if path is None or wanted:
        return source, entries.get(wanted, available.DEFAULT), []
    # The file's name says whose preprocessing goes with it.
    same = next((entry for entry in available if _file_name(entry) == path.name), None)
    warning = (
        f"{path.name} is not a file name of torchvision's, so the preprocessing of "
        f"{available.DEFAULT.name} is assumed; write torchvision:{name}/WEIGHTS@FILE to choose another."
    )
    return source, same or available.DEFAULT, [warning] if same is None and len(entries) > 1 else []


def _file_name(weights: Any) -> str:
    return str(weights.url.rsplit("/", 1)[-1])


def _labels(spec: str, weights: Any, outputs: int, source: ClassifierSource) -> Labels:
    """Return the names of the outputs: the user's, or torchvision's own for ImageNet."""
    names = tuple(weights.meta["categories"])
    if source.labels is not None or outputs != len(names):
        return match_labels(spec, unnamed(outputs), source.labels)
    file = source.file
    warnings = (
        ()
        if file is None or file.name == _file_name(weights)
        else (order_warning(file, outputs, "imagenet-1k"),)
    )
    return Labels(names, tuple(range(outputs)), warnings)


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
    import torch
    from torchvision import models

    state = {_DENSE_KEY.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    outputs = len(weights.meta["categories"])
    with refusing_code(path or _file_name(weights), spec):
        options = _builder_options(name, weights, state)
        network = models.get_model(name, weights=None, num_classes=outputs, **options)
        layers = (torch.nn.Linear, torch.nn.Conv2d)
        last = [key for key, module in network.named_modules() if isinstance(module, layers)][-1]
        rows = state.get(f"{last}.weight")
        if rows is not None and len(rows) != outputs:
            outputs = len(rows)
            network = models.get_model(name, weights=None, num_classes=outputs, **options)
        network.load_state_dict(state)
        if name == "googlenet":
            network.aux_logits, network.aux1, network.aux2 = False, None, None
    return network, outputs


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
    tower=Tower(partial(_resolve, headless=True), partial(_load, headless=True)),
)
