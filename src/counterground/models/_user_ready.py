"""``module:function`` that returns a ready model: what its author left out is filled in, or told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, get_args

from counterground.errors import UsageError
from counterground.models._base import Classifier, DualEncoder, Generative, Model, Precision, Protocol
from counterground.models._fingerprint import combine

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from counterground.models._source import SourceIdentity

_NEED_LOSSES: frozenset[Protocol] = frozenset({"answer-loss", "describe"})
_NEEDED = ("fingerprint", "device", "dtype")
_NEEDED_BY_ENCODERS: dict[type[Model], tuple[str, ...]] = {
    DualEncoder: ("dim", "logit_scale", "text_fingerprint"),
    Classifier: ("dim", "class_names", "imagenet_columns"),
}


def take_ready(
    spec: str,
    made: Model,
    find_source: Callable[[], SourceIdentity],
    *,
    device: str,
    precision: Precision,
    as_published: bool,
) -> Model:
    """Take a ready model as it is, and say where it is not what was asked for.

    A `Generative` needs ``generate`` and nothing else: protocols follow from whether it has ``losses``, the
    fingerprint from its code, settings and weights (``find_source``), device and precision from its weights.

    Raises:
        UsageError: it lacks what nobody else can know, or holds what cannot be.
    """
    made.spec = spec
    seen = hasattr(made, "device") or _first_weights(made) is not None
    if isinstance(made, Generative):
        _complete(made, find_source)
    else:
        _check_encoder(made)
    description = dict(made.description) if hasattr(made, "description") else {}
    published = bool(description.get("as_published", False))
    warnings = list(description.get("warnings", []))
    for what, is_so, asked in (("device", made.device, device), ("precision", made.dtype, precision)):
        if seen and is_so.removesuffix(":0") != asked.removesuffix(":0"):
            warnings.append(f"{spec} returned a ready model, whose {what} is {is_so}, not {asked} as asked.")
    if published != as_published:
        say = "was loaded as published, which was not asked" if published else "was not loaded as published"
        warnings.append(f"{spec} returned a ready model, which {say}.")
    made.description = {**description, "as_published": published, "warnings": list(dict.fromkeys(warnings))}
    _check_json(made)
    return made


def _check_encoder(made: Model) -> None:
    kind = next(kind for kind in _NEEDED_BY_ENCODERS if isinstance(made, kind))
    missing = [name for name in (*_NEEDED, *_NEEDED_BY_ENCODERS[kind]) if not hasattr(made, name)]
    if missing:
        raise UsageError(
            f"{made.spec} returned a {kind.__name__} without {', '.join(missing)}; its class must set "
            f"{'it' if len(missing) == 1 else 'them'}."
        )


def _complete(made: Generative, find_source: Callable[[], SourceIdentity]) -> None:
    """Fill in what the author of a model that answers in words left out."""
    weights = _first_weights(made)
    made.protocols = _protocols(made)
    _check_calls(made)
    given = getattr(made, "description", {})
    if not isinstance(given, dict):
        raise UsageError(f"{made.spec}: description must be a dict, not {type(given).__name__}.")
    warnings = list(given.get("warnings", []))
    name = f"{type(made).__module__}.{type(made).__qualname__}"
    if not hasattr(made, "fingerprint"):
        source = find_source()
        made.fingerprint = combine(model=name, source=source.parts)
        warnings += source.warnings
    elif not isinstance(made.fingerprint, str) or not made.fingerprint:
        raise UsageError(f"{made.spec}: fingerprint must be a text, not {made.fingerprint!r}.")
    elif not name.startswith("counterground."):
        made.fingerprint = combine(model=name, fingerprint=made.fingerprint)  # two models may say "1"
    if not hasattr(made, "device"):
        made.device = "cpu" if weights is None else weights.device.type
    if not hasattr(made, "dtype"):
        made.dtype = "fp32" if weights is None else _precision(weights)
    known = {"architecture": type(made).__name__, "weights": made.spec, "training_data": None}
    made.description = {"chat_template": "the author's own", **known, **given, "warnings": warnings}


def _protocols(made: Generative) -> frozenset[Protocol]:
    scores = type(made).losses is not Generative.losses
    known: frozenset[Protocol] = frozenset(get_args(Protocol))
    asked = getattr(made, "protocols", known if scores else known - _NEED_LOSSES)
    try:
        protocols = frozenset(asked)
    except TypeError:
        protocols = frozenset()
    if isinstance(asked, str) or not protocols or protocols - known:
        raise UsageError(
            f"{made.spec}: protocols is {asked!r}; it must be a set of {', '.join(get_args(Protocol))}."
        )
    if protocols & _NEED_LOSSES and not scores:
        raise UsageError(
            f"{made.spec} has no losses(), which answer-loss and describe need; leave them out of protocols."
        )
    return protocols


def _check_calls(made: Generative) -> None:
    if type(made.concurrency) is not int or made.concurrency < 1:
        raise UsageError(f"{made.spec}: concurrency must be a whole number from 1, not {made.concurrency!r}.")
    if made.price is not None and (type(made.price) not in (int, float) or not 0 <= made.price < 1e6):
        raise UsageError(f"{made.spec}: price must be the cost of one call, or None, not {made.price!r}.")


def _check_json(made: Model) -> None:
    """The description goes into run.json when all work is done: too late to find that it cannot."""
    try:
        json.dumps(made.description)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{made.spec}: its description cannot be written as JSON: {error}.") from error


def _first_weights(made: Model) -> torch.Tensor | None:
    import torch

    held = [made, *getattr(made, "__dict__", {}).values()]
    networks = [each for each in held if isinstance(each, torch.nn.Module)]
    return next((weights for network in networks for weights in network.parameters()), None)


def _precision(weights: torch.Tensor) -> Precision:
    return {"bfloat16": "bf16", "float16": "fp16"}.get(str(weights.dtype).rpartition(".")[2], "fp32")  # type: ignore[return-value]
