"""``open_clip:`` and ``counterground:``, the small CLIPs shipped with this package."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.models._base import Model
from counterground.models._family import Family, LoadOptions, ModelInfo, counted_parameters
from counterground.models.open_clip._activation import base_name, resolve_activation
from counterground.models.open_clip._model import load_folder, load_open_clip
from counterground.models.open_clip._source import find_open_clip, folder_weights
from counterground.models.open_clip._training_data import training_data_of

_SHIPPED = ("counterground:stamps-balanced", "counterground:stamps-biased")


def _list_open_clip() -> Iterator[ModelInfo]:
    import open_clip

    counted = counted_parameters("open_clip")
    for name, tag in open_clip.list_pretrained():
        if name == base_name(name):
            yield ModelInfo(
                f"open_clip:{name}/{tag}",
                "dual_encoder",
                counted.get(name),
                training_data_of(tag),
                needs_network=True,
                note="QuickGELU" if resolve_activation(name, tag).quick_gelu else "",
            )


def _shipped_folder(spec: str) -> Path:
    if spec not in _SHIPPED:
        raise UsageError(
            f"Unknown model {spec!r}; shipped: {', '.join(_SHIPPED)}.{did_you_mean(spec, _SHIPPED)}"
        )
    folder = Path(str(resources.files("counterground.models") / "data" / spec.partition(":")[2]))
    if not folder.is_dir():
        raise CounterGroundError(
            f"{spec}: this installation lacks the weights in {folder}; install it again."
        )
    return folder


def _load_shipped(spec: str, options: LoadOptions) -> Model:
    training_data = "composites of the stamps benchmark's cut-outs (see the model card)"
    return load_folder(spec, _shipped_folder(spec), options, training_data=training_data)


def _list_shipped() -> Iterator[ModelInfo]:
    from safetensors import safe_open

    for spec in _SHIPPED:
        with safe_open(folder_weights(spec, _shipped_folder(spec)), "numpy") as weights:
            shapes: list[list[int]] = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
        parameters = sum(math.prod(shape) for shape in shapes)
        yield ModelInfo(spec, "dual_encoder", parameters, "stamps composites", needs_network=False)


OPEN_CLIP = Family(
    prefix="open_clip",
    usage="open_clip:ARCH/TAG or open_clip:hf-hub:OWNER/NAME",
    resolve=find_open_clip,
    load=load_open_clip,
    kind=lambda _spec: "dual_encoder",
    list=_list_open_clip,
    cite=lambda _spec: ("radford2021clip", "ilharco2021openclip", "cherti2023scaling"),
)
SHIPPED = Family(
    prefix="counterground",
    usage="counterground:stamps-biased",
    resolve=_shipped_folder,
    load=_load_shipped,
    kind=lambda _spec: "dual_encoder",
    list=_list_shipped,
    cite=lambda _spec: ("radford2021clip", "ilharco2021openclip", "tuxpaint"),
)
