"""All families of models, our own and those of other packages, and what is done with a specification."""

from __future__ import annotations

import copy
import difflib
import fnmatch
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import RLock

from counterground.errors import (
    CounterGroundError,
    UsageError,
    did_you_mean,
    error_summary,
    missing_extra,
    needs_extra,
    raised_in,
)
from counterground.files import given_path, is_file, is_folder
from counterground.http import is_offline
from counterground.models._base import (
    Encoder,
    Family,
    ImageEncoder,
    Kind,
    LoadOptions,
    Model,
    ModelInfo,
    near_model,
    require,
)
from counterground.models._execution import check_precision, out_of_memory, resolve_device
from counterground.models._networks import middle_layers, without_head
from counterground.models._specs import SETS, NamedModel, expand_specs, split_head
from counterground.models.families import (
    ENDPOINT,
    LITE,
    OBJECT,
    ONNX,
    TIMM,
    TORCHVISION,
    USER,
    complete_model,
    load_object,
)
from counterground.models.huggingface import HUGGING_FACE
from counterground.models.open_clip import HUB, OPEN_CLIP, SHIPPED
from counterground.plugins import Registry

# In the order of `list_models`: those that need no network first.
_BUILT_IN = (LITE, SHIPPED, TORCHVISION, OPEN_CLIP, HUB, HUGGING_FACE, TIMM, ONNX, ENDPOINT)
_FAMILIES = Registry(
    "counterground.models",
    Family,
    {**{family.prefix: family for family in _BUILT_IN}, "https": ENDPOINT, "object": OBJECT},
    named_by="prefix",
)

_CHECKPOINT = "timm:NAME@{0}?labels=FILE or open_clip:NAME@{0}"
_FORMS = {".py": "{0}:FUNCTION", ".onnx": "onnx:{0}"} | dict.fromkeys(
    (".pt", ".pth", ".ckpt", ".bin", ".safetensors"), _CHECKPOINT
)
# Importing and loading change settings of the whole process for a while: where modules are found, what is
# logged, whether the hub may be asked. Two threads would restore what the other had set.
_ONE_AT_A_TIME = RLock()


def find_family(spec: str) -> Family:
    """Return the family that a specification belongs to.

    A family of another package is imported only when its prefix is used. ``module:function`` comes last,
    since it looks like any of them.

    Raises:
        UsageError: no family matches (the message suggests what was meant), or two packages claim the
            prefix.
        CounterGroundError: the package that claims the prefix is broken.
    """
    prefix, colon, _ = spec.partition(":")
    if prefix == "paper" and colon:
        expand_specs([spec])
        raise UsageError(f"{spec} is a set of models; give it to -m, which expands it.")
    for family in (_FAMILIES.find(prefix), *_BUILT_IN, USER):
        if family is not None and family.owns(spec):
            return family
    raise UsageError(f"Unknown model {spec!r}.{_suggestion(spec)}")


def calls_users_code(model: NamedModel) -> bool:
    """Whether loading a model calls a function that is not of this package."""
    if model.made is not None:
        return not isinstance(model.made, tuple | Model)
    return find_family(split_head(model.spec)[0]) not in _BUILT_IN


def is_safe_from_others(spec: str) -> bool:
    """Whether a specification that somebody else wrote names weights only: neither code nor an address."""
    return find_family(spec) in _BUILT_IN and find_family(spec) != ENDPOINT and "trust_remote" not in spec


def check_specs(specs: Sequence[str]) -> None:
    """Check that every specification names something that exists, before any work is done; sets are allowed.

    No weights are read or fetched. PyTorch is imported only if a library has to list its names;
    for ``module:function`` the module is imported, but the function is not called.

    Raises:
        UsageError: the first unknown one, with the message `load_model` would give.
        CounterGroundError: a package is missing, or a user's module cannot be imported.
    """
    for spec in expand_specs(specs):
        place, head = split_head(spec)
        family = find_family(place)
        with _explained(spec, family), _ONE_AT_A_TIME:
            if head is None:
                family.resolve(spec)
                continue
            if family.tower is None and family.kind(place) == "generative":
                raise UsageError(f"{spec}: a generative model answers in text; ?head= is for image encoders.")
            (family.tower or family).resolve(place)
        with needs_extra("models"):
            require("sklearn")  # fits the head


def load_model(
    model: str | NamedModel,
    *,
    device: str = "auto",
    precision: str = "fp32",
    offline: bool = False,
    fitted_head: bool = False,
) -> Model:
    """Load one model with the preprocessing and the activation its weights were trained with.

    Args:
        model: an object with its name, or a specification: ``open_clip:ARCH/TAG``,
            ``hf-hub:OWNER/NAME``, ``open_clip:DIR``, ``open_clip:NAME@FILE``, ``hf:OWNER/NAME``,
            ``hf:DIR``, ``torchvision:NAME``, ``torchvision:NAME/WEIGHTS``,
            ``torchvision:NAME@FILE?labels=FILE``, ``timm:NAME.tag``,
            ``timm:NAME@FILE?labels=FILE``, ``onnx:FILE``, ``efficientnet-lite0`` (1, 2),
            ``counterground:stamps-biased``, ``minigpt4:DIR``, ``http://HOST/v1#MODEL``,
            ``module:function``, ``file.py:function``, or a form of another package's family. With
            ``?head=knn`` (``logistic``, ``linear``, ``prototypes``) it is the image encoder of any of these.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``, for the image side.
        offline: never use the network.
        fitted_head: whether the caller fits heads; else a model that needs one is refused.

    Raises:
        UsageError: an unknown specification, device or precision; a head if the caller fits none, or an image
            encoder without one.
        CounterGroundError: weights cannot be fetched or read or do not fit, or memory does not suffice.
    """
    named = model if isinstance(model, NamedModel) else NamedModel(model, model)
    spec = named.spec
    place, head = split_head(spec)
    family = find_family(place)
    options = LoadOptions(resolve_device(device), check_precision(precision), offline or is_offline())
    alone: AbstractContextManager[object] = _ONE_AT_A_TIME if named.made is None else nullcontext()
    try:
        with _explained(spec, family), alone:
            if named.made is not None:
                loaded = load_object(spec, named.made, options)
            elif head is None:
                loaded = family.load(spec, options)
            else:
                tower = without_head((family.tower or family).load(place, options), options)
                loaded = copy.copy(tower)  # it may be an object that the user's module keeps
                loaded.spec, loaded.head = spec, head
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise CounterGroundError(
            f"{spec} does not fit into the memory of {options.device}. Use --device cpu, a smaller model, "
            "or --precision bf16, which halves the memory of language models."
        ) from error
    if not isinstance(loaded, Model):
        raise CounterGroundError(
            f"{spec}: its family returned {type(loaded).__name__}; it must return a DualEncoder, "
            "Classifier, ImageEncoder or Generative."
        )
    if family not in (*_BUILT_IN, OBJECT, USER):  # another package's
        loaded = copy.copy(loaded)
        with _explained(spec, family):
            complete_model(spec, loaded, options)
    loaded.display_name = named.name
    _check_head(loaded, fitted_head=fitted_head)
    return loaded


def load_middle_layers(spec: str, device: str, precision: str) -> tuple[Encoder, list[int]]:
    """Return an encoder of what the middle of a network sees, see `middle_layers`.

    Raises:
        UsageError: a generative model, or see `load_model`.
        CounterGroundError: see `load_model`.
    """
    model = load_model(spec, device=device, precision=precision, fitted_head=True)
    if not isinstance(model, Encoder):
        raise UsageError(f"{spec} gives no features: name a model that encodes photos.")
    return middle_layers(model, LoadOptions(model.device, check_precision(precision)))


def _check_head(model: Model, *, fitted_head: bool) -> None:
    """Refuse an image encoder without a head, and a head if the caller fits none."""
    head = model.head if isinstance(model, Encoder) else None
    if head is None and isinstance(model, ImageEncoder):
        raise UsageError(
            f"{model.spec} has neither classes nor a text tower: let a head be fitted on its features, by "
            "?head=knn, logistic, linear or prototypes (of an object in memory: HeadSpec)."
        )
    if head is not None and not fitted_head:
        raise UsageError(
            f"{model.spec}: a head is fitted by evaluate, swap and discover only; leave out ?head=."
        )


def expected_kind(spec: str) -> Kind | None:
    """Return the kind of model that ``spec`` names, None if it is known only after loading.

    Raises:
        UsageError: an unknown specification.
    """
    place, head = split_head(spec)
    family = find_family(place)
    with _explained(spec, family):
        return family.kind(place) if head is None else "image_encoder"


def list_models(
    pattern: str | None = None, *, warn: Callable[[str], object] = warnings.warn
) -> list[ModelInfo]:
    """Return the models whose specification matches ``pattern``, those that need no network first.

    Args:
        pattern: a part of the specification, a pattern with ``*`` and ``?`` (case does not matter), or one
            of the paper's sets. None lists all. The part before a colon selects families; libraries of
            the others are not imported.
        warn: called with one line for each package whose family is broken; the others are listed.

    Raises:
        UsageError: nothing matches, or an unknown set.
    """
    if pattern is None:
        return list(_listed(None, warn))
    if pattern.startswith("paper:"):
        # OpenCLIP's models are listed under the plain name, and the tag decides the activation.
        members = {spec.replace("-quickgelu/", "/") for spec in expand_specs([pattern])}
        return [model for model in _listed(None, warn) if model.spec in members]
    wanted = pattern.lower()
    if not any(sign in wanted for sign in "*?["):
        wanted = f"*{wanted}*"
    prefixes, colon, _ = wanted.partition(":")
    some = prefixes if colon and "[" not in prefixes else None
    models = list(_listed(some, warn))
    found = [model for model in models if fnmatch.fnmatchcase(model.spec.lower(), wanted)]
    if not found:
        near = did_you_mean(pattern.replace("*", ""), [each.spec for each in models]) if some else ""
        raise UsageError(f"No model matches {pattern!r}.{near or f' Families: {_usages()}.'}")
    return found


def _listed(prefixes: str | None, warn: Callable[[str], object]) -> Iterator[ModelInfo]:
    """Yield the models of the families whose prefix matches a pattern, or of all."""
    for prefix in _FAMILIES.names():
        if prefixes is not None and not fnmatch.fnmatchcase(prefix.lower(), prefixes):
            continue
        try:
            family = _FAMILIES.find(prefix)
            assert family is not None
            with _explained(f"{prefix}:", family):
                yield from family.list()
        except CounterGroundError as error:
            warn(str(error))


@contextmanager
def _explained(spec: str, family: Family) -> Iterator[None]:
    """Turn a family's failure into one line: a missing library, or an error in another package."""
    package = None if family in (*_BUILT_IN, USER) else _FAMILIES.package(family.prefix)
    try:
        yield
    except UsageError as error:
        if family is USER and isinstance(error.__cause__, ModuleNotFoundError):
            raise UsageError(f"{error}{_suggestion(spec)}") from error.__cause__
        raise
    except CounterGroundError:
        raise
    except ModuleNotFoundError as error:
        if package is None and family is not USER:
            raise UsageError(f"{spec}: {missing_extra(error, family.extra)}") from error
        raise CounterGroundError(
            f"{spec}: the package {error.name} is not installed: run pip install {error.name}."
        ) from error
    except Exception as error:
        own = () if package is None else (family.load.__module__.partition(".")[0],)
        if out_of_memory(error) or (package is None and not raised_in(error)):
            raise
        failed = " failed" if package is None else f": the package {package} failed"
        raise CounterGroundError(
            f"{spec}{failed}: {error_summary(error, own)}. --debug shows the traceback."
        ) from error


def _suggestion(spec: str) -> str:
    """Return what may be meant: a family's prefix, the forms of a path, or listed models with that name."""
    prefix, colon, name = spec.partition(":")
    meant: list[str] = []
    if colon:
        meant = [
            f"{each}:{name}" for each in difflib.get_close_matches(prefix.lower(), _FAMILIES.names(), n=1)
        ]
    elif is_folder(given_path(spec)):
        meant = [f"hf:{spec}", f"open_clip:{spec}"]
    elif form := _FORMS.get(given_path(spec).suffix, _CHECKPOINT if is_file(given_path(spec)) else ""):
        meant = [form.format(spec)]
    else:
        first: dict[str, str] = {}
        listed = [*SETS.names(), *(model.spec for model in _listed(None, _ignore))]
        for each in listed:
            family, _, whole = each.partition(":")
            if any(_plain(part).startswith(_plain(spec)) for part in (each, whole, whole.rpartition("/")[2])):
                first.setdefault(family, each)
        repository = [f"hf:{spec}", f"hf-hub:{spec}"] if re.fullmatch(r"[\w-]+/[\w.-]+", spec) else []
        meant = list(first.values())[:3] or repository
        if not meant and (near := near_model(spec, listed)):
            return near
    if meant:
        return f" Did you mean {' or '.join(meant)}?"
    return f" Use {_usages()}; 'counterground models' lists them."


def _plain(name: str) -> str:
    return re.sub("[-_/]", "", name.lower())


def _usages() -> str:
    families = [*_FAMILIES.each(_ignore), USER]
    return ", ".join(dict.fromkeys(family.usage for family in families if family is not OBJECT))


def _ignore(_broken: str) -> None:
    """Do nothing: a broken package has nothing to suggest."""
