"""What a user names: a specification, maybe with a head to be fitted, a set, or an object in memory."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, Literal, get_args

from counterground.errors import UsageError, did_you_mean
from counterground.models._base import Model, read_options
from counterground.plugins import Registry

HeadKind = Literal["knn", "logistic", "linear", "prototypes"]
_KINDS = get_args(HeadKind)
# What each head takes; without a value, cross-validation on the training photos chooses one.
_PARAMETERS: dict[str, str | None] = {"knn": "k", "logistic": "C", "linear": "alpha", "prototypes": None}
_OPTIONS = ("head", "k", "C", "alpha")


@dataclass(frozen=True)
class HeadSpec:
    """A head to be fitted on the features of an encoder.

    Attributes:
        kind: ``knn`` (weighted nearest neighbours), ``logistic`` (logistic regression), ``linear`` (ridge
            regression on class indicators) or ``prototypes`` (the nearest class mean).
        value: ``k`` of ``knn``, ``C`` of ``logistic``, ``alpha`` of ``linear``; None lets cross-validation
            choose it on the training photos.

    Raises:
        UsageError: an unknown kind, or a value that it cannot have.
    """

    kind: HeadKind
    value: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            near = did_you_mean(str(self.kind), _KINDS)
            raise UsageError(f"Unknown head {self.kind!r}; use {', '.join(_KINDS)}.{near}")
        if self.value is None:
            return
        if self.parameter is None:
            raise UsageError(f"A {self.kind} head takes no number.")
        whole = self.kind == "knn"
        if (
            not isinstance(self.value, Real)
            or not 0 < self.value <= sys.float_info.max
            or (whole and self.value % 1)
        ):
            kind = "whole number" if whole else "number"
            raise UsageError(f"{self.parameter} must be a {kind} above 0, not {self.value!r:.40}.")
        # JSON has no place for NumPy's numbers.
        object.__setattr__(self, "value", self.value if type(self.value) is int else float(self.value))

    @property
    def parameter(self) -> str | None:
        """What ``value`` is called, None for a head without one."""
        return _PARAMETERS[self.kind]

    @property
    def is_chosen(self) -> bool:
        """Whether cross-validation has to choose ``value``."""
        return self.parameter is not None and self.value is None

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind} {self.parameter}={self.value:g}"


def split_head(spec: str) -> tuple[str, HeadSpec | None]:
    """Return a specification without ``?head=KIND`` and its number, and the head, None if none is named.

    Raises:
        UsageError: an unknown head, a number it does not take, or one of them given twice.
    """
    place, _, query = spec.partition("?")
    parts = query.split("&")
    own = [part for part in parts if part.partition("=")[0] in _OPTIONS]
    given = read_options(spec, "&".join(own), _OPTIONS)
    if "head" not in given:
        return spec, None
    others = "&".join(part for part in parts if part not in own)
    try:
        head = HeadSpec(given.pop("head"))  # type: ignore[arg-type]
        if head.parameter in given:
            head = HeadSpec(head.kind, float(given.pop(head.parameter) or ""))
    except (UsageError, ValueError) as error:
        raise UsageError(f"{spec}: {error}") from error
    if given:
        raise UsageError(f"{spec}: a {head.kind} head does not take {', '.join(given)}=.")
    return f"{place}?{others}" if others else place, head


# torchvision's classic weights: with IMAGENET1K_V1 an independent reproduction agrees with the paper's
# Table 4 within 0.1 points for ResNet-50 and -101, whose V2 weights are 4 points better on ImageNet.
_IMAGENET = (
    "alexnet",
    "vgg11",
    "vgg13",
    "vgg19",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "vit_b_16",
    "vit_b_32",
    "vit_l_16",
    "vit_l_32",
    "convnext_small",
    "convnext_base",
    "convnext_large",
)


@dataclass(frozen=True)
class ModelSet:
    """Specifications under one name. Added by an entry point of the group ``counterground.model_sets``.

    Attributes:
        name: the name of the entry point, with the prefix ``paper:``.
        members: function that returns the specifications.
    """

    name: str
    members: Callable[[], Sequence[str]]


def expand_specs(specs: Sequence[str]) -> list[str]:
    """Return the specifications with the paper's sets expanded, each one once, in order.

    ``paper:clip`` names the 28 checkpoints of Table 3, ``paper:imagenet`` the 15 torchvision classifiers of
    Table 4 with the weights the paper used (IMAGENET1K_V1). Other packages add sets.

    Raises:
        UsageError: an unknown set.
    """
    expanded: list[str] = []
    for spec in specs:
        members = SETS.find(spec) if spec.startswith("paper:") else None
        if members is None and spec.startswith("paper:"):
            names = SETS.names()
            raise UsageError(
                f"Unknown set {spec!r}; use one of {', '.join(names)}.{did_you_mean(spec, names)}"
            )
        expanded += [spec] if members is None else members.members()
    return list(dict.fromkeys(expanded))


def _clip() -> list[str]:
    from counterground.published import load_table

    rows = load_table("checkpoints").to_dicts()
    return [
        f"open_clip:{row['open_clip_model_name']}/{row['open_clip_pretrained']}"
        for row in rows
        if row["table"] == "Table 3"
    ]


_BUILT_IN = (
    ModelSet("paper:clip", _clip),
    ModelSet("paper:imagenet", lambda: [f"torchvision:{network}/IMAGENET1K_V1" for network in _IMAGENET]),
)
SETS = Registry("counterground.model_sets", ModelSet, {each.name: each for each in _BUILT_IN})


AnyModel = str | Model | Callable[[], Any] | tuple[Any, ...]
"""A specification, a ready model, a tuple with a network, or a function that returns one of the last two."""

AnyModels = AnyModel | Sequence[AnyModel] | Mapping[str, AnyModel]
"""One model, several, or several by the names that tables give them."""

# A name contains none of these characters, so "http://host/v1?jobs=2" has no name.
_NAME_AND_SPEC = re.compile(r"([^:?@/=]*)=(.*)", re.DOTALL)
_NAME = re.compile(r"[\w .-]+")
_FORMS = (
    "A model is a specification ('torchvision:resnet50'), (network, preprocess), (network, preprocess, "
    "class_names), (network, preprocess, HeadSpec), (clip, preprocess, tokenizer), a Classifier, "
    "DualEncoder, ImageEncoder or Generative, or a function without arguments that returns one of these; a "
    "dict gives names to models."
)


@dataclass(frozen=True)
class NamedModel:
    """A model to be evaluated.

    Attributes:
        name: name in tables and charts.
        spec: its specification, ``object:CLASS`` for an object.
        made: the object: what `wrap_model` takes, or a function that returns that.
    """

    name: str
    spec: str
    made: Any = field(default=None, compare=False)

    @property
    def version(self) -> str:
        """What distinguishes a run with this model; what the model holds is known once it is loaded."""
        return self.spec if self.name == self.spec else f"{self.name}={self.spec}"


def named_models(models: AnyModels) -> tuple[NamedModel, ...]:
    """Return the models to evaluate, in order, with the paper's sets expanded and duplicates left out.

    A text may be ``NAME=SPEC``; without a name, a model is named after its specification, an object after its
    class or function.

    Raises:
        UsageError: something that is not a model, a name that cannot be one, or one name for two models.
    """
    given: Iterable[tuple[Any, Any]]
    if isinstance(models, Mapping):
        given = models.items()
    else:
        several = not (isinstance(models, str | Model) or callable(models) or _has_network(models))
        given = [
            (None, model) for model in (models if several and isinstance(models, Iterable) else [models])
        ]
    found = [named for name, model in given for named in _named(name, model)]
    distinct = list({(each.name, each.spec, id(each.made)): each for each in found}.values())
    seen: dict[str, NamedModel] = {}
    for each in distinct:
        other = seen.setdefault(each.name, each)
        if other is not each:
            raise UsageError(
                f"Two models are called {each.name!r} ({other.spec} and {each.spec}): give each its own name."
            )
    return tuple(distinct)


def _named(name: Any, model: Any) -> list[NamedModel]:
    if isinstance(model, str):
        if name is None and (parts := _NAME_AND_SPEC.fullmatch(model)):
            name, model = parts.groups()
        specs = expand_specs([model.strip()])
        if name is None:
            return [NamedModel(spec, spec) for spec in specs]
        if len(specs) != 1 or not specs[0]:
            raise UsageError(
                f"{name!r} must be the name of one model: write {name}=SPEC, not {name}={model}."
            )
        given = NamedModel(specs[0], specs[0])
    else:
        given = _object(model)
    if name is None:
        return [given]
    if not isinstance(name, str) or not _NAME.fullmatch(name.strip()):
        raise UsageError(
            f"{name!r} cannot be the name of a model: use letters, digits, spaces, '.', '_' and '-'."
        )
    return [replace(given, name=name.strip())]


def _object(model: Any) -> NamedModel:
    """Check the form of an object; what it holds is checked when it is wrapped."""
    if isinstance(model, Model):
        ours = type(model).__module__.startswith("counterground.")
        spec = model.spec if ours else f"object:{type(model).__name__}"
        return NamedModel(spec.removeprefix("object:"), spec, model)
    if isinstance(model, tuple) and _has_network(model) and len(model) in (2, 3) and callable(model[1]):
        name = type(model[0]).__name__
        return NamedModel(name, f"object:{name}", model)
    if callable(model) and not _has_network((model,)):
        return _function(model)
    shown = repr(model) if isinstance(model, str | int | float | None) else f"{type(model).__name__} object"
    raise UsageError(f"{shown} is not a model. {_FORMS}")


def _function(function: Callable[..., Any]) -> NamedModel:
    """Name a function by its specification if it has one, so that another process finds it too."""
    name = getattr(function, "__qualname__", type(function).__name__)
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise UsageError(
            f"{name} cannot be called without arguments ({error}); a function must return a model, "
            "not predictions."
        ) from error
    except ValueError:
        pass  # compiled: it has no signature
    module = getattr(function, "__module__", None) or "__main__"
    if module != "__main__" and getattr(sys.modules.get(module), name, None) is function:
        return NamedModel(f"{module}:{name}", f"{module}:{name}")
    short = name.rpartition(".")[2].strip("<>")
    return NamedModel(short, f"object:{short}", function)


def _has_network(models: Any) -> bool:
    """Whether it is a tuple that begins with a torch.nn.Module; nothing is if PyTorch was never imported."""
    torch = sys.modules.get("torch")
    first = models[0] if isinstance(models, tuple) and models else None
    return torch is not None and isinstance(first, torch.nn.Module)
