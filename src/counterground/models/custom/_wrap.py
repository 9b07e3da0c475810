"""What a user's own code makes, wrapped as a model: its fingerprint, its description and its errors."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, get_args

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
from counterground.models._fingerprint import combine, plain_repr
from counterground.models._labels import Labels, imagenet_order, match_list, names_of
from counterground.models._probe import probed
from counterground.models._specs import HeadSpec
from counterground.models.classifiers import NetworkClassifier, NetworkTower, final_linear
from counterground.models.execution import out_of_memory, own_layers
from counterground.models.networks import NetworkEncoder, TextEncoder, TorchDualEncoder
from counterground.settings import Precision, Protocol

if TYPE_CHECKING:
    import torch


ACCEPTED = (
    "return a DualEncoder, Classifier, ImageEncoder or Generative, (network, preprocess), "
    "(network, preprocess, class_names), (network, preprocess, HeadSpec) or (clip, preprocess, tokenizer)"
)
_NEEDED = ("fingerprint", "device", "dtype")
_NEEDED_BY_ENCODERS: dict[type[Model], tuple[str, ...]] = {
    DualEncoder: ("dim", "logit_scale"),
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

    The fingerprint holds the weights and what the model gives for a fixed probe (see `probed`); a model that
    is used as it is keeps its author's. A `Generative` needs only ``generate``: its protocols follow from
    whether it has ``losses``, its device and precision from its weights. Its answers are kept only if it
    states a ``fingerprint``.

    Raises:
        UsageError: it is none of these, lacks what cannot be derived, or holds impossible values.
    """
    if isinstance(made, Encoder | Generative):
        # A function may return the same object each time, and it is changed here.
        return _ready(spec, copy.copy(made), options)
    if not isinstance(made, tuple) or len(made) not in (2, 3) or not callable(made[1]):
        raise UsageError(f"{spec} returned {type(made).__name__}; it must {ACCEPTED}.")
    network, preprocess, third = (*made, None)[:3]
    network = _own(spec, network, options.device)
    facts: dict[str, Any] = {
        "options": options,
        "description": {"architecture": type(network).__name__, "weights": spec, "training_data": None},
        "configuration": {"class": type(network).__qualname__, "network": plain_repr(network)},
        "libraries": ("open_clip_torch", "timm", "torchvision", "transformers"),
    }
    model: NetworkEncoder
    if isinstance(third, HeadSpec) or (features and third is None):
        model = NetworkTower(spec, network, preprocess, **facts)
        model.head = third
    elif callable(third):
        model = _dual_encoder(spec, network, preprocess, third, facts)
    else:
        labels = _labels(spec, network, third)
        facts["description"] |= {"warnings": labels.warnings}
        facts |= {"class_names": labels.names, "imagenet_columns": labels.columns}
        model = NetworkClassifier(spec, network, preprocess, **facts)
    model.fingerprint = probed(model)
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
    spec: str, network: Any, preprocess: Any, tokenizer: Any, facts: dict[str, Any]
) -> TorchDualEncoder:
    """Return the user's own image and text towers, made to give float32 embeddings of unit length."""
    for method in ("encode_image", "encode_text"):
        if not callable(getattr(network, method, None)):
            raise UsageError(f"{spec}: a dual encoder needs {method}(); the function must {ACCEPTED}.")
    scale = getattr(network, "logit_scale", None)
    if scale is None:
        facts["description"] |= {"warnings": ["The model has no logit_scale; 100 is assumed."]}
    try:
        return TorchDualEncoder(
            spec,
            network,
            lambda clip, batch: clip.encode_image(batch),
            preprocess,
            TextEncoder(network, tokenizer, facts["options"].device),
            scale=100.0 if scale is None else _scale(spec, scale),
            tokenizer=plain_repr(tokenizer),
            **facts,
        )
    except CounterGroundError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise CounterGroundError(
            f"{spec}: encoding a text failed: {error_summary(error)}. The tokenizer must turn n "
            "texts into a tensor [n, context], and encode_text() that into a tensor [n, d]."
        ) from error


def _scale(spec: str, logarithm: Any) -> float:
    """Return the factor on similarities that a network holds as a logarithm."""
    import torch

    try:
        return float(torch.as_tensor(logarithm).detach().exp().reshape(-1)[0])
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise UsageError(
            f"{spec}: logit_scale must be the logarithm of a factor, not {type(logarithm).__name__}."
        ) from error


def _own(spec: str, network: Any, device: str) -> torch.nn.Module:
    """Return layers of our own, so that the user's keep their mode, their device and their ``forward``.

    Weights are shared if they are on the device already.
    """
    import torch

    if not isinstance(network, torch.nn.Module):
        raise UsageError(
            f"{spec}: the first of what it returns is {type(network).__name__}, not a torch.nn.Module."
        )
    moved = False
    for name, tensor in chain(network.named_parameters(), network.named_buffers()):
        if torch.nn.parameter.is_lazy(tensor) or tensor.is_meta:
            raise UsageError(f"{spec}: {name} has no numbers yet: load the weights, or run the network once.")
        moved |= tensor.device.type != device.partition(":")[0]
    try:
        return copy.deepcopy(network) if moved else own_layers(network)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise UsageError(
            f"{spec}: the network cannot be copied ({error_summary(error)}): copy.deepcopy must work."
        ) from error


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
