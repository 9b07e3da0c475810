"""timm's classifiers, with the preprocessing their pretrained configuration names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from counterground.errors import UsageError, did_you_mean
from counterground.models._training_data import timm_training_data
from counterground.models._weights import cached_url, fetching, read_state_dict, refusing_code, weights_file
from counterground.models.classifiers._classifier import NetworkClassifier

if TYPE_CHECKING:
    from pathlib import Path

    from counterground.models._base import Precision


_REMEDY = (
    "Connect to the network, put the file into the Hugging Face cache (HF_HOME), "
    "or give the weights yourself: timm:NAME@FILE."
)


def load_timm(
    spec: str, rest: str, *, device: str, precision: Precision, as_published: bool, offline: bool
) -> NetworkClassifier:
    """Load ``timm:NAME``, ``timm:NAME.tag`` or ``timm:NAME@FILE``.

    Raises:
        UsageError: unknown name, tag or file; weights without a classifier.
        CounterGroundError: weights cannot be fetched or do not fit.
    """
    # timm re-exports these without declaring it, which strict typing rejects.
    data: Any = importlib.import_module("timm.data")
    name, configuration, path = find_timm(spec, rest)
    warnings: list[str] = []
    if path:
        network = _from_file(spec, name, path, warnings)
    else:
        network = _fetch(spec, name, configuration, offline=offline)
    settings = data.resolve_model_data_config(network)
    transform = data.create_transform(**settings, is_training=False)
    names, columns = _classes(network, warnings)
    architecture, _, tag = name.partition(".")
    tag = tag or configuration.tag or ""
    return NetworkClassifier(
        spec,
        network,
        transform,
        class_names=names,
        imagenet_columns=columns,
        description={
            "architecture": architecture,
            "weights": path.name if path else tag,
            "training_data": None if path else timm_training_data(tag),
            "warnings": warnings,
        },
        configuration={
            "library": "timm",
            "name": architecture,
            "data": {k: str(settings[k]) for k in settings},
        },
        libraries=("timm", "torchvision"),
        device=device,
        precision=precision,
        as_published=as_published,
    )


def find_timm(spec: str, rest: str) -> tuple[str, Any, Path | None]:
    """Return name, timm's pretrained configuration, and the file if one is given.

    Raises:
        UsageError: unknown name, tag or file; weights without a classifier.
    """
    name, at, file = rest.partition("@")
    configuration = _pretrained_cfg(spec, name, needs_weights=not at)
    return name, configuration, weights_file(file, spec) if at else None


def _pretrained_cfg(spec: str, name: str, *, needs_weights: bool) -> Any:
    import timm
    from timm.models import get_pretrained_cfg

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = timm.list_models()
        raise UsageError(f"{spec}: timm has no model {architecture!r}.{did_you_mean(architecture, known)}")
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    try:
        configuration = get_pretrained_cfg(name)
    except RuntimeError:
        configuration = None
    if configuration is None and tag:
        raise UsageError(
            f"{spec}: timm has no weights {tag!r} for {architecture}; use one of {', '.join(tags) or 'none'}."
            f"{did_you_mean(tag, tags)}"
        )
    if not needs_weights:
        return configuration
    if configuration is None or not configuration.has_weights:
        raise UsageError(f"{spec}: timm publishes no weights for {name}; give a file: timm:{name}@FILE.")
    if not configuration.num_classes:
        raise UsageError(f"{spec}: these timm weights have no classifier; choose others.")
    return configuration


def _fetch(spec: str, name: str, configuration: Any, *, offline: bool) -> Any:
    import timm

    with fetching(spec, offline=offline, remedy=_REMEDY, hub=bool(configuration.hf_hub_id)):
        if offline and not configuration.hf_hub_id:
            _check_cached(configuration.url, spec)
        return timm.create_model(name, pretrained=True)


def _from_file(spec: str, name: str, path: Path, warnings: list[str]) -> Any:
    import timm

    with refusing_code(path, spec):
        if path.suffix in {".npz", ".npy"}:
            return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    state = read_state_dict(path, spec)
    with refusing_code(path, spec):
        # timm's own loader renames keys of older checkpoints; given the tensors, it opens no file itself.
        network: Any = timm.create_model(name, pretrained=False)
        key = network.pretrained_cfg.get("classifier")
        rows = state.get(f"{key}.weight") if isinstance(key, str) else None
        classes = rows.shape[0] if rows is not None else network.num_classes
        overlay = {"state_dict": state, "num_classes": classes}
        network = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes
        )
    if "." not in name:
        warnings.append(
            f"{path.name} carries no tag, so the preprocessing of timm's default weights for {name} is "
            f"assumed; write timm:{name}.TAG@FILE to choose another."
        )
    return network


def _check_cached(url: str, spec: str) -> None:
    from pathlib import Path

    import torch

    cached_url(url, Path(torch.hub.get_dir()) / "checkpoints", spec)


def _classes(network: Any, warnings: list[str]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    """Return class names and ImageNet-1K columns, matched by WordNet id where timm knows the label set."""
    data: Any = importlib.import_module("timm.data")
    subset = data.infer_imagenet_subset(network)
    if subset is None:
        count = int(network.num_classes)
        warnings.append(
            f"The weights have {count} classes whose names timm does not know: none of them can be matched "
            "to a benchmark's classes."
        )
        return tuple(f"class {index}" for index in range(count)), (None,) * count
    info = data.ImageNetInfo(subset)
    imagenet_info = data.ImageNetInfo("imagenet-1k")
    imagenet = {wnid: index for index, wnid in enumerate(imagenet_info.label_names())}
    wnids = info.label_names()
    columns = tuple(imagenet.get(wnid) for wnid in wnids)
    missing = len(imagenet) - sum(column is not None for column in columns)
    if missing:
        warnings.append(
            f"{missing} of the 1000 ImageNet-1K classes are missing among these {len(wnids)} classes."
        )
    return tuple(info.label_descriptions()), columns
