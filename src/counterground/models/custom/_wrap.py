"""What a user's own code makes, wrapped as a model: its fingerprint, its description and its errors."""

from __future__ import annotations

import copy
import json
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.models._base import (
    NEED_LOSSES,
    Classifier,
    DualEncoder,
    Encoder,
    Generative,
    ImageEncoder,
    Model,
)
from counterground.models._family import LoadOptions
from counterground.models._fingerprint import combine, library_versions, plain_repr, tensor_digests
from counterground.models._labels import Labels, imagenet_order, match_list, names_of
from counterground.models.classifiers import NetworkClassifier, NetworkTower, final_linear
from counterground.models.execution import (
    for_inference,
    out_of_memory,
    own_arithmetic,
    split_transform,
)
from counterground.models.networks import (
    NetworkEncoder,
    TextEncoder,
    TorchDualEncoder,
    checked_scale,
    image_tower,
)
from counterground.models.specs import HeadSpec
from counterground.settings import Precision, Protocol

if TYPE_CHECKING:
    import torch


_SIZES = ((320, 240), (240, 320), (256, 256), (500, 375), (375, 500), (224, 224), (640, 256), (300, 451))
_TEXTS = ("a photo of a cat", "Two Dogs, on grass!", "zebra")
# Another number of threads changes the last of seven digits, an edit the first ones.
_DIGITS = 4


def probe(model: Encoder) -> str:
    """Return a digest of what a model gives for the probe; unique if the probe does not suit it.

    Features are stored under it: they are believed only where code gives the same as when they were made.
    """
    try:
        with own_arithmetic(model.device):
            photos = [model.encode(model.preprocess(photo)[None])[0].numpy() for photo in _photos()]
            texts = (
                [model.encode_texts([text])[0] for text in _TEXTS] if isinstance(model, DualEncoder) else []
            )
        return combine(photos=_rounded(photos), texts=_rounded(texts))
    except (
        Exception,
        SystemExit,
    ):  # whatever the user's code raises: it is tried on a photo before anything else
        return uuid.uuid4().hex


def _photos() -> Iterator[Image.Image]:
    for number, (width, height) in enumerate(_SIZES):
        x, y, colour = np.ogrid[:width, :height, :3]
        waves = np.sin(x / (9 + number) + colour) * np.cos(y / (5 + number)) * 90
        pixels = waves + (x * (number + 2) + y * (colour + 3)) ** 2 % 75 + 90
        yield Image.fromarray(pixels.transpose(1, 0, 2).astype(np.uint8))


def _rounded(vectors: Sequence[np.ndarray]) -> list[float]:
    """Return the part of each vector in a fixed direction, to some digits of the largest part."""
    parts = [float(vector.astype(np.float64) @ np.cos(np.arange(len(vector)))) for vector in vectors]
    largest = max(map(abs, parts), default=0.0) or 1.0
    digits = _DIGITS - 1 - math.floor(math.log10(largest))
    return [round(part, digits) for part in parts]


ACCEPTED = (
    "return a DualEncoder, Classifier, ImageEncoder or Generative, (network, preprocess), "
    "(network, preprocess, class_names), (network, preprocess, HeadSpec) or (clip, preprocess, tokenizer)"
)
_NEEDED = ("fingerprint", "device", "dtype")
_NEEDED_BY_ENCODERS: dict[type[Model], tuple[str, ...]] = {
    DualEncoder: ("dim", "logit_scale", "text_fingerprint"),
    Classifier: ("dim", "class_names", "imagenet_columns"),
    ImageEncoder: ("dim",),
}


def wrap_model(
    spec: str,
    made: Any,
    options: LoadOptions,
    *,
    features: bool = False,
) -> Model:
    """Return a user's object, or what a function of theirs or of another package made, as a model.

    ``made`` is one of

    - a `DualEncoder`, a `Classifier`, an `ImageEncoder` or a `Generative`, used as it is;
    - ``(network, preprocess)`` or ``(network, preprocess, class_names)``: a classifier. ``network`` is a
      torch.nn.Module from ``[n, 3, h, w]`` to logits, ``preprocess`` turns an RGB PIL image into
      ``[3, h, w]``, ``class_names`` names the logits; without names there must be 1000 logits, taken to be
      ImageNet-1K in its usual order;
    - ``(clip, preprocess, tokenizer)``: a dual encoder. ``clip`` is a torch.nn.Module with
      ``encode_image(batch)``, ``encode_text(tokens)`` and, if it has one, ``logit_scale`` (a logarithm, as in
      OpenCLIP); ``tokenizer`` turns a list of texts into a tensor;
    - ``(network, preprocess, HeadSpec)``, or ``(network, preprocess)`` if ``features`` is set: an image
      encoder, on whose outputs ``[n, d]`` a head is fitted.

    The fingerprint holds the weights and what the model gives for a fixed `probe`; a model that is used as it
    is keeps its author's. A `Generative` needs only ``generate``: its protocols follow from whether it has
    ``losses``, its device and precision from its weights. Its answers are kept only if it states a
    ``fingerprint``.

    Raises:
        UsageError: it is none of these, lacks what cannot be derived, or holds impossible values.
    """
    if isinstance(made, Encoder | Generative):
        # A function may return the same object each time, and it is changed here.
        return _ready(spec, copy.copy(made), options)
    if not isinstance(made, tuple) or len(made) not in (2, 3) or not callable(made[1]):
        raise UsageError(f"{spec} returned {type(made).__name__}; it must {ACCEPTED}.")
    network, preprocess, third = (*made, None)[:3]
    _check_network(spec, network)
    model: NetworkEncoder
    if isinstance(third, HeadSpec) or (features and third is None):
        model = _image_encoder(spec, network, preprocess, options)
        model.head = third
    elif callable(third):
        model = _dual_encoder(spec, network, preprocess, third, options)
    else:
        model = _classifier(spec, network, preprocess, third, options)
    model.fingerprint = combine(loaded=model.fingerprint, probe=probe(model))
    if isinstance(model, DualEncoder):
        model.text_fingerprint = model.fingerprint
    return model


def _names(value: Any) -> tuple[str, ...] | None:
    """Return texts in their order, None for anything else; that of a set differs in each process."""
    ordered = isinstance(value, Iterable) and not isinstance(value, str | set | frozenset)
    names = tuple(value) if ordered else (None,)
    return names if all(isinstance(name, str) for name in names) else None


def _description_of(made: Model) -> dict[str, Any]:
    """Return a copy of the author's description, without what an evaluation writes there."""
    given = dict(getattr(made, "description", {}))
    given.pop("head", None)
    return given | {"warnings": list(given.get("warnings", []))}


def _ready(spec: str, made: Model, options: LoadOptions) -> Model:
    """Use a ready model as it is, and warn if it differs from what was requested."""
    made.spec, made.description = spec, _description_of(made)
    seen = hasattr(made, "device") or _first_weights(made) is not None
    if isinstance(made, Generative):
        _complete(made)
    else:
        _check_encoder(made)
    warnings = made.description["warnings"]
    requested = (("device", made.device, options.device), ("precision", made.dtype, options.precision))
    for what, actual, wanted in requested:
        if seen and actual.removesuffix(":0") != wanted.removesuffix(":0"):
            warnings.append(f"{spec} is a ready model, whose {what} is {actual}, not {wanted} as requested.")
    _check_json(made)
    return made


def complete_model(spec: str, made: Model) -> None:
    """Check a model that another package's family loaded, and fill in what its author may leave out.

    Raises:
        UsageError: it lacks what cannot be derived, or holds impossible values.
    """
    made.spec, made.description = spec, _description_of(made)
    if isinstance(made, Generative):
        given = getattr(made, "fingerprint", None)
        _complete(made)
        made.fingerprint = given or made.fingerprint  # under which its answers are stored
    else:
        _check_encoder(made)
    _check_json(made)


def _check_encoder(made: Model) -> None:
    kind = next(kind for kind in _NEEDED_BY_ENCODERS if isinstance(made, kind))
    missing = [name for name in (*_NEEDED, *_NEEDED_BY_ENCODERS[kind]) if not hasattr(made, name)]
    if missing:
        raise UsageError(
            f"{made.spec} returned a {kind.__name__} without {', '.join(missing)}; its class must set "
            f"{'it' if len(missing) == 1 else 'them'}."
        )
    if isinstance(made, Classifier) and {len(made.class_names), len(made.imagenet_columns)} != {made.dim}:
        raise UsageError(
            f"{made.spec} has {len(made.class_names)} class_names and {len(made.imagenet_columns)} "
            f"imagenet_columns for {made.dim} outputs; each output needs one of both."
        )


def _complete(made: Generative) -> None:
    """Fill in what the author of a generative model left out."""
    weights = _first_weights(made)
    made.protocols = _protocols(made)
    name = f"{type(made).__module__}.{type(made).__qualname__}"
    if not hasattr(made, "fingerprint"):
        made.fingerprint = uuid.uuid4().hex
    elif made.users_class:
        made.fingerprint = combine(model=name, fingerprint=made.fingerprint)
    if not hasattr(made, "device"):
        made.device = "cpu" if weights is None else weights.device.type
    if not hasattr(made, "dtype"):
        made.dtype = "fp32" if weights is None else _precision(weights)
    known = {"architecture": type(made).__name__, "weights": made.spec, "training_data": None}
    made.description = {"chat_template": "the author's own", **known, **made.description}


def _protocols(made: Generative) -> frozenset[Protocol]:
    scores = type(made).losses is not Generative.losses
    known: frozenset[Protocol] = frozenset(get_args(Protocol))
    given = getattr(made, "protocols", known if scores else known - NEED_LOSSES)
    try:
        protocols = frozenset(given)
    except TypeError:
        protocols = frozenset()
    if isinstance(given, str) or not protocols or protocols - known:
        raise UsageError(
            f"{made.spec}: protocols is {given!r}; it must be a set of {', '.join(get_args(Protocol))}."
        )
    if protocols & NEED_LOSSES and not scores:
        raise UsageError(
            f"{made.spec} has no losses(), which {', '.join(sorted(NEED_LOSSES))} need; leave them out of "
            "protocols."
        )
    return protocols


def _check_json(made: Model) -> None:
    """Check that the description is JSON: run.json is written when all work is done, too late to find out."""
    try:
        json.dumps(made.description, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{made.spec}: its description cannot be written as JSON: {error}.") from error


def _first_weights(made: Model) -> torch.Tensor | None:
    return next((weights for network in _networks(made) for weights in network.parameters()), None)


def _networks(made: Model) -> list[torch.nn.Module]:
    import torch

    held = [made, *getattr(made, "__dict__", {}).values()]
    return [each for each in held if isinstance(each, torch.nn.Module)]


def _precision(weights: torch.Tensor) -> Precision:
    return {"bfloat16": "bf16", "float16": "fp16"}.get(str(weights.dtype).rpartition(".")[2], "fp32")  # type: ignore[return-value]


def _dual_encoder(
    spec: str, network: Any, preprocess: Any, tokenizer: Any, options: LoadOptions
) -> _WrappedDualEncoder:
    for method in ("encode_image", "encode_text"):
        if not callable(getattr(network, method, None)):
            raise UsageError(f"{spec}: a dual encoder needs {method}(); the function must {ACCEPTED}.")
    return _WrappedDualEncoder(spec, network, preprocess, tokenizer, options)


def _classifier(
    spec: str, network: Any, preprocess: Any, named: Any, options: LoadOptions
) -> NetworkClassifier:
    labels = _labels(spec, network, named)
    return NetworkClassifier(
        spec,
        network,
        preprocess,
        class_names=labels.names,
        imagenet_columns=labels.columns,
        description=_description(spec, network, *labels.warnings),
        configuration=_configuration(network),
        libraries=("torchvision", "timm"),
        options=options,
    )


def _image_encoder(spec: str, network: Any, preprocess: Any, options: LoadOptions) -> NetworkTower:
    return NetworkTower(
        spec,
        network,
        preprocess,
        description=_description(spec, network),
        configuration=_configuration(network),
        libraries=("torchvision", "timm"),
        options=options,
    )


def _description(spec: str, network: Any, *warnings: str) -> dict[str, Any]:
    return {
        "architecture": type(network).__name__,
        "weights": spec,
        "training_data": None,
        "warnings": list(warnings),
    }


def _configuration(network: Any) -> dict[str, Any]:
    return {
        "library": "user",
        "class": type(network).__qualname__,
        "network": plain_repr(network),
    }


class _WrappedDualEncoder(TorchDualEncoder):
    """The user's own image and text towers, made to give float32 embeddings of unit length."""

    def __init__(
        self,
        spec: str,
        network: Any,
        preprocess: Callable[[Image.Image], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        options: LoadOptions,
    ) -> None:
        self.spec, self.device, self.dtype = spec, options.device, options.precision
        self.transform = preprocess
        self.split = split_transform(preprocess)
        self.network = for_inference(network, options.device)
        self.image_network = image_tower(self.network, lambda clip, batch: clip.encode_image(batch))
        scale = getattr(network, "logit_scale", None)
        self.logit_scale = 100.0 if scale is None else _scale(spec, scale)
        libraries = library_versions("open_clip_torch", "transformers")
        self.weights = tensor_digests(network.state_dict())
        preprocessing = plain_repr(preprocess)
        self.fingerprint = combine(
            preprocessing=preprocessing,
            tokenizer=plain_repr(tokenizer),
            dtype=options.precision,
            libraries=libraries,
            weights=self.weights,
            **_configuration(network),
        )
        self.description = {
            "architecture": type(network).__name__,
            "weights": spec,
            "training_data": None,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "preprocessing": preprocessing,
            "libraries": libraries,
            "warnings": [] if scale is not None else ["The model has no logit_scale; 100 is assumed."],
        }
        self.texts = TextEncoder(self.network, tokenizer, options.device)
        self.dim = self._width()

    def _width(self) -> int:
        try:
            return int(self.encode_texts(["a photo"]).shape[1])
        except Exception as error:
            if out_of_memory(error):
                raise
            raise CounterGroundError(
                f"{self.spec}: encoding a text failed: {error_summary(error)}. The tokenizer must turn n "
                "texts into a tensor [n, context], and encode_text() that into a tensor [n, d]."
            ) from error


def _scale(spec: str, logarithm: Any) -> float:
    """Return the factor on similarities that a network holds as a logarithm."""
    import torch

    try:
        scale = float(torch.as_tensor(logarithm).exp().reshape(-1)[0])
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise UsageError(
            f"{spec}: logit_scale must be the logarithm of a factor, not {type(logarithm).__name__}."
        ) from error
    return checked_scale(spec, scale)


def _check_network(spec: str, network: Any) -> None:
    import torch

    if not isinstance(network, torch.nn.Module):
        raise UsageError(
            f"{spec}: the first of what it returns is {type(network).__name__}, not a torch.nn.Module."
        )
    for name, tensor in chain(network.named_parameters(), network.named_buffers()):
        if torch.nn.parameter.is_lazy(tensor) or tensor.is_meta:
            raise UsageError(f"{spec}: {name} has no numbers yet: load the weights, or run the network once.")
    state = network.state_dict()
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise UsageError(f"{spec}: its state_dict() must map names to tensors.")


def _class_names(spec: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, Mapping):
        return names_of(spec, given)
    if not (names := _names(given)):
        raise UsageError(
            f"{spec}: class_names must be a list of texts, one for each logit in order, not {given!r:.60}."
        )
    return names


def _labels(spec: str, network: torch.nn.Module, named: Any) -> Labels:
    if named is not None:
        return match_list(f"{spec}: class_names", _class_names(spec, named))
    if final_linear(network, 1000) is None:
        raise UsageError(
            f"{spec}: without class_names the network must end in 1000 ImageNet logits; return "
            "(network, preprocess, class_names)."
        )
    return imagenet_order(
        "No class names were given: the 1000 logits are taken to be ImageNet-1K in its usual order."
    )
