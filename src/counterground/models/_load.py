"""From a specification to a loaded model."""

from __future__ import annotations

import importlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.models._base import Model
from counterground.models._device import check_precision, out_of_memory, resolve_device
from counterground.models._spec import SHIPPED, expand_specs, split_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def load_model(
    spec: str,
    *,
    device: str = "auto",
    precision: str = "fp32",
    as_published: bool = False,
    offline: bool = False,
) -> Model:
    """Load one model with the preprocessing and the activation its weights were trained with.

    Args:
        spec: ``open_clip:ARCH/TAG``, ``open_clip:DIR``, ``open_clip:NAME@FILE``, ``hf:OWNER/NAME``,
            ``hf:DIR``, ``torchvision:NAME``, ``torchvision:NAME/WEIGHTS``, ``torchvision:NAME@FILE``,
            ``timm:NAME.tag``, ``timm:NAME@FILE``, ``onnx:FILE``, ``efficientnet-lite0`` (1, 2),
            ``counterground:stamps-biased``, ``minigpt4:DIR``, an address or ``module:function``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``, for the image side.
        as_published: reproduce how the paper apparently loaded ViT-B/32 LAION400M (GELU), and resize
            before converting to RGB where the library does; stamped on the description.
        offline: never use the network.

    Raises:
        UsageError: an unknown specification, device or precision.
        CounterGroundError: weights cannot be fetched, read or fitted, or memory does not suffice.
    """
    loader, rest = split_spec(spec)
    options: dict[str, Any] = {
        "device": resolve_device(device),
        "precision": check_precision(precision),
        "as_published": as_published,
    }
    try:
        return _load(spec, loader, rest, offline=offline, **options)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise CounterGroundError(
            f"{spec} does not fit into the memory of {options['device']}. Use --device cpu, a smaller model, "
            "or --precision bf16, in which language models take half of it."
        ) from error


def _load(spec: str, loader: str, rest: str, *, offline: bool, **options: Any) -> Model:
    if loader == "lite":
        from counterground.models.classifiers._lite import load_lite

        return load_lite(spec, **options)
    if loader == "user":
        from counterground.models.custom._user import load_user

        return load_user(spec, **options)
    if loader == "counterground":
        return _load_shipped(spec, rest, offline=offline, **options)
    load: Callable[..., Model] = _find(_LOADERS[loader])
    return load(spec, rest, offline=offline, **options)


def check_specs(specs: Sequence[str]) -> None:
    """Check that every specification names something there is, before any work is done; sets are allowed.

    No weights are read or fetched. PyTorch is imported only where a library must be asked for its names;
    of ``module:function`` the module is imported, the function not called.

    Raises:
        UsageError: the first unknown one, with the message `load_model` would give.
        CounterGroundError: a package is missing, or a user's module cannot be imported.
    """
    for spec in expand_specs(specs):
        loader, rest = split_spec(spec)
        check = _CHECKS.get(loader) or _find(_FINDERS[loader])
        check(spec, rest)


def _check_lite(spec: str, rest: str) -> None:
    from counterground.models.classifiers._lite import check_lite

    del rest
    check_lite(spec)


def _check_user(spec: str, rest: str) -> None:
    from counterground.models.custom._user import find_function

    del rest
    find_function(spec)


def _find(place: str) -> Callable[..., Any]:
    """Import ``module:function`` of this room only when it is wanted: most of them load a library."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(f"counterground.models.{module}"), name)
    return function


def _load_shipped(spec: str, name: str, **options: Any) -> Model:
    from counterground.models.open_clip._model import load_open_clip_folder

    description = {"training_data": "composites of the stamps benchmark's cut-outs (see the model card)"}
    folder = _shipped_folder(spec, name)
    return load_open_clip_folder(spec, folder, description=description, **options)


def _shipped_folder(spec: str, name: str) -> Path:
    if spec not in SHIPPED:
        raise UsageError(
            f"Unknown model {spec!r}; shipped: {', '.join(SHIPPED)}.{did_you_mean(spec, SHIPPED)}"
        )
    folder = Path(str(resources.files("counterground.models") / "data" / name))
    if not folder.is_dir():
        raise CounterGroundError(
            f"{spec}: this installation lacks the weights in {folder}; install it again."
        )
    return folder


_CHECKS: dict[str, Callable[[str, str], object]] = {
    "lite": _check_lite,
    "user": _check_user,
    "counterground": _shipped_folder,
}
# Where each loader, and the check of its specifications, is defined.
_LOADERS = {
    "endpoint": "generative._endpoint:load_endpoint",
    "hf": "huggingface._family:load_hf",
    "minigpt4": "generative._minigpt4:load_minigpt4",
    "onnx": "custom._onnx:load_onnx",
    "open_clip": "open_clip._model:load_open_clip",
    "timm": "classifiers._timm:load_timm",
    "torchvision": "classifiers._torchvision:load_torchvision",
}
_FINDERS = {
    "endpoint": "generative._endpoint:find_endpoint",
    "hf": "huggingface._source:find_hf",
    "minigpt4": "generative._minigpt4:find_minigpt4",
    "onnx": "custom._onnx:find_onnx",
    "open_clip": "open_clip._source:find_open_clip",
    "timm": "classifiers._timm:find_timm",
    "torchvision": "classifiers._torchvision:find_torchvision",
}
