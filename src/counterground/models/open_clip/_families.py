"""``open_clip:`` and ``counterground:``, the small CLIPs shipped with this package."""

from __future__ import annotations

from functools import partial
from importlib import resources
from pathlib import Path

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.models._base import Model
from counterground.models._family import Family, LoadOptions, known_models
from counterground.models.open_clip._model import load_folder, load_open_clip
from counterground.models.open_clip._source import find_open_clip

_SHIPPED = ("counterground:stamps-balanced", "counterground:stamps-biased")


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


OPEN_CLIP = Family(
    prefix="open_clip",
    usage="open_clip:ARCH/TAG or open_clip:hf-hub:OWNER/NAME",
    resolve=find_open_clip,
    load=load_open_clip,
    kind=lambda _spec: "dual_encoder",
    list=partial(known_models, "open_clip:", "open_clip"),
    cite=lambda _spec: ("radford2021clip", "ilharco2021openclip", "cherti2023scaling"),
)
SHIPPED = Family(
    prefix="counterground",
    usage="counterground:stamps-biased",
    resolve=_shipped_folder,
    load=_load_shipped,
    kind=lambda _spec: "dual_encoder",
    list=partial(known_models, "counterground:"),
    cite=lambda _spec: ("radford2021clip", "ilharco2021openclip", "tuxpaint"),
)
