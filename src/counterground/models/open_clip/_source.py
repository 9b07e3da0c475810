"""What an ``open_clip:`` specification names: its activation and its training data, found without weights."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import given_path, is_file, is_folder
from counterground.models._base import near_model, read_options
from counterground.models._weights import check_limits, read_json, split_file

_SUFFIX = "-quickgelu"
# The paper's referee: a plain ``ViT-B-32`` of OpenCLIP 2.24 ran these weights with GELU (their 67.13 / 36.95
# on common / counter; the same weights with QuickGELU give an independent reproduction 70.12 / 41.29).
_PUBLISHED_AS_GELU = {("ViT-B-32", "laion400m_e31"), ("ViT-B-32", "laion400m_e32")}
_PUBLISHED_UNKNOWN = {("ViT-B-16", "dfn2b")}


@dataclass(frozen=True)
class Activation:
    """The architecture to build for a pair of name and tag.

    Attributes:
        name: architecture without the ``-quickgelu`` suffix, which OpenCLIP's tables are keyed by.
        tag: pretrained tag as OpenCLIP spells it.
        quick_gelu: True for QuickGELU, False for GELU.
        trained_quick_gelu: the same for the weights as trained; differs only with ``?as_published``.
        warnings: sentences for the description.
    """

    name: str
    tag: str
    quick_gelu: bool
    trained_quick_gelu: bool
    warnings: tuple[str, ...] = ()


def activation_name(quick_gelu: bool) -> str:
    """Return ``"QuickGELU"`` or ``"GELU"``."""
    return "QuickGELU" if quick_gelu else "GELU"


def base_name(name: str) -> str:
    """Return the architecture name without its ``-quickgelu`` suffix."""
    return name.removesuffix(_SUFFIX)


def resolve_activation(name: str, tag: str, *, as_published: bool = False) -> Activation:
    """Return how to build ``name`` so that the weights ``tag`` run as they were trained.

    Args:
        name: OpenCLIP architecture, with or without ``-quickgelu``.
        tag: OpenCLIP pretrained tag.
        as_published: build ViT-B/32 LAION400M with GELU, as the paper apparently did.

    Raises:
        UsageError: OpenCLIP knows no such architecture or no such tag for it.
    """
    import open_clip

    plain = base_name(name)
    config = open_clip.get_model_config(plain) or open_clip.get_model_config(name)
    tags = open_clip.list_pretrained_tags_by_model(plain)
    if config is None or not tags:
        known = {model for model, _ in open_clip.list_pretrained()}
        near = near_model(name, known) or f" If it is a repository of the hub, write {_HUB}{name}/{tag}."
        raise UsageError(f"OpenCLIP has no pretrained architecture {name!r}.{near}")
    spelled = tag.lower().replace("-", "_")
    weights = open_clip.get_pretrained_cfg(plain, tag)
    if not weights:
        raise UsageError(
            f"OpenCLIP has no weights {tag!r} for {plain}.{did_you_mean(tag, tags)} "
            f"'counterground models {plain}' lists them."
        )
    # An architecture whose own, unsuffixed configuration says QuickGELU (roberta-ViT-B-32) was trained so,
    # even if the table of tags lacks the mark.
    trained = bool(weights.get("quick_gelu", False)) or bool(config.get("quick_gelu", False))
    quick_gelu, warnings = trained, []
    if as_published and (plain, spelled) in _PUBLISHED_AS_GELU:
        quick_gelu = False
        warnings.append(
            f"As published: {plain}/{spelled} was trained with QuickGELU and runs with GELU here, as the "
            "paper apparently loaded it; its accuracy is lower than that of the weights as trained."
        )
    elif as_published and (plain, spelled) in _PUBLISHED_UNKNOWN:
        warnings.append(
            f"As published: whether the paper ran {plain}/{spelled} with GELU or QuickGELU is unknown; "
            "QuickGELU, which the weights were trained with, is used."
        )
    elif trained != (named := _named_quick_gelu(name)):
        warnings.append(
            f"{plain}/{spelled} was trained with {activation_name(trained)}, which is used although the name "
            f"{name!r} says {activation_name(named)}."
        )
    return Activation(plain, spelled, quick_gelu, trained, tuple(warnings))


def _named_quick_gelu(name: str) -> bool:
    import open_clip

    config = open_clip.get_model_config(name)
    return bool(config.get("quick_gelu", False)) if config else name.endswith(_SUFFIX)


CONFIG_NAME = "open_clip_config.json"
_HUB = "hf-hub:"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_TOKENIZER_NAMES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
# OpenCLIP's own order of preference.
_WEIGHT_NAMES = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.pth",
    "model.pth",
)


@dataclass(frozen=True)
class OpenClipSource:
    """Where an OpenCLIP model comes from: a folder, a repository of the hub, a file, or ``name``/``tag``.

    ``as_published``: loaded as the paper apparently did, with its activation and the library's order
    of resizing and converting to RGB.
    """

    name: str = ""
    tag: str = ""
    folder: Path | None = None
    file: Path | None = None
    repository: str = ""
    as_published: bool = False


def find_open_clip(spec: str) -> OpenClipSource:
    """Return what follows ``open_clip:``: ARCH/TAG, hf-hub:OWNER/NAME, DIR or NAME@FILE.

    ``hf-hub:`` may also come first, and OWNER/NAME end in ``@REVISION``. Each may end in ``?as_published``.

    Raises:
        UsageError: unknown name, tag, folder, file or option.
        CounterGroundError: the folder's configuration is broken.
    """
    place, _, query = spec.partition("?")
    options = read_options(spec, query, ("as_published",))
    if options.get("as_published") is not None:
        raise UsageError(f"{spec}: ?as_published takes no value.")
    return replace(_find(place), as_published="as_published" in options)


def _find(spec: str) -> OpenClipSource:
    rest = spec if spec.startswith(_HUB) else spec.partition(":")[2]
    if rest.startswith(_HUB):
        if not _REPOSITORY.fullmatch(rest.removeprefix(_HUB)):
            raise UsageError(
                f"{spec}: a repository of the hub is {_HUB}OWNER/NAME or {_HUB}OWNER/NAME@REVISION."
            )
        return OpenClipSource(repository=rest.removeprefix(_HUB))
    architecture, slash, tag = rest.rpartition("/")
    # No architecture begins like a path, and OpenCLIP takes seconds to import.
    named = bool(slash) and rest[0] not in "./~"
    if named and _has_tag(architecture, tag):
        return OpenClipSource(architecture, tag)
    folder = given_path(rest)
    if is_folder(folder):
        folder_configuration(spec, folder)
        folder_weights(spec, folder)
        return OpenClipSource(folder=folder)
    name, file = split_file(spec)
    if file is not None:
        _check_architecture(name)
        return OpenClipSource(name, file=file)
    if named:
        resolve_activation(architecture, tag)  # says what is wrong with the name or the tag
    raise _neither(spec, rest)


def _has_tag(architecture: str, tag: str) -> bool:
    import open_clip

    return bool(open_clip.get_pretrained_cfg(base_name(architecture), tag))


def _check_architecture(name: str) -> None:
    import open_clip

    if open_clip.get_model_config(name) is None:
        raise UsageError(
            f"OpenCLIP has no architecture {name!r}.{did_you_mean(name, open_clip.list_models())}"
        )


def _neither(spec: str, rest: str) -> UsageError:
    import open_clip

    names = open_clip.list_models()
    if rest in names:
        return UsageError(
            f"{spec}: say which weights, as open_clip:{rest}/TAG; 'counterground models {base_name(rest)}' "
            "lists them."
        )
    return UsageError(
        f"{spec}: {rest!r} is neither ARCH/TAG, a folder with {CONFIG_NAME}, nor NAME@FILE."
        f"{near_model(rest, names)}"
    )


def folder_configuration(spec: str, folder: Path) -> dict[str, Any]:
    """Return the configuration of a local folder.

    Raises:
        UsageError: the folder has none.
        CounterGroundError: it is not one of OpenCLIP's.
    """
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise UsageError(
            f"{spec}: {folder} has no {CONFIG_NAME}: name a folder that holds it and the weights."
        )
    configuration = read_json(path, spec)
    network = configuration.get("model_cfg") if isinstance(configuration, dict) else None
    if not isinstance(network, dict) or "embed_dim" not in network:
        raise CounterGroundError(f"{spec}: {path} lacks 'model_cfg' with 'embed_dim'.")
    check_limits(spec, configuration)
    found: dict[str, Any] = configuration
    return found


def fetch_repository(repository: str) -> Path:
    """Return the folder in the hub's cache with a repository's configuration, tokenizer and weights.

    Call it inside `fetching`.

    Args:
        repository: ``OWNER/NAME``, maybe with ``@REVISION``.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    name, _, revision = repository.partition("@")
    folder = Path(hf_hub_download(name, CONFIG_NAME, revision=revision or None)).parent
    for file in _TOKENIZER_NAMES:
        with suppress(EntryNotFoundError):
            hf_hub_download(name, file, revision=folder.name)
    for file in _WEIGHT_NAMES:
        with suppress(EntryNotFoundError):
            hf_hub_download(name, file, revision=folder.name)
            break
    return folder


def folder_weights(spec: str, folder: Path) -> Path:
    """Return the weights file in a local folder.

    Raises:
        UsageError: there is none, or there are several and none with a known name.
    """
    found = (path for kind in ("*.safetensors", "*.bin", "*.pth") for path in folder.glob(kind))
    files = sorted(path for path in found if is_file(path))
    named = [folder / name for name in _WEIGHT_NAMES if folder / name in files]
    if named:
        return named[0]
    if len(files) == 1:
        return files[0]
    if not files:
        raise UsageError(f"{spec}: {folder} has no weights (.safetensors, .bin or .pth).")
    raise UsageError(
        f"{spec}: {folder} has several weights files ({', '.join(path.name for path in files)}); "
        f"name the one to use {_WEIGHT_NAMES[0]}."
    )
