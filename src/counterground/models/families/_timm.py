"""timm's classifiers, with the preprocessing their pretrained configuration names."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any

from counterground.errors import UsageError, did_you_mean
from counterground.models._base import (
    Family,
    LoadOptions,
    Tower,
    known_models,
    known_training_data,
    near_model,
)
from counterground.models._labels import Labels, match_labels, order_warning, unnamed
from counterground.models._networks import NetworkClassifier, NetworkTower
from counterground.models._weights import (
    ClassifierSource,
    check_cached,
    fetching,
    parse_classifier,
    read_state_dict,
    refusing_code,
    resampled,
)

_REMEDY = (
    "Connect to the network, put the file into the Hugging Face cache (HF_HOME), "
    "or give the weights yourself: timm:NAME@FILE."
)


def _load(spec: str, options: LoadOptions, *, headless: bool = False) -> NetworkClassifier | NetworkTower:
    """Load ``timm:NAME``, ``NAME.tag`` or ``NAME@FILE?labels=FILE``; ``headless`` up to timm's pre-logits.

    Raises:
        UsageError: unknown name, tag or file; weights without a classifier; outputs without names.
        CounterGroundError: weights cannot be fetched or do not fit.
    """
    source, configuration = _resolve(spec, headless=headless)
    path = source.file
    warnings: list[str] = []
    if path is None:
        network = _fetch(spec, source.name, configuration, offline=options.offline)
    else:
        default = 0 if headless else getattr(configuration, "num_classes", 0) or 1000
        network, warnings = _from_file(spec, source.name, path, configuration, default)
    data = _timm_data()
    settings = data.resolve_model_data_config(network)
    transform = data.create_transform(**settings, is_training=False)
    architecture, _, tag = source.name.partition(".")
    tag = tag or getattr(configuration, "tag", None) or ""
    described = {key: str(value) for key, value in settings.items()}
    facts: dict[str, Any] = {
        "description": {
            "architecture": architecture,
            "weights": path.name if path else tag,
            "training_data": None if path else known_training_data(f"timm:{architecture}.{tag}"),
            "warnings": warnings,
        },
        "configuration": {"library": "timm", "name": architecture, "data": described},
        "libraries": ("timm", "torchvision"),
        "options": options,
    }
    if headless:
        network.reset_classifier(0)
        return NetworkTower(spec, network, transform, **facts)
    return NetworkClassifier(spec, network, transform, _labels(spec, network, source), **facts)


def _timm_data() -> Any:
    """Return ``timm.data``, which re-exports what is used here without declaring it."""
    return importlib.import_module("timm.data")


def _resolve(spec: str, *, headless: bool = False) -> tuple[ClassifierSource, Any]:
    """Return the named source and timm's pretrained configuration.

    Raises:
        UsageError: unknown name, tag or file; weights without a classifier, or whose outputs have no names.
    """
    source = parse_classifier(spec, headless=headless)
    configuration = _pretrained_cfg(spec, source.name, needs_weights=source.file is None)
    if source.file is not None or headless:
        return source, configuration
    classes = configuration.num_classes
    if not classes or (
        source.labels is None and _timm_data().infer_imagenet_subset({"num_classes": classes}) is None
    ):
        raise UsageError(
            f"{spec}: these timm weights have {classes} outputs, for which timm names no classes (in the "
            "image tower of a CLIP they are a projection). Let a head be fitted on their features, by "
            f"{spec}{'&' if '?' in spec else '?'}head=knn, or load the whole CLIP (open_clip:NAME/TAG). If "
            "they are classes, add ?labels=FILE."
        )
    return source, configuration


def _pretrained_cfg(spec: str, name: str, *, needs_weights: bool) -> Any:
    import timm
    from timm.models import get_pretrained_cfg

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        known = timm.list_models()
        raise UsageError(f"{spec}: timm has no model {architecture!r}.{near_model(architecture, known)}")
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
        heads = getattr(configuration, "classifier", None) or ()
        rows = (state.get(f"{head}.weight") for head in ((heads,) if isinstance(heads, str) else heads))
        classes = next((len(each) for each in rows if each is not None), default)
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


def _labels(spec: str, network: Any, source: ClassifierSource) -> Labels:
    """Return the names of the outputs: the user's, or timm's own matched by WordNet id.

    Raises:
        UsageError: neither is known, or the user's do not fit.
    """
    data = _timm_data()
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


TIMM = Family(
    prefix="timm",
    usage="timm:NAME",
    resolve=_resolve,
    load=_load,
    kind=lambda _spec: "classifier",
    list=partial(known_models, "timm:", "timm"),
    tower=Tower(partial(_resolve, headless=True), partial(_load, headless=True)),
)
