"""Read a transformers model and its image processor: quietly, completely, and without running code."""

from __future__ import annotations

import json
import logging
import pickle
import re
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, UsageError, error_message, install_command
from counterground.files import given_path, is_folder
from counterground.models._base import Kind, read_options, require
from counterground.models._labels import match_labels, names_of
from counterground.models._weights import check_limits, fetching, hub_offline, read_json, refusing_code
from counterground.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch
    from PIL import Image


CONFIG_NAME = "config.json"
_KINDS_OF_VALUES = {"architectures": list, "model_type": str, "id2label": dict, "auto_map": dict}
OPTIONS = ("trust_remote_code", "labels", "backend")
BACKENDS = ("pil", "torchvision")
# Model types of transformers whose model has get_image_features and get_text_features in one space.
DUAL_ENCODERS = (
    "align",
    "altclip",
    "chinese_clip",
    "clip",
    "clipseg",
    "groupvit",
    "metaclip_2",
    "siglip",
    "siglip2",
    "vision-text-dual-encoder",
)
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_GENERATIVE = re.compile(r"For(ConditionalGeneration|CausalLM|Vision2Seq|VisionText2Text|ImageTextToText)")


@dataclass(frozen=True)
class HfSource:
    """A folder in transformers' layout, or a repository on the hub, with its options.

    Attributes:
        spec: the specification as written.
        name: path of the folder, or ``owner/name``: what ``from_pretrained`` is given.
        folder: the folder, None for a repository.
        revision: branch, tag or commit of a repository.
        trust_remote_code: whether the user allowed the code beside the weights to run.
        labels: ``imagenet`` or a file of class names, instead of the model's own ``id2label``.
        backend: ``pil`` or ``torchvision``, None for the library's own choice.
    """

    spec: str
    name: str
    folder: Path | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    labels: str | None = None
    backend: str | None = None


def parse_hf(spec: str) -> HfSource:
    """Return what ``hf:DIR`` or ``hf:OWNER/NAME[@REVISION]`` names, with its ``?OPTION&OPTION``.

    Raises:
        UsageError: neither a folder nor a well-formed repository name, or an unknown option.
        ModuleNotFoundError: transformers is not installed.
    """
    require("transformers")
    place, _, query = spec.partition(":")[2].partition("?")
    options = read_options(spec, query, OPTIONS)
    backend = options.get("backend")
    for name, value in options.items():
        if (name == "trust_remote_code") != (value is None) or value == "":
            raise UsageError(
                f"{spec}: trust_remote_code takes no value, labels=... and backend=... take one."
            )
    if backend not in (None, *BACKENDS):
        raise UsageError(f"{spec}: backend is {' or '.join(BACKENDS)}, not {backend!r}.")
    common: dict[str, Any] = {
        "trust_remote_code": "trust_remote_code" in options,
        "labels": options.get("labels"),
        "backend": backend,
    }
    folder = given_path(place)
    if is_folder(folder):
        return HfSource(spec, str(folder), folder=folder, **common)
    name, at, revision = place.partition("@")
    if place[:1] in ("/", ".", "~") or not _REPOSITORY.fullmatch(name) or (at and not revision):
        raise UsageError(
            f"{spec}: there is no folder {place!r}, and a repository is written hf:OWNER/NAME or "
            "hf:OWNER/NAME@REVISION."
        )
    return HfSource(spec, name, revision=revision or None, **common)


def find_hf(spec: str, *, headless: bool = False) -> HfSource:
    """Return the source, with a folder's configuration and class names checked; the hub is not contacted.

    Raises:
        UsageError: as `parse_hf`; a folder without configuration, of a kind that cannot be scored, or a
            classifier whose classes have no names.
        CounterGroundError: the configuration is broken.
        ModuleNotFoundError: transformers is not installed.
    """
    source = parse_hf(spec)
    if source.folder is not None:
        config = folder_config(source)
        kind = kind_of(source, config, headless=headless)
        if kind == "classifier" and not headless and ("id2label" in config or source.labels):
            match_labels(spec, names_of(spec, config.get("id2label") or {}), source.labels)
    return source


def folder_config(source: HfSource) -> dict[str, Any]:
    """Return the ``config.json`` of a folder.

    Raises:
        UsageError: there is none.
        CounterGroundError: it is not readable JSON.
    """
    assert source.folder is not None
    path = source.folder / CONFIG_NAME
    if not path.is_file():
        other = (source.folder / "open_clip_config.json").is_file()
        hint = f" It is an OpenCLIP folder: write open_clip:{source.folder}." if other else ""
        raise UsageError(f"{source.spec}: {source.folder} has no {CONFIG_NAME}.{hint}")
    config = read_json(path, source.spec)
    if not isinstance(config, dict):
        raise CounterGroundError(f"{source.spec}: {path} is not the configuration of a model.")
    for name, kind in _KINDS_OF_VALUES.items():
        if not isinstance(config.get(name), kind | None):
            raise CounterGroundError(f"{source.spec}: {path} has {config[name]!r} as {name}.")
    check_limits(source.spec, config)
    return config


def kind_of(source: HfSource, config: Mapping[str, Any], *, headless: bool = False) -> Kind:
    """Return which kind of model a configuration describes; ``headless`` if its image features are needed.

    The class the weights were saved from decides; the model type alone, only if no class is named.

    Raises:
        UsageError: it is of no kind that can be scored, or whose features are any use; or an option was given
            that does not apply to its kind.
    """
    kind = _described_kind(config)
    model_type = config.get("model_type")
    if headless and kind == "generative":
        raise UsageError(f"{source.spec}: a generative model answers in text; ?head= is for image encoders.")
    if headless and model_type == "vit_mae":
        raise UsageError(
            f"{source.spec}: in transformers this model hides patches of each photo at random, so its "
            "features differ each time. timm has its encoder: timm:vit_base_patch16_224.mae."
        )
    if headless and (kind is None or (kind == "dual_encoder" and model_type not in DUAL_ENCODERS)):
        kind = "image_encoder"  # maybe with code of its own, of which only the image side is needed
    if kind is None:
        named = config.get("architectures") or [model_type or "this model"]
        raise UsageError(
            f"{source.spec}: {named[0]} cannot be scored as it is: neither an image and a text tower in one "
            f"space ({', '.join(DUAL_ENCODERS)}), nor ...ForImageClassification, nor a model that writes "
            "about images (...ForConditionalGeneration). For a vision model, let a head be fitted on its "
            "features: add ?head=knn."
        )
    if (source.labels and (headless or kind != "classifier")) or (source.backend and kind == "generative"):
        option = "labels" if source.labels else "backend"
        raise UsageError(f"{source.spec}: {option}=... does not apply to this model: leave it out.")
    return kind


def _described_kind(config: Mapping[str, Any]) -> Kind | None:
    """Return the kind, None for one that cannot be scored: a tower alone, a network without a head."""
    named = config.get("architectures") or [""]
    architecture, model_type = str(named[0]), str(config.get("model_type") or "")
    if "ForImageClassification" in architecture or {"architecture", "num_classes"} <= set(config):
        return "classifier"
    if _GENERATIVE.search(architecture):
        return "generative"
    whole = architecture.endswith("Model") and not architecture.endswith(("VisionModel", "TextModel"))
    if model_type in DUAL_ENCODERS and (whole or not architecture):
        return "dual_encoder"
    own_code = config.get("auto_map") or {}
    if "AutoModelForImageClassification" in own_code:
        return "classifier"
    if {"AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModelForVision2Seq"} & set(own_code):
        return "generative"
    return "dual_encoder" if "AutoModel" in own_code else None


# Their versions enter a fingerprint.
LIBRARIES = ("transformers", "tokenizers", "torchvision")
_REMEDY = (
    "Connect to the network, put the files into the Hugging Face cache (HF_HOME), or give a folder: hf:DIR."
)


@contextmanager
def reading(source: HfSource, *, offline: bool) -> Iterator[None]:
    """Read a model inside this context; errors become one line. A folder never uses the network.

    Raises:
        CounterGroundError: not in the cache, no network, a missing package, a pickle that could run code,
            weights that do not fit, or code beside the weights that the user did not allow.
    """
    fetched = fetching(source.spec, offline=offline, remedy=_REMEDY, hub=True)
    place = weights_name(source) if source.folder is None else source.folder
    with (
        quiet(),
        refusing_code(place, source.spec),
        fetched if source.folder is None else hub_offline(),
        explained(source),
    ):
        yield


def pinned(source: HfSource) -> HfSource:
    """Return a repository's source pinned to its current commit; call it inside `reading`."""
    from transformers.utils.hub import resolve_revision

    if source.folder is not None:
        return source
    found = resolve_revision(source.name, source.revision)
    return replace(source, revision=getattr(found, "resolved", found))


def read_config(source: HfSource) -> dict[str, Any]:
    """Return the configuration as a mapping; call it inside `reading` for a repository.

    Raises:
        UsageError: a folder without one.
        CounterGroundError: it is broken.
    """
    if source.folder is not None:
        return folder_config(source)
    from transformers import PretrainedConfig

    config, _ = PretrainedConfig.get_config_dict(source.name, revision=source.revision)
    check_limits(source.spec, config)
    return dict(config)


def from_pretrained(auto: Any, source: HfSource, **options: Any) -> Any:
    """Call ``auto.from_pretrained``; code beside the weights runs only if the user allowed it."""
    return auto.from_pretrained(
        source.name, revision=source.revision, trust_remote_code=source.trust_remote_code, **options
    )


class MissingTensorsError(CounterGroundError):
    """Weights lack some of a network's tensors, or hold them in another shape; ``names`` lists them."""

    names: tuple[str, ...] = ()


def read_network(auto: Any, source: HfSource, *, dtype: torch.dtype | None = None, **options: Any) -> Any:
    """Return the network in evaluation mode, all its tensors read from the weights.

    They are held in ``dtype``, float32 by default.

    Raises:
        MissingTensorsError: tensors are missing, which transformers would fill at random.
        CounterGroundError: layers or biases in the weights have no place in the network, so that it would
            compute something else.
    """
    import torch

    # Told to ignore tensors of another shape, transformers lists them instead of pointing to its log.
    network, found = from_pretrained(
        auto,
        source,
        dtype=dtype or torch.float32,
        weights_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **options,
    )
    missing = [*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])]
    if missing:
        error = MissingTensorsError(
            f"{source.spec}: the weights lack {len(missing)} tensors of {type(network).__name__} or hold "
            f"them in another shape ({', '.join(sorted(missing)[:3])}); they would be random."
        )
        error.names = tuple(missing)
        raise error
    if homeless := _without_place(network, found["unexpected_keys"]):
        raise CounterGroundError(
            f"{source.spec}: {type(network).__name__}, as config.json describes it, has no place for "
            f"{counted(len(homeless), 'tensor')} of the weights ({', '.join(homeless[:3])}). Use the "
            "config.json that was saved with the weights."
        )
    return network.eval().requires_grad_(requires_grad=False)


def _without_place(network: Any, unexpected: Iterable[str]) -> list[str]:
    """Return the tensors without a place that belong to layers of the network, or are more such layers.

    Other parts (a head for another task, a decoder, a mask token) are left out on purpose. Transformers has
    removed what it knows to be harmless.
    """
    import torch

    parts = dict(network.named_modules())

    def belongs(name: str) -> bool:
        *path, last = name.removeprefix(f"{network.base_model_prefix}.").split(".")
        for inside in (path, [network.base_model_prefix, *path]):
            if last in ("weight", "bias") and inside and ".".join(inside) in parts:
                return True
            lists = [parts.get(".".join(inside[:at])) for at, part in enumerate(inside) if part.isdigit()]
            if any(isinstance(each, torch.nn.ModuleList) for each in lists):
                return True
        return False

    return sorted(name for name in unexpected if belongs(name))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and remarks off the terminal."""
    from transformers.utils import logging as its_logging

    level, bars = its_logging.get_verbosity(), its_logging.is_progress_bar_enabled()
    its_logging.set_verbosity(logging.CRITICAL)
    its_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        its_logging.set_verbosity(level)
        if bars:
            its_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def explained(source: HfSource) -> Iterator[None]:
    """Turn what transformers raises on files that it cannot use into one line; see `reading`."""
    from safetensors import SafetensorError

    try:
        yield
    except CounterGroundError:
        raise
    except ImportError as error:
        raise CounterGroundError(
            f"{source.spec} needs a package that is missing: {_first_sentence(error)}. "
            f"Try {install_command('hf')}."
        ) from error
    except Exception as error:
        if source.folder is not None and isinstance(error, OSError):
            raise CounterGroundError(
                f"{source.spec}: {source.folder} is not a complete model ({_first_sentence(error)}). "
                "Save model, image processor and tokenizer into it with save_pretrained()."
            ) from error
        if "trust_remote_code" in str(error):
            raise CounterGroundError(
                f"{source.spec} comes with code of its own, which is not run. Read that code; if you trust "
                f"it, write {source.spec}{'&' if '?' in source.spec else '?'}trust_remote_code."
            ) from error
        # What `refusing_code` and `fetching` explain, or too little memory.
        if isinstance(error, pickle.UnpicklingError | SafetensorError | OSError | RuntimeError | MemoryError):
            raise
        reason = f"{type(error).__name__}: {_first_sentence(error)}"
        raise CounterGroundError(f"{source.spec}: transformers cannot load it ({reason}).") from error


def _first_sentence(error: BaseException) -> str:
    return error_message(error).partition(". ")[0]


def weights_name(source: HfSource) -> str:
    """Return the folder's name, or ``owner/name@commit``."""
    if source.folder is not None:
        return source.folder.resolve().name
    return f"{source.name}@{source.revision}" if source.revision else source.name


_PATCH_INPUTS = {"pixel_values", "pixel_attention_mask", "spatial_shapes"}


class HfTransform:
    """Turns a photo into one tensor, as the model's image processor does; make it inside `reading`.

    The processor is the one transformers picks for the model: in version 5 the one that resizes tensors with
    torchvision (with anti-aliasing, at most 2 of 255 levels away from Pillow), or Pillow's on request. Models
    of variable resolution (SigLIP 2 NaFlex) take patches, their mask and the grid's shape; these travel as
    one tensor ``[patches, width + 3]`` so that photos can be stacked, and `inputs` splits it again.

    Raises:
        CounterGroundError: photos of different shapes do not become tensors of one shape.
    """

    def __init__(self, source: HfSource) -> None:
        from PIL import Image
        from transformers import AutoImageProcessor

        chosen = {} if source.backend is None else {"backend": source.backend}
        self.processor = processor = from_pretrained(AutoImageProcessor, source, **chosen)
        name = type(processor).__name__
        backend = getattr(processor, "backend", None) or ("pil" if name.endswith("Pil") else "its own")
        self.settings: dict[str, Any] = {**plain_settings(processor), "class": name, "backend": backend}
        check_limits(source.spec, self.settings)
        self.patches = "spatial_shapes" in getattr(processor, "model_input_names", ())
        photos = (Image.new("RGB", (48, 40)), Image.new("RGB", (40, 64)))
        made = [processor(photo, return_tensors="pt") for photo in photos]
        unknown = set(made[0]) - (_PATCH_INPUTS if self.patches else {"pixel_values"})
        shapes = {tuple(each["pixel_values"].shape[1:]) for each in made}
        if unknown or len(shapes) > 1 or len(min(shapes)) != (2 if self.patches else 3):
            also = f"gives {', '.join(sorted(made[0]))} of shapes {sorted(shapes)}"
            raise CounterGroundError(
                f"{source.spec}: its image processor {name} {also}, which cannot be used here. Set a fixed "
                "size with a crop in its preprocessor_config.json."
            )

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return ``[3, h, w]`` float32, or ``[patches, width + 3]`` for a model that takes patches."""
        import torch

        made = self.processor(image, return_tensors="pt")
        pixels: torch.Tensor = made["pixel_values"][0].float()
        if not self.patches:
            return pixels
        mask = made["pixel_attention_mask"][0].float()[:, None]
        shape = made["spatial_shapes"][0].float().expand(len(pixels), 2)
        return torch.cat([pixels, mask, shape], dim=1)

    def inputs(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the network's inputs, by name, for a batch of outputs of `__call__` (or of zeros)."""
        import torch

        if not self.patches:
            return {"pixel_values": batch}
        # Zeros stand in for photos that cannot be read and fill the last block; they too need a grid.
        shapes = batch[:, 0, -2:].long().clamp(min=1)
        mask = batch[..., -3].to(torch.int32)
        return {"pixel_values": batch[..., :-3], "pixel_attention_mask": mask, "spatial_shapes": shapes}

    def __repr__(self) -> str:
        return json.dumps(self.settings, sort_keys=True)


def plain_settings(processor: Any) -> dict[str, Any]:
    """Return the settings of an image processor as JSON types, without the place they were read from."""
    settings = {key: value for key, value in processor.to_dict().items() if not key.startswith("_")}
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain
