"""torchvision's ImageNet classifiers, with the transforms that belong to each set of weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterground.errors import UsageError, did_you_mean
from counterground.models._family import Family, LoadOptions, ModelInfo
from counterground.models._weights import check_cached, fetching, read_state_dict, refusing_code, split_file
from counterground.models.classifiers._classifier import NetworkClassifier

# DenseNet's published checkpoints spell "denselayer1.norm.1", its modules "denselayer1.norm1".
_DENSE_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)()")
_REMEDY = (
    "Connect to the network, put the file into torch's cache (TORCH_HOME/hub/checkpoints), "
    "or give the weights yourself: torchvision:NAME@FILE."
)


def _load(spec: str, options: LoadOptions) -> NetworkClassifier:
    """Load ``torchvision:NAME``, ``torchvision:NAME/WEIGHTS`` or ``torchvision:NAME@FILE``.

    Raises:
        UsageError: unknown name, weights or file.
        CounterGroundError: weights cannot be fetched or do not fit.
    """
    name, weights, path, warnings = _resolve(spec)
    state = read_state_dict(path, spec) if path else _fetch(spec, weights, offline=options.offline)
    network, names = _network(spec, name, weights, state, path)
    if tuple(names) != tuple(weights.meta["categories"]):
        warnings.append(
            f"The weights have {len(names)} classes, not ImageNet's 1000: their names are unknown, and none "
            "of them can be matched to a benchmark's classes."
        )
    columns = range(1000) if len(names) == 1000 else [None] * len(names)
    return NetworkClassifier(
        spec,
        network,
        weights.transforms(),
        class_names=tuple(names),
        imagenet_columns=tuple(columns),
        description={
            "architecture": name,
            "weights": path.name if path else weights.name,
            "training_data": _training_data(weights.name) if not path else None,
            "published_accuracy": weights.meta.get("_metrics", {}).get("ImageNet-1K") if not path else None,
            "warnings": warnings,
        },
        configuration={"library": "torchvision", "name": name, "num_classes": len(names)},
        libraries=("torchvision",),
        options=options,
    )


def _resolve(spec: str) -> tuple[str, Any, Path | None, list[str]]:
    """Return name, torchvision's weights entry, file if one is given, and warnings.

    Raises:
        UsageError: unknown name, weights or file.
    """
    name, path = split_file(spec)
    name, _, wanted = name.partition("/")
    available = _weights_of(spec, name)
    if path is None or wanted:
        return name, _pick(available, wanted, spec, name), path, []
    weights, warnings = _weights_for_file(available, path, name)
    return name, weights, path, warnings


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
    """Return the entry whose preprocessing goes with a file, by the file's name or the default."""
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


def _network(
    spec: str, name: str, weights: Any, state: dict[str, Any], path: Path | None
) -> tuple[Any, list[str]]:
    from torchvision import models

    state = {_DENSE_KEY.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    names = list(weights.meta["categories"])
    classes = len(names)
    if path is not None:
        # The last matrix of a checkpoint is its classifier; its rows are the classes.
        matrices = [tensor for tensor in state.values() if tensor.ndim == 2 or tensor.shape[2:] == (1, 1)]
        classes = matrices[-1].shape[0] if matrices else classes
        if classes != len(names):
            names = [f"class {index}" for index in range(classes)]
    with refusing_code(path or Path(weights.url.rsplit("/", 1)[-1]), spec):
        options = _builder_options(name, weights, state)
        network = models.get_model(name, weights=None, num_classes=classes, **options)
        network.load_state_dict(state)
        if name == "googlenet":
            network.aux_logits, network.aux1, network.aux2 = False, None, None
    return network, names


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


def _list() -> Iterator[ModelInfo]:
    from torchvision import models

    for name in _names():
        available = models.get_model_weights(name)
        for weights in available:
            yield ModelInfo(
                f"torchvision:{name}/{weights.name}",
                "classifier",
                weights.meta["num_params"],
                _training_data(weights.name),
                needs_network=True,
                note="default" if weights is available.DEFAULT else "",
            )


TORCHVISION = Family(
    prefix="torchvision",
    usage="torchvision:NAME",
    resolve=_resolve,
    load=_load,
    kind=lambda _spec: "classifier",
    list=_list,
    cite=lambda _spec: ("torchvision2016",),
)
