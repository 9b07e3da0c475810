"""``module:function``: a model of the user's own."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.models._base import Classifier, DualEncoder, Generative, Model, Precision, Protocol
from counterground.models._code import SourceIdentity, source_identity
from counterground.models._device import autocast
from counterground.models._fingerprint import combine, library_versions, plain_repr, tensor_digests
from counterground.models._texts import TextEncoder
from counterground.models.classifiers._classifier import NetworkClassifier, final_linear, no_published_way

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    import numpy as np
    import torch
    from PIL import Image


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


_PROTOCOL = (
    "return a DualEncoder, Classifier or Generative, (network, preprocess), "
    "(network, preprocess, class_names) or (clip, preprocess, tokenizer)"
)


def load_user(spec: str, *, device: str, precision: Precision, as_published: bool) -> Model:
    """Call the user's function, without arguments, and wrap what it returns.

    The function may return

    - a `DualEncoder`, a `Classifier` or a `Generative`, used as it is;
    - ``(network, preprocess)`` or ``(network, preprocess, class_names)``: a classifier. ``network`` is a
      torch.nn.Module from ``[n, 3, h, w]`` to logits, ``preprocess`` turns an RGB PIL image into
      ``[3, h, w]``, ``class_names`` names the logits; without names there must be 1000 logits, taken to be
      ImageNet-1K in its usual order;
    - ``(clip, preprocess, tokenizer)``: a dual encoder. ``clip`` is a torch.nn.Module with
      ``encode_image(batch)``, ``encode_text(tokens)`` and, if it has one, ``logit_scale`` (a logarithm, as in
      OpenCLIP); ``tokenizer`` turns a list of texts into a tensor.

    The source files of the module and of what is returned enter the fingerprint; where one cannot be found,
    the fingerprint holds for this process only and the description warns. The fingerprint of a model that is
    used as it is is its author's; a `Generative` may leave it and all the rest to `take_ready`.

    Raises:
        UsageError: no such module or function, or it returns something else.
        CounterGroundError: the function itself fails or ends the program.
    """
    function = find_function(spec)
    made = _call(spec, function)
    if isinstance(made, DualEncoder | Classifier | Generative):
        find_source = partial(_sources, spec, function, made, weights=True)
        asked: dict[str, Any] = {"device": device, "precision": precision, "as_published": as_published}
        return take_ready(spec, made, find_source, **asked)
    if not isinstance(made, tuple) or len(made) not in (2, 3) or not callable(made[1]):
        raise UsageError(f"{spec} returned {type(made).__name__}; it must {_PROTOCOL}.")
    network = _check_network(spec, made[0])
    third = made[2] if len(made) == 3 else None
    options: dict[str, Any] = {"device": device, "precision": precision, "as_published": as_published}
    if callable(third):
        return _dual_encoder(spec, function, network, made[1], third, **options)
    return _classifier(spec, function, network, made[1], third, **options)


def _dual_encoder(
    spec: str, function: Callable[[], Any], network: Any, preprocess: Any, tokenizer: Any, **options: Any
) -> DualEncoder:
    for method in ("encode_image", "encode_text"):
        if not callable(getattr(network, method, None)):
            raise UsageError(f"{spec}: a dual encoder needs {method}(); the function must {_PROTOCOL}.")
    sources = (
        _sources(spec, function, network, preprocess, tokenizer),
        _sources(spec, function, network, tokenizer),
    )
    return UserDualEncoder(spec, network, preprocess, tokenizer, sources=sources, **options)


def _classifier(
    spec: str, function: Callable[[], Any], network: Any, preprocess: Any, named: Any, **options: Any
) -> Classifier:
    names, columns, warnings = _classes(spec, network, named)
    source = _sources(spec, function, network, preprocess)
    return NetworkClassifier(
        spec,
        network,
        preprocess,
        class_names=names,
        imagenet_columns=columns,
        description={
            "architecture": type(network).__name__,
            "weights": spec,
            "training_data": None,
            "warnings": [*warnings, *source.warnings, *no_published_way(options["as_published"])],
        },
        configuration={
            "library": "user",
            "class": type(network).__qualname__,
            "network": plain_repr(network),
            "source": source.parts,
        },
        libraries=("torchvision", "timm"),
        **options,
    )


class UserDualEncoder(DualEncoder):
    """The user's own image and text towers, made to give float32 embeddings of unit length.

    ``sources`` are those of the whole model and those of its text side.
    """

    def __init__(
        self,
        spec: str,
        network: Any,
        preprocess: Callable[[Image.Image], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        *,
        sources: tuple[SourceIdentity, SourceIdentity],
        device: str,
        precision: Precision,
        as_published: bool,
    ) -> None:
        import torch

        self.spec, self.device, self.dtype = spec, device, precision
        self._preprocess = preprocess
        self._network = network.eval().requires_grad_(requires_grad=False).to(device)
        scale = getattr(network, "logit_scale", None)
        self.logit_scale = float(torch.as_tensor(scale).exp().reshape(-1)[0]) if scale is not None else 100.0
        libraries = library_versions("open_clip_torch", "transformers")
        whole, text = sources
        configuration = {
            "class": type(network).__qualname__,
            "network": plain_repr(network),
            "libraries": libraries,
            "weights": tensor_digests(network.state_dict()),
        }
        preprocessing = plain_repr(preprocess)
        self.fingerprint = combine(
            preprocessing=preprocessing, dtype=precision, source=whole.parts, **configuration
        )
        self.text_fingerprint = combine(tokenizer=plain_repr(tokenizer), source=text.parts, **configuration)
        self.description = {
            "architecture": type(network).__name__,
            "weights": spec,
            "training_data": None,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "preprocessing": preprocessing,
            "libraries": libraries,
            "as_published": as_published,
            "warnings": [
                *([] if scale is not None else ["The model has no logit_scale; 100 is assumed."]),
                *whole.warnings,
                *no_published_way(as_published),
            ],
        }
        self._encode_texts = TextEncoder(_Towers(network), tokenizer, device, trim=False, warn=_ignore)
        self.dim = int(self.encode_texts(["a photo"]).shape[1])

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        return self._preprocess(image if image.mode == "RGB" else image.convert("RGB"))

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            with autocast(self.device, self.dtype):
                features = self._network.encode_image(batch.to(self.device))
            return torch.nn.functional.normalize(features.float(), dim=-1).cpu()

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode_texts(texts)


class _Towers:
    """Accepts OpenCLIP's ``normalize`` argument for a network that may not know it."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def encode_text(self, tokens: torch.Tensor, normalize: bool = False) -> torch.Tensor:  # noqa: ARG002
        return self._network.encode_text(tokens)  # type: ignore[no-any-return]


def find_function(spec: str) -> Callable[[], Any]:
    """Import the module of ``module:function`` and return the function, without calling it.

    Raises:
        UsageError: no such module or function.
        CounterGroundError: importing the module fails or ends the program.
    """
    module_name, _, path = spec.partition(":")
    module = _import(spec, module_name)
    function: Any = module
    for part in path.split("."):
        if not hasattr(function, part):
            raise UsageError(f"{spec}: {module_name} has no {path!r}.{did_you_mean(path, dir(module))}")
        function = getattr(function, part)
    if not callable(function):
        raise UsageError(f"{spec}: {path!r} is not a function; it must {_PROTOCOL}.")
    return function  # type: ignore[no-any-return]


def _import(spec: str, module_name: str) -> ModuleType:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise UsageError(
                f"{spec}: there is no module {error.name!r} here or among the installed packages."
            ) from error
        raise CounterGroundError(f"{spec}: importing {module_name} failed: {error}.") from error
    except SystemExit as error:
        raise CounterGroundError(
            f"{spec}: importing {module_name} ended the program ({error!r}); put what a script does under "
            "if __name__ == '__main__'."
        ) from error
    except Exception as error:
        raise CounterGroundError(f"{spec}: importing {module_name} failed: {error!r}.") from error
    finally:
        if added:
            sys.path.remove(here)


def _call(spec: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except CounterGroundError:
        raise
    except SystemExit as error:
        raise CounterGroundError(
            f"{spec} ended the program ({error!r}) instead of returning a model; use --debug to see where."
        ) from error
    except Exception as error:
        raise CounterGroundError(f"{spec} failed: {error!r}. Use --debug to see where.") from error


def _sources(spec: str, function: Callable[[], Any], *objects: Any, weights: bool = False) -> SourceIdentity:
    return source_identity(sys.modules[spec.partition(":")[0]], function, *objects, weights=weights)


def _check_network(spec: str, network: Any) -> torch.nn.Module:
    import torch

    if not isinstance(network, torch.nn.Module):
        raise UsageError(
            f"{spec}: the first of what it returns is {type(network).__name__}, not a torch.nn.Module."
        )
    return network


def _classes(
    spec: str, network: torch.nn.Module, named: Any
) -> tuple[tuple[str, ...], tuple[int | None, ...], list[str]]:
    from counterground.photos import find_imagenet_index, imagenet_names

    if named is None:
        if final_linear(network, 1000) is None:
            raise UsageError(f"{spec}: without class_names the network must end in 1000 ImageNet logits.")
        warning = "No class names were given: the 1000 logits are taken to be ImageNet-1K in its usual order."
        return imagenet_names("openai"), tuple(range(1000)), [warning]
    names = tuple(named)
    columns: list[int | None] = []
    for name in names:
        try:
            columns.append(find_imagenet_index(name))
        except UsageError:
            columns.append(None)
    unknown = columns.count(None)
    warning = (
        f"{unknown} of {len(names)} class names are not ImageNet-1K classes and take part without an index."
    )
    return names, tuple(columns), [warning] if unknown else []


def _ignore(message: str) -> None:
    del message
