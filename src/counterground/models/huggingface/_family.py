"""``hf:``: transformers models, whose configuration decides their kind."""

from __future__ import annotations

from collections.abc import Iterator

from counterground.models._base import Kind, Model
from counterground.models._family import Family, LoadOptions, ModelInfo, Tower, counted_parameters
from counterground.models.huggingface._classifier import load_hf_classifier
from counterground.models.huggingface._dual import load_hf_dual
from counterground.models.huggingface._loading import explained, pinned, read_config, reading
from counterground.models.huggingface._lvlm import Lvlm, read_lvlm
from counterground.models.huggingface._source import (
    find_hf,
    find_hf_tower,
    folder_config,
    kind_of,
    tower_kind,
)
from counterground.models.huggingface._tower import load_hf_tower

# The best known. Repository, the same architecture's name in OpenCLIP or timm (whose parameters are
# counted), training data.
_DUAL_ENCODERS = (
    ("openai/clip-vit-base-patch32", "ViT-B-32", "WIT-400M (OpenAI)"),
    ("openai/clip-vit-base-patch16", "ViT-B-16", "WIT-400M (OpenAI)"),
    ("openai/clip-vit-large-patch14", "ViT-L-14", "WIT-400M (OpenAI)"),
    ("openai/clip-vit-large-patch14-336", "ViT-L-14-336", "WIT-400M (OpenAI)"),
    ("google/siglip-base-patch16-224", "ViT-B-16-SigLIP", "WebLI"),
    ("google/siglip-so400m-patch14-384", "ViT-SO400M-14-SigLIP-384", "WebLI"),
    ("google/siglip2-base-patch16-224", "ViT-B-16-SigLIP2", "WebLI"),
    ("google/siglip2-base-patch16-naflex", None, "WebLI"),
    ("kakaobrain/align-base", None, "COYO-700M"),
)
_CLASSIFIERS = (
    ("google/vit-base-patch16-224", "vit_base_patch16_224.augreg_in1k", "ImageNet-21K, then ImageNet-1K"),
    ("microsoft/resnet-50", "resnet50.a1_in1k", "ImageNet-1K"),
    ("facebook/convnext-base-224", "convnext_base.fb_in1k", "ImageNet-1K"),
)
_GENERATIVE = (
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "Salesforce/instructblip-vicuna-7b",
    "llava-hf/llava-1.5-7b-hf",
    "llava-hf/llava-v1.6-mistral-7b-hf",
)


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
        if kind == "classifier":
            return load_hf_classifier(source, options)
        if kind == "dual_encoder":
            return load_hf_dual(source, options)
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
            return load_hf_dual(source, options)
        return load_hf_tower(source, kind, options)


def _kind(spec: str) -> Kind | None:
    source = find_hf(spec)
    return None if source.folder is None else kind_of(source, folder_config(source))


def _list() -> Iterator[ModelInfo]:
    note = "among the best known; any other OWNER/NAME or folder works"
    open_clip, timm = counted_parameters("open_clip"), counted_parameters("timm")
    listed: list[tuple[str, Kind, int | None, str | None]] = [
        *((name, "dual_encoder", open_clip.get(same or ""), data) for name, same, data in _DUAL_ENCODERS),
        *((name, "classifier", timm.get(same), data) for name, same, data in _CLASSIFIERS),
        *((name, "generative", None, None) for name in _GENERATIVE),
    ]
    for name, kind, parameters, data in listed:
        yield ModelInfo(f"hf:{name}", kind, parameters, data, needs_network=True, note=note)


HUGGING_FACE = Family(
    prefix="hf",
    usage="hf:OWNER/NAME or hf:DIR",
    resolve=find_hf,
    load=_load,
    kind=_kind,
    list=_list,
    cite=lambda _spec: ("wolf2020transformers",),
    extra="hf",
    tower=Tower(find_hf_tower, _load_tower),
)
