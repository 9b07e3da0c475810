"""``hf:``: transformers models, whose configuration decides their kind."""

from __future__ import annotations

from functools import partial

from counterground.models._base import Encoder, Kind, Model
from counterground.models._family import Family, LoadOptions, Tower, known_models
from counterground.models._probe import probed
from counterground.models.huggingface._classifier import load_hf_classifier, load_hf_tower
from counterground.models.huggingface._dual import load_hf_dual
from counterground.models.huggingface._loading import (
    HfSource,
    explained,
    find_hf,
    find_hf_tower,
    folder_config,
    kind_of,
    pinned,
    read_config,
    reading,
    tower_kind,
)
from counterground.models.huggingface._lvlm import Lvlm, read_lvlm


def _load(spec: str, options: LoadOptions) -> Model:
    """Load ``hf:DIR`` or ``hf:OWNER/NAME[@REVISION]`` with its own tokenisation and preprocessing.

    Raises:
        UsageError: no such folder, an unknown option, or a kind of model that cannot be scored.
        CounterGroundError: files cannot be fetched or read, or do not fit.
    """
    source = find_hf(spec)
    with reading(source, offline=options.offline):
        source = pinned(source)
        kind = kind_of(source, read_config(source))
        if kind != "generative":
            load = load_hf_classifier if kind == "classifier" else load_hf_dual
            return _trusted(source, load(source, options))
        network, processor = read_lvlm(source, options.precision)
    with explained(source):
        return Lvlm(source, network, processor, options)


def _load_tower(spec: str, options: LoadOptions) -> Model:
    """Load the image side of any model that has one, except generative models."""
    source = find_hf_tower(spec)
    with reading(source, offline=options.offline):
        source = pinned(source)
        kind = tower_kind(source, read_config(source))
        if kind == "dual_encoder":
            return _trusted(source, load_hf_dual(source, options))
        return _trusted(source, load_hf_tower(source, kind, options))


def _trusted(source: HfSource, model: Encoder) -> Encoder:
    """Return the model; code beside the weights enters its fingerprint by what it gives for the probe."""
    if source.trust_remote_code:
        model.fingerprint = probed(model)
    return model


def _kind(spec: str) -> Kind | None:
    source = find_hf(spec)
    return None if source.folder is None else kind_of(source, folder_config(source))


HUGGING_FACE = Family(
    prefix="hf",
    usage="hf:OWNER/NAME or hf:DIR",
    resolve=find_hf,
    load=_load,
    kind=_kind,
    list=partial(known_models, "hf:"),
    cite=lambda _spec: ("wolf2020transformers",),
    extra="hf",
    tower=Tower(find_hf_tower, _load_tower),
)
