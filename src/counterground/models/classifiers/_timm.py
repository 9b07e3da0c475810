"""timm's classifiers, with the preprocessing their pretrained configuration names."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

from counterground.errors import UsageError, did_you_mean
from counterground.models._family import Family, LoadOptions, Tower, known_models
from counterground.models._labels import Labels, match_labels, order_warning
from counterground.models._weights import (
    check_cached,
    fetching,
    read_state_dict,
    refusing_code,
    resampled,
    rows_of,
)
from counterground.models.classifiers._classifier import (
    ClassifierSource,
    NetworkClassifier,
    NetworkTower,
    parse_classifier,
    refuse_labels,
    unnamed,
)

# Parts of timm's tags, and the data they name.
_TRAINING_DATA = (
    ("in1k", "ImageNet-1K"),
    ("in12k", "ImageNet-12K"),
    ("in21k", "ImageNet-21K"),
    ("in22k", "ImageNet-22K"),
    ("laion2b", "LAION-2B"),
    ("laion400m", "LAION-400M"),
    ("openai", "WIT-400M (OpenAI)"),
    ("datacompxl", "DataComp-1B"),
    ("dfn2b", "DFN-2B"),
    ("dfn5b", "DFN-5B"),
    ("metaclip", "MetaCLIP"),
    ("webli", "WebLI"),
    ("merged2b", "Merged-2B"),
    ("m38m", "Merged-38M"),
    ("lvd1689m", "LVD-1689M"),
    ("lvd142m", "LVD-142M"),
    ("ig1b", "Instagram-1B"),
    ("ig3b", "Instagram-3.6B"),
    ("swag", "Instagram-3.6B"),
    ("jft300m", "JFT-300M"),
    ("yfcc100m", "YFCC-100M"),
    ("inat21", "iNaturalist 2021"),
)
_REMEDY = (
    "Connect to the network, put the file into the Hugging Face cache (HF_HOME), "
    "or give the weights yourself: timm:NAME@FILE."
)


def _load(spec: str, options: LoadOptions) -> NetworkClassifier:
    """Load ``timm:NAME``, ``timm:NAME.tag`` or ``timm:NAME@FILE``, with ``?labels=FILE``.

    Raises:
        UsageError: unknown name, tag or file; weights without a classifier; outputs without names.
        CounterGroundError: weights cannot be fetched or do not fit.
    """
    source, configuration = _resolve(spec)
    network, warnings = _read(spec, source, configuration, offline=options.offline)
    labels = _labels(spec, network, source)
    transform, settings = _transform(network)
    return NetworkClassifier(
        spec,
        network,
        transform,
        class_names=labels.names,
        imagenet_columns=labels.columns,
        description={
            **_description(source, configuration),
            "warnings": [*warnings, *labels.warnings],
        },
        configuration=_configuration(source, settings),
        libraries=("timm", "torchvision"),
        options=options,
    )


def _load_tower(spec: str, options: LoadOptions) -> NetworkTower:
    """Load the network without its classifier: up to what timm calls pre-logits."""
    source, configuration = _resolve_tower(spec)
    network, warnings = _read(spec, source, configuration, offline=options.offline, headless=True)
    transform, settings = _transform(network)
    network.reset_classifier(0)
    return NetworkTower(
        spec,
        network,
        transform,
        description={**_description(source, configuration), "warnings": warnings},
        configuration=_configuration(source, settings),
        libraries=("timm", "torchvision"),
        options=options,
    )


def _read(
    spec: str, source: ClassifierSource, configuration: Any, *, offline: bool, headless: bool = False
) -> tuple[Any, list[str]]:
    """Return the network with its weights, and warnings; ``headless`` weights may have no classifier."""
    if source.file is None:
        return _fetch(spec, source.name, configuration, offline=offline), []
    default = 0 if headless else getattr(configuration, "num_classes", 0) or 1000
    return _from_file(spec, source.name, source.file, configuration, default)


def _transform(network: Any) -> tuple[Any, dict[str, Any]]:
    """Return the preprocessing of timm's configuration, and its settings."""
    # timm re-exports these without declaring it, which strict typing rejects.
    data: Any = importlib.import_module("timm.data")
    settings: dict[str, Any] = data.resolve_model_data_config(network)
    return data.create_transform(**settings, is_training=False), settings


def _description(source: ClassifierSource, configuration: Any) -> dict[str, Any]:
    architecture, _, tag = source.name.partition(".")
    tag = tag or getattr(configuration, "tag", None) or ""
    path = source.file
    return {
        "architecture": architecture,
        "weights": path.name if path else tag,
        "training_data": None if path else _training_data(tag),
    }


def _configuration(source: ClassifierSource, settings: dict[str, Any]) -> dict[str, Any]:
    data = {key: str(value) for key, value in settings.items()}
    return {"library": "timm", "name": source.name.partition(".")[0], "data": data}


def _resolve(spec: str) -> tuple[ClassifierSource, Any]:
    """Return the named source and timm's pretrained configuration.

    Raises:
        UsageError: unknown name, tag or file; weights without a classifier, or whose outputs have no names.
    """
    source, configuration = _find(spec)
    if source.file is not None:
        return source, configuration
    fitted = f"{spec}{'&' if '?' in spec else '?'}head=knn (or logistic, linear, prototypes)"
    if not configuration.num_classes:
        raise UsageError(
            f"{spec}: these timm weights have no classifier; let one be fitted on their features, by "
            f"{fitted}."
        )
    if source.labels is None and not _names_outputs(configuration):
        raise UsageError(
            f"{spec}: timm names no classes for the {configuration.num_classes} outputs of these weights. In "
            "the image tower of a CLIP they are a projection, not classes: let a head be fitted on its "
            f"features, by {fitted}, or load the whole CLIP (open_clip:NAME/TAG). If they are classes, add "
            "?labels=FILE."
        )
    return source, configuration


def _names_outputs(configuration: Any) -> bool:
    """Return whether timm knows which classes published weights have, by their number."""
    data: Any = importlib.import_module("timm.data")
    return data.infer_imagenet_subset({"num_classes": configuration.num_classes}) is not None


def _resolve_tower(spec: str) -> tuple[ClassifierSource, Any]:
    """Return the same for weights with or without a classifier."""
    source, configuration = _find(spec)
    refuse_labels(spec, source)
    return source, configuration


def _find(spec: str) -> tuple[ClassifierSource, Any]:
    source = parse_classifier(spec)
    return source, _pretrained_cfg(spec, source.name, needs_weights=source.file is None)


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
    return configuration


def _fetch(spec: str, name: str, configuration: Any, *, offline: bool) -> Any:
    import timm

    with fetching(spec, offline=offline, remedy=_REMEDY, hub=bool(configuration.hf_hub_id)):
        if offline and not configuration.hf_hub_id:
            check_cached(configuration.url, spec)
        return timm.create_model(name, pretrained=True)


def _from_file(spec: str, name: str, path: Path, configuration: Any, default: int) -> tuple[Any, list[str]]:
    """Return a network with the user's weights, and warnings; ``default`` classes if they hold no head."""
    import timm

    with refusing_code(path, spec):
        if path.suffix in {".npz", ".npy"}:
            return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}), []
    state = read_state_dict(path, spec)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items() if hasattr(tensor, "shape")}
    with refusing_code(path, spec):
        classes = _head_size(state, configuration, default)
        # timm's own loader renames keys of older checkpoints; given the tensors, it opens no file itself.
        overlay = {"state_dict": state, "num_classes": classes}
        network: Any = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes
        )
    warnings = resampled(path, shapes, network.state_dict())
    if "." in name:
        return network, warnings
    warning = (
        f"{path.name} carries no tag, so the preprocessing of timm's default weights for {name} is "
        f"assumed; write timm:{name}.TAG@FILE to choose another."
    )
    return network, [*warnings, warning]


def _head_size(state: dict[str, Any], configuration: Any, default: int) -> int:
    """Return the number of outputs: the rows of the classifier, or ``default``."""
    heads = getattr(configuration, "classifier", None) or ()
    rows = (state.get(f"{head}.weight") for head in ((heads,) if isinstance(heads, str) else heads))
    return next((rows_of(each) for each in rows if each is not None), default)


def _labels(spec: str, network: Any, source: ClassifierSource) -> Labels:
    """Return the names of the outputs: the user's, or timm's own matched by WordNet id.

    Raises:
        UsageError: neither is known, or the user's do not fit.
    """
    data: Any = importlib.import_module("timm.data")
    subset = data.infer_imagenet_subset(network)
    if source.labels is not None or subset is None:
        return match_labels(spec, unnamed(int(network.num_classes)), source.labels)
    info = data.ImageNetInfo(subset)
    imagenet_info = data.ImageNetInfo("imagenet-1k")
    imagenet = {wnid: index for index, wnid in enumerate(imagenet_info.label_names())}
    wnids = info.label_names()
    columns = tuple(imagenet.get(wnid) for wnid in wnids)
    missing = len(imagenet) - sum(column is not None for column in columns)
    warnings = [] if source.file is None else [order_warning(source.file, len(wnids), subset)]
    if missing:
        warnings.append(
            f"{missing} of the 1000 ImageNet-1K classes are missing among these {len(wnids)} classes."
        )
    return Labels(tuple(info.label_descriptions()), columns, tuple(warnings))


def _training_data(tag: str) -> str | None:
    """Return the data named in a timm tag, in the order in which the tag names them."""
    found = sorted((tag.find(mark), data) for mark, data in _TRAINING_DATA if mark in tag)
    return ", then ".join(dict.fromkeys(data for _, data in found)) or None


TIMM = Family(
    prefix="timm",
    usage="timm:NAME",
    resolve=_resolve,
    load=_load,
    kind=lambda _spec: "classifier",
    list=partial(known_models, "timm:", "timm"),
    cite=lambda _spec: ("wightman2019timm",),
    tower=Tower(_resolve_tower, _load_tower),
)
