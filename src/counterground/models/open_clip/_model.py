"""OpenCLIP dual encoders: pretrained tags, a local folder, or an architecture with a weights file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_message
from counterground.models._base import Family, LoadOptions, Model, known_models, known_training_data
from counterground.models._execution import out_of_memory
from counterground.models._fingerprint import tokenizer_identity
from counterground.models._networks import TorchDualEncoder
from counterground.models._weights import (
    check_cached,
    fetching,
    refuse_other_files,
    refusing_code,
    resampled,
)
from counterground.models.open_clip._source import (
    CONFIG_NAME,
    OpenClipSource,
    activation_name,
    base_name,
    fetch_repository,
    find_open_clip,
    folder_configuration,
    folder_weights,
    resolve_activation,
)
from counterground.models.open_clip._texts import OpenClipTextEncoder

_REMEDY = (
    "Connect to the network, put the file into the Hugging Face cache (HF_HOME), or give the weights "
    "yourself: open_clip:DIR or open_clip:NAME@FILE."
)
_TEXT_REMEDY = "Connect to the network, or put its files into the Hugging Face cache (HF_HOME)."
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


class OpenClipEncoder(TorchDualEncoder):
    """An OpenCLIP model with its own preprocessing and tokenizer.

    Args:
        spec: the specification as written.
        model: an OpenCLIP model holding its weights.
        tokenizer: list of texts -> tokens.
        configuration: what the model was built from, JSON-ready; enters the fingerprint.
        description: what is known of the weights; completed here.
        options: load options.
        as_published: keep the library's order, resizing before conversion to RGB.

    Raises:
        CounterGroundError: the logit scale of the weights is not a positive number.
    """

    def __init__(
        self,
        spec: str,
        model: Any,
        tokenizer: Any,
        *,
        configuration: dict[str, Any],
        description: dict[str, Any],
        options: LoadOptions,
        as_published: bool,
    ) -> None:
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self.convert_rgb_first = not as_published
        settings = dict(model.visual.preprocess_cfg)
        transform = image_transform_v2(PreprocessCfg(**settings), is_train=False)
        super().__init__(
            spec,
            model,
            lambda network, batch: network.encode_image(batch, normalize=False),
            transform,
            OpenClipTextEncoder(model, tokenizer, options.device),
            scale=float(model.logit_scale.detach().float().exp().reshape(-1)[0]),
            options=options,
            description=description,
            libraries=("open_clip_torch", "timm", "torchvision", "transformers"),
            preprocessing={
                "settings": settings,
                "transform": repr(transform),
                "convert_rgb_first": self.convert_rgb_first,
            },
            configuration=configuration,
            tokenizer=tokenizer_identity(tokenizer),
        )


def load_open_clip(spec: str, options: LoadOptions) -> OpenClipEncoder:
    """Load ``open_clip:ARCH/TAG``, ``hf-hub:OWNER/NAME``, ``DIR`` or ``NAME@FILE``; also ``?as_published``.

    Raises:
        UsageError: unknown name, tag, folder or file.
        CounterGroundError: weights cannot be fetched or do not fit.
    """
    source = find_open_clip(spec)
    if source.repository:
        with fetching(spec, offline=options.offline, remedy=_REMEDY, hub=True):
            folder = fetch_repository(source.repository)
        return load_folder(
            spec,
            folder,
            options,
            as_published=source.as_published,
            architecture=source.repository.partition("@")[0],
            revision=folder.name,
        )
    if source.folder is not None:
        return load_folder(spec, source.folder, options, as_published=source.as_published)
    if source.file is not None:
        return _load_file(spec, source, source.file, options)
    return _load_tag(spec, source, options)


def load_folder(
    spec: str,
    folder: Path,
    options: LoadOptions,
    *,
    training_data: str | None = None,
    as_published: bool = False,
    architecture: str = "",
    revision: str = "",
) -> OpenClipEncoder:
    """Load a folder that holds ``open_clip_config.json`` and weights (.safetensors preferred).

    Raises:
        UsageError: no configuration or no weights in it, or several weights files and none with a known name.
        CounterGroundError: OpenCLIP cannot build the configuration, or the weights do not fit it.
    """
    configuration = folder_configuration(spec, folder)
    weights = folder_weights(spec, folder)
    name = f"local-dir:{folder}"
    model_cfg = configuration["model_cfg"]
    with _configured_by(spec, folder / CONFIG_NAME):
        model = _build(spec, name, model_cfg, None, weights, offline=options.offline)
        return OpenClipEncoder(
            spec,
            model,
            _tokenizer(spec, name, model_cfg, offline=options.offline),
            configuration=configuration,
            description={
                "architecture": architecture or model_cfg.get("architecture", folder.resolve().name),
                "weights": f"{architecture}@{revision}" if architecture else weights.name,
                "activation": activation_name(bool(model_cfg.get("quick_gelu", False))),
                "activation_source": CONFIG_NAME,
                "training_data": training_data,
                "warnings": resampled(weights, _held_shapes(weights), model.state_dict()),
            },
            options=options,
            as_published=as_published,
        )


@contextmanager
def _configured_by(spec: str, path: Path) -> Iterator[None]:
    """Turn whatever OpenCLIP raises on an impossible configuration into one line."""
    try:
        yield
    except CounterGroundError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        reason = f"{type(error).__name__}: {error_message(error)}"
        raise CounterGroundError(
            f"{spec}: OpenCLIP cannot build what {path} describes ({reason})."
        ) from error


def _load_tag(spec: str, source: OpenClipSource, options: LoadOptions) -> OpenClipEncoder:
    import open_clip
    from open_clip.pretrained import download_pretrained

    activation = resolve_activation(source.name, source.tag, as_published=source.as_published)
    weights_cfg = open_clip.get_pretrained_cfg(activation.name, activation.tag)
    hub = bool(weights_cfg.get("hf_hub"))
    with fetching(spec, offline=options.offline, remedy=_REMEDY, hub=hub):
        if options.offline and not hub:
            check_cached(weights_cfg["url"], spec, Path("~/.cache/clip").expanduser())
        path = Path(download_pretrained(weights_cfg))
    quick_gelu = activation.quick_gelu
    model_cfg = open_clip.get_model_config(activation.name)
    return OpenClipEncoder(
        spec,
        _build(
            spec,
            activation.name,
            model_cfg,
            quick_gelu,
            path,
            preprocess=_tag_preprocessing(weights_cfg),
            offline=options.offline,
        ),
        _tokenizer(spec, activation.name, model_cfg, offline=options.offline),
        configuration={"model_cfg": model_cfg | {"quick_gelu": quick_gelu}},
        description={
            "architecture": activation.name,
            "weights": activation.tag,
            "activation": activation_name(quick_gelu),
            "activation_source": "OpenCLIP's table of pretrained weights",
            "trained_activation": activation_name(activation.trained_quick_gelu),
            "training_data": known_training_data(f"open_clip:{activation.name}/{activation.tag}"),
            "warnings": activation.warnings,
        },
        options=options,
        as_published=source.as_published,
    )


def _load_file(spec: str, source: OpenClipSource, path: Path, options: LoadOptions) -> OpenClipEncoder:
    import open_clip

    name = source.name
    model_cfg = open_clip.get_model_config(name)
    quick_gelu = bool(model_cfg.get("quick_gelu", False))
    other = base_name(name) if quick_gelu else f"{name}-quickgelu"
    warning = (
        f"{path.name} carries no tag, so the name {name!r} alone decides the activation: "
        f"{activation_name(quick_gelu)}."
    )
    if other in open_clip.list_models():
        warning += f" If the weights were trained with {activation_name(not quick_gelu)}, write {other!r}."
    preprocess, differing = _published_preprocessing(name)
    model = _build(spec, name, model_cfg, quick_gelu, path, preprocess=preprocess, offline=options.offline)
    return OpenClipEncoder(
        spec,
        model,
        _tokenizer(spec, name, model_cfg, offline=options.offline),
        configuration={"model_cfg": model_cfg},
        description={
            "architecture": name,
            "weights": path.name,
            "activation": activation_name(quick_gelu),
            "activation_source": "the name the user wrote",
            "training_data": None,
            "warnings": [warning, *differing, *resampled(path, _held_shapes(path), model.state_dict())],
        },
        options=options,
        as_published=source.as_published,
    )


def _build(
    spec: str,
    name: str,
    model_cfg: dict[str, Any],
    quick_gelu: bool | None,
    weights: Path,
    *,
    offline: bool,
    preprocess: dict[str, Any] | None = None,
) -> Any:
    """Build an architecture in float32 on the CPU and load ``weights`` into it, strictly."""
    import open_clip

    forced = {} if quick_gelu is None else {"quick_gelu": quick_gelu}
    fetched: AbstractContextManager[None] = nullcontext()
    if "hf_model_name" in model_cfg.get("text_cfg", {}):
        # Weights come from the file below; a text tower from Hugging Face still reads its configuration.
        what = "the configuration of the text tower"
        fetched = fetching(spec, offline=offline, remedy=_TEXT_REMEDY, what=what)
    with fetched:
        model = _create(name, forced, preprocess)
    with refusing_code(weights, spec):
        refuse_other_files(weights)
        open_clip.load_checkpoint(model, str(weights), strict=True, weights_only=True)
    return model


def _tag_preprocessing(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an entry of OpenCLIP's table of weights says about preprocessing."""
    return {key: weights[key] for key in _PREPROCESSING if weights.get(key) is not None}


def _published_preprocessing(name: str) -> tuple[dict[str, Any], list[str]]:
    """Return the preprocessing of most published weights of an architecture, and a warning if others differ.

    OpenCLIP itself prepares photos for a file as for OpenAI's CLIP, whatever the architecture: SigLIP, CLIPA,
    MobileCLIP and PE were trained with another mean, another filter or squashed photos. The result is empty,
    which is OpenCLIP's default, if no weights are published.
    """
    import open_clip

    plain = name if open_clip.list_pretrained_tags_by_model(name) else base_name(name)
    by_settings: dict[tuple[Any, ...], list[str]] = {}
    for tag in open_clip.list_pretrained_tags_by_model(plain):
        found = _tag_preprocessing(open_clip.get_pretrained_cfg(plain, tag))
        by_settings.setdefault(tuple(found.items()), []).append(tag)
    if not by_settings:
        return {}, []
    used = max(by_settings, key=lambda settings: len(by_settings[settings]))
    others = [tag for settings, tags in by_settings.items() if settings != used for tag in tags]
    if not others:
        return dict(used), []
    like = ", ".join(by_settings[used])
    warning = (
        f"The published weights of {plain} differ in preprocessing: that of {like} is used, not that of "
        f"{', '.join(others)}. To use another one, put the file into a folder with an open_clip_config.json "
        "that has it as preprocess_cfg, and write open_clip:DIR."
    )
    return dict(used), [warning]


def _held_shapes(weights: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a file, by OpenCLIP's name; nothing for weights of JAX."""
    import open_clip
    from safetensors import safe_open

    if weights.suffix == ".safetensors":
        with safe_open(weights, "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if weights.suffix in {".npz", ".npy"}:
        return {}
    state = open_clip.factory.load_state_dict(str(weights), device="meta", weights_only=True)
    return {name: tuple(tensor.shape) for name, tensor in state.items() if hasattr(tensor, "shape")}


def _create(name: str, forced: dict[str, Any], preprocess: dict[str, Any] | None) -> Any:
    import logging

    import open_clip
    import torch
    from torch.overrides import TorchFunctionMode

    class Unfilled(TorchFunctionMode):
        """Skip random initialisation, which takes longer than reading the weights that replace all of it."""

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function in {torch.Tensor.normal_, torch.Tensor.uniform_}:
                return args[0]
            return function(*args, **(kwargs or {}))

    disabled = logging.root.manager.disable
    # OpenCLIP logs that the model starts at random, which would alarm users: its weights are loaded next.
    logging.disable(logging.WARNING)
    try:
        with Unfilled():
            return open_clip.create_model(
                name,
                load_weights=False,
                pretrained_image=False,
                pretrained_text=False,
                force_preprocess_cfg=preprocess,
                **forced,
            )
    finally:
        logging.disable(disabled)


def _tokenizer(spec: str, name: str, model_cfg: dict[str, Any], *, offline: bool) -> Any:
    import open_clip

    text_cfg = model_cfg.get("text_cfg", {})
    # All others get OpenCLIP's own, as in its `get_tokenizer`.
    if not {"hf_tokenizer_name", "tokenizer_kwargs"} & text_cfg.keys() and "siglip" not in name.lower():
        return _own_tokenizer(text_cfg.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH))
    with fetching(spec, offline=offline, remedy=_TEXT_REMEDY, what="the tokenizer"):
        return open_clip.get_tokenizer(name)


@cache
def _own_tokenizer(context_length: int) -> Any:
    """Return OpenCLIP's own tokenizer, one for all: reading its merges takes as long as loading a model."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=context_length)


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
    usage="open_clip:ARCH/TAG",
    resolve=find_open_clip,
    load=load_open_clip,
    kind=lambda _spec: "dual_encoder",
    list=partial(known_models, "open_clip:", "open_clip"),
)
HUB = replace(OPEN_CLIP, prefix="hf-hub", usage="hf-hub:OWNER/NAME", list=tuple)
SHIPPED = Family(
    prefix="counterground",
    usage="counterground:stamps-biased",
    resolve=_shipped_folder,
    load=_load_shipped,
    kind=lambda _spec: "dual_encoder",
    list=partial(known_models, "counterground:"),
)
