"""The user's own models: ``module:function``, ``file.py:function`` and objects of a Python program."""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.util
import json
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_args

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_summary, is_installed
from counterground.files import given_path, is_file
from counterground.models._base import (
    NEED_LOSSES,
    Classifier,
    DualEncoder,
    Encoder,
    Family,
    Generative,
    ImageEncoder,
    LoadOptions,
    Model,
    Tower,
)
from counterground.models._execution import out_of_memory, own_layers
from counterground.models._fingerprint import combine, plain_repr, probed
from counterground.models._labels import Labels, imagenet_order, match_list, names_of
from counterground.models._networks import (
    NetworkClassifier,
    NetworkEncoder,
    NetworkTower,
    TextEncoder,
    TorchDualEncoder,
    final_linear,
)
from counterground.models._specs import HeadSpec
from counterground.settings import Protocol

if TYPE_CHECKING:
    import torch


ACCEPTED = (
    "return a DualEncoder, Classifier, ImageEncoder or Generative, (network, preprocess), "
    "(network, preprocess, class_names), (network, preprocess, HeadSpec) or (clip, preprocess, tokenizer)"
)
_NEEDED: dict[type[Model], tuple[str, ...]] = {
    DualEncoder: ("fingerprint", "device", "dtype", "dim", "logit_scale"),
    Classifier: ("fingerprint", "device", "dtype", "dim", "class_names", "imagenet_columns"),
    ImageEncoder: ("fingerprint", "device", "dtype", "dim"),
}


def wrap_model(spec: str, made: Any, options: LoadOptions, *, features: bool = False) -> Model:
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
        UsageError: it is none of these, fails on the probe, or lacks what cannot be derived.
    """
    if isinstance(made, Encoder | Generative):
        # A function may return the same object each time, and it is changed here.
        return complete_model(spec, copy.copy(made), options)
    if not isinstance(made, tuple) or len(made) not in (2, 3) or not callable(made[1]):
        raise UsageError(f"{spec} returned {type(made).__name__}; it must {ACCEPTED}.")
    try:
        model = _wrapped(spec, (*made, None)[:3], options, features=features)
    except CounterGroundError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise UsageError(
            f"{spec} cannot be used ({error_summary(error)}): copy.deepcopy must work on the network, a "
            "tokenizer turns n texts into a tensor [n, context], encode_text() turns that into [n, d]."
        ) from error
    model.fingerprint = probed(model)
    return model


def _wrapped(spec: str, made: tuple[Any, ...], options: LoadOptions, *, features: bool) -> NetworkEncoder:
    import torch

    given, preprocess, third = made
    if not isinstance(given, torch.nn.Module):
        raise UsageError(f"{spec}: {type(given).__name__} is not a torch.nn.Module; it must {ACCEPTED}.")
    # Layers of our own, so that the user's keep their mode, their device and their ``forward``; weights are
    # shared if they are on the device already.
    kinds = {tensor.device.type for tensor in given.state_dict().values() if isinstance(tensor, torch.Tensor)}
    network = own_layers(given) if kinds <= {options.device.partition(":")[0]} else copy.deepcopy(given)
    facts: dict[str, Any] = {
        "options": options,
        "description": {"architecture": type(network).__name__, "weights": spec, "training_data": None},
        "configuration": {"class": type(network).__qualname__, "network": plain_repr(network)},
        "libraries": ("open_clip_torch", "timm", "torchvision", "transformers"),
    }
    if isinstance(third, HeadSpec) or (features and third is None):
        tower = NetworkTower(spec, network, preprocess, **facts)
        tower.head = third
        return tower
    if not callable(third):
        return NetworkClassifier(spec, network, preprocess, _labels(spec, network, third), **facts)
    for method in ("encode_image", "encode_text"):
        if not callable(getattr(network, method, None)):
            raise UsageError(f"{spec}: a dual encoder needs {method}(); the function must {ACCEPTED}.")
    logarithm = getattr(network, "logit_scale", None)
    if logarithm is None:
        facts["description"]["warnings"] = ["The model has no logit_scale; 100 is assumed."]
    return TorchDualEncoder(
        spec,
        network,
        lambda clip, batch: clip.encode_image(batch),
        preprocess,
        TextEncoder(network, third, options.device),
        scale=100.0 if logarithm is None else float(torch.as_tensor(logarithm).detach().exp().reshape(-1)[0]),
        tokenizer=plain_repr(third),
        **facts,
    )


def _labels(spec: str, network: torch.nn.Module, given: Any) -> Labels:
    if given is None:
        if final_linear(network, 1000) is None:
            raise UsageError(
                f"{spec}: without class_names the network must end in 1000 ImageNet logits; return "
                "(network, preprocess, class_names)."
            )
        return imagenet_order(
            "No class names were given: the 1000 logits are taken to be ImageNet-1K in its usual order."
        )
    # The order of a set differs in each process.
    ordered = isinstance(given, Iterable) and not isinstance(given, str | set | frozenset)
    names = names_of(spec, given) if isinstance(given, Mapping) else tuple(given) if ordered else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise UsageError(
            f"{spec}: class_names must be a list of texts, one for each logit in order, not {given!r:.60}."
        )
    return match_list(f"{spec}: class_names", names)


def complete_model(spec: str, made: Model, options: LoadOptions) -> Model:
    """Check a ready model, fill in what its author may leave out, and warn if it is not as requested.

    Raises:
        UsageError: it lacks what cannot be derived, or holds impossible values.
    """
    given = dict(getattr(made, "description", {}))
    made.spec, made.description = spec, given | {"warnings": list(given.get("warnings", []))}
    if isinstance(made, Generative):
        _complete(made, options)
    else:
        kind = next(kind for kind in _NEEDED if isinstance(made, kind))
        missing = [name for name in _NEEDED[kind] if not hasattr(made, name)]
        if missing:
            raise UsageError(f"{spec}: a {kind.__name__} must set {', '.join(missing)}.")
    if isinstance(made, Classifier) and {len(made.class_names), len(made.imagenet_columns)} != {made.dim}:
        raise UsageError(
            f"{spec} has {len(made.class_names)} class_names and {len(made.imagenet_columns)} "
            f"imagenet_columns for {made.dim} outputs; each output needs one of both."
        )
    for what, actual, wanted in (
        ("device", made.device, options.device),
        ("precision", made.dtype, options.precision),
    ):
        if actual.removesuffix(":0") != wanted.removesuffix(":0"):
            made.description["warnings"].append(
                f"{spec} is a ready model, whose {what} is {actual}, not {wanted} as requested."
            )
    try:  # run.json is written when all work is done, too late to find out
        json.dumps(made.description, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"{spec}: its description cannot be written as JSON: {error}.") from error
    return made


def _complete(made: Generative, options: LoadOptions) -> None:
    """Fill in what the author of a generative model left out."""
    import torch

    known: frozenset[Protocol] = frozenset(get_args(Protocol))
    if type(made).losses is Generative.losses:
        known -= NEED_LOSSES
    made.protocols = frozenset(getattr(made, "protocols", known))
    if not made.protocols or not made.protocols <= known:
        raise UsageError(
            f"{made.spec}: protocols must be a set of {', '.join(sorted(known))}; all others need losses()."
        )
    if not hasattr(made, "fingerprint"):
        made.fingerprint = uuid.uuid4().hex
    elif made.users_class:
        made.fingerprint = combine(model=made.users_class, fingerprint=made.fingerprint)
    networks = [each for each in (made, *vars(made).values()) if isinstance(each, torch.nn.Module)]
    weights = next((weights for network in networks for weights in network.parameters()), None)
    if not hasattr(made, "device"):
        made.device = options.device if weights is None else weights.device.type
    if not hasattr(made, "dtype"):
        names = {"None": options.precision, "torch.bfloat16": "bf16", "torch.float16": "fp16"}
        made.dtype = names.get(str(weights if weights is None else weights.dtype), "fp32")
    facts = {"architecture": type(made).__name__, "weights": made.spec, "training_data": None}
    made.description = {"chat_template": "the author's own", **facts, **made.description}


# Modules imported from the user's folders: the folder, the file, and a digest of it.
_IMPORTED: dict[str, tuple[Path, Path, str]] = {}


def load_user(spec: str, options: LoadOptions, *, features: bool = False) -> Model:
    """Call the user's function, without arguments, and wrap what it returns (see `wrap_model`).

    Raises:
        UsageError: no such file, module or function, or the function returns something else.
        CounterGroundError: the function itself fails or ends the program.
    """
    function = find_function(spec)
    with _importable(_folder(spec)):
        made = _call(spec, function)
    return wrap_model(spec, made, options, features=features)


def load_object(spec: str, given: Any, options: LoadOptions) -> Model:
    """Wrap an object in memory, or what a function returns (see `wrap_model`). A ready model is copied.

    Raises:
        UsageError: `wrap_model` does not accept it.
        CounterGroundError: the function itself fails or ends the program.
    """
    return wrap_model(spec, given if isinstance(given, Model | tuple) else _call(spec, given), options)


def find_function(spec: str) -> Callable[[], Any]:
    """Import the module or file before the colon and return the function, without calling it.

    Raises:
        UsageError: no such file, module or function.
        CounterGroundError: importing the module fails or ends the program.
    """
    place, _, path = spec.rpartition(":")
    with _importable(_folder(spec)):
        module = _import(spec, place)
    function: Any = module
    for part in path.split("."):
        if not hasattr(function, part):
            raise UsageError(f"{spec}: {place} has no {path!r}.{did_you_mean(path, dir(module))}")
        function = getattr(function, part)
    if not callable(function):
        raise UsageError(f"{spec}: {path!r} is not a function; it must {ACCEPTED}.")
    return function  # type: ignore[no-any-return]


def _folder(spec: str) -> Path:
    """Return where the user's modules are looked for first: beside the file, or in the current folder."""
    place = spec.rpartition(":")[0]
    return given_path(place).resolve().parent if place.endswith(".py") else Path.cwd()


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make modules of a folder importable.

    Those of another folder, which may have the same names, are forgotten; so are all if a file was edited.
    """
    if any(of != folder or _digest(file) != digest for of, file, digest in _IMPORTED.values()):
        for name in _IMPORTED:
            sys.modules.pop(name, None)
        _IMPORTED.clear()
    before, added = set(sys.modules), str(folder) not in sys.path
    if added:
        sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if added:
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder) and not is_installed(file):
                _IMPORTED[name] = folder, Path(file), _digest(Path(file))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _import(spec: str, place: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _import_file(spec, given_path(place).resolve())
        return importlib.import_module(place)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and not place.endswith(".py") and place.startswith(absent):
            raise UsageError(
                f"{spec}: there is no module {absent!r} in this folder or among the installed packages."
            ) from error
        ended = isinstance(error, SystemExit)
        hint = " Put what a script does under if __name__ == '__main__'." if ended else ""
        raise CounterGroundError(
            f"{spec}: importing {place} failed: {error_summary(error)}.{hint}"
        ) from error


def _import_file(spec: str, path: Path) -> ModuleType:
    """Import a file under its own name, or a longer one if another module has that name."""
    if not is_file(path):
        raise UsageError(f"{spec}: there is no file {str(path)!r}.")
    name = path.stem
    if not _is_free(name, path):
        name = f"{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_free(name: str, path: Path) -> bool:
    """Whether no module other than this file has the name."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) == str(path)
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    return found is None or found.origin == str(path)


def _call(spec: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except CounterGroundError:
        raise
    except (Exception, SystemExit) as error:
        raise CounterGroundError(
            f"{spec} failed: {error_summary(error)}. --debug shows the traceback."
        ) from error


def _claims(spec: str) -> bool:
    place, _, path = spec.rpartition(":")
    parts = path.split(".") if place.endswith(".py") else [*place.split("."), *path.split(".")]
    return all(part.isidentifier() for part in parts)


def _refuse_object(spec: str, *_: Any) -> Any:
    raise UsageError(
        f"{spec} was an object of a Python program: run that program again, or give MODULE:FUNCTION, a "
        "function that makes it."
    )


OBJECT = Family(
    prefix="object",
    usage="object:CLASS",
    resolve=_refuse_object,
    load=_refuse_object,
    kind=lambda _spec: None,
)
USER = Family(
    prefix="module",
    usage="module:function or file.py:function",
    claims=_claims,
    resolve=find_function,
    load=load_user,
    kind=lambda _spec: None,
    tower=Tower(find_function, partial(load_user, features=True)),
)
