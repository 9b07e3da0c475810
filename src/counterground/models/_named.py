"""Models as users give them: specifications, objects in memory, and a name for any of them."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from counterground.errors import UsageError
from counterground.models._base import Model
from counterground.models._specs import expand_specs

AnyModel = str | Model | Callable[[], Any] | tuple[Any, ...]
"""A specification, a ready model, a tuple with a network, or a function that returns one of the last two."""

AnyModels = AnyModel | Sequence[AnyModel] | Mapping[str, AnyModel]
"""One model, several, or several by the names that tables give them."""

# A name contains none of these characters, so "http://host/v1?price=2" has no name.
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
    if isinstance(models, Mapping):
        found = [_with_name(name, model) for name, model in models.items()]
    elif isinstance(models, str | Model) or callable(models) or _has_network(models):
        found = _without_name(models)
    elif isinstance(models, Iterable):
        found = [named for model in models for named in _without_name(model)]
    else:
        raise UsageError(f"{_shown(models)} is not a model. {_FORMS}")
    distinct = list({(each.name, each.spec, id(each.made)): each for each in found}.values())
    seen: dict[str, NamedModel] = {}
    for each in distinct:
        other = seen.setdefault(each.name, each)
        if other is not each:
            raise UsageError(
                f"Two models are called {each.name!r} ({other.spec} and {each.spec}): give each its own name."
            )
    return tuple(distinct)


def _without_name(model: Any) -> list[NamedModel]:
    if not isinstance(model, str):
        return [_object(model)]
    found = _NAME_AND_SPEC.fullmatch(model)
    if found is None:
        return [NamedModel(spec, spec) for spec in expand_specs([model])]
    return [_with_name(*found.groups())]


def _with_name(name: Any, model: Any) -> NamedModel:
    if not isinstance(name, str) or not _NAME.fullmatch(name.strip()):
        raise UsageError(
            f"{name!r} cannot be the name of a model: use letters, digits, spaces, '.', '_' and '-'."
        )
    name = name.strip()
    if not isinstance(model, str):
        given = _object(model)
        return NamedModel(name, given.spec, given.made)
    specs = expand_specs([model.strip()])
    if len(specs) != 1 or not specs[0]:
        raise UsageError(
            f"{name!r} must be the name of one model, but {model!r} names {len(specs)}."
            if specs[0]
            else f"There is no model after {name!r}: write {name}=SPEC."
        )
    return NamedModel(name, specs[0])


def _object(model: Any) -> NamedModel:
    """Check the form of an object; what it holds is checked when it is wrapped."""
    if isinstance(model, Model):
        ours = type(model).__module__.startswith("counterground.")
        spec = model.spec if ours else f"object:{type(model).__name__}"
        return NamedModel(spec.removeprefix("object:"), spec, model)
    if isinstance(model, tuple) and _has_network(model):
        if len(model) not in (2, 3) or not callable(model[1]):
            raise UsageError(
                f"({', '.join(map(_shown, model))}) is not a model: after the network it must have its "
                f"preprocessing, a function from an image to a tensor. {_FORMS}"
            )
        name = type(model[0]).__name__
        return NamedModel(name, f"object:{name}", model)
    if _is_network(model):
        raise UsageError(
            f"{_shown(model)} is a network without its preprocessing: give (network, preprocess), or "
            "(network, preprocess, class_names)."
        )
    if callable(model):
        return _function(model)
    raise UsageError(f"{_shown(model)} is not a model. {_FORMS}")


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
    return isinstance(models, tuple) and len(models) > 0 and _is_network(models[0])


def _is_network(value: Any) -> bool:
    """Whether it is a torch.nn.Module; nothing is if PyTorch was never imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _shown(value: Any) -> str:
    """Return how an error shows a value: a short value itself, else its class."""
    text = repr(value)
    kind = type(value).__name__
    return text if isinstance(value, str | int | float | None) and len(text) < 60 else f"{kind} object"
