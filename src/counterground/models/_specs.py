"""What a specification says beyond its family: a head to be fitted, or a set of the paper's models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

from counterground.errors import UsageError, did_you_mean
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
            raise UsageError(
                f"Unknown head {self.kind!r}; use {', '.join(_KINDS[:-1])} or {_KINDS[-1]}."
                f"{did_you_mean(str(self.kind), _KINDS)}"
            )
        if self.value is None:
            return
        if self.parameter is None:
            raise UsageError(f"A {self.kind} head takes no number.")
        is_number = isinstance(self.value, Real) and 0 < self.value <= sys.float_info.max
        if not is_number or (self.kind == "knn" and self.value % 1):
            whole = "whole " if self.kind == "knn" else ""
            given = f"{self.value:g}" if isinstance(self.value, float) else repr(self.value)
            raise UsageError(f"{self.parameter} must be a {whole}number above 0, not {given:.40}.")
        if type(self.value) not in (int, float):  # JSON has no place for those of NumPy, nor for fractions
            object.__setattr__(self, "value", int(self.value) if self.kind == "knn" else float(self.value))

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
    options = [part.partition("=")[::2] for part in query.split("&")]
    given = {name: value for name, value in options if name in _OPTIONS}
    if "head" not in given:
        return spec, None
    names = [name for name, _ in options if name in _OPTIONS]
    if len(given) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{spec}: the option {twice!r} is given twice; which one counts is unclear.")
    others = [part for part in query.split("&") if part.partition("=")[0] not in _OPTIONS]
    return "?".join([place, *(["&".join(others)] if others else [])]), _parsed(spec, given)


def _parsed(spec: str, given: dict[str, str]) -> HeadSpec:
    try:
        head = HeadSpec(given.pop("head"))  # type: ignore[arg-type]
        for name, text in given.items():
            head = HeadSpec(head.kind, _number(head, name, text))
    except UsageError as error:
        raise UsageError(f"{spec}: {error}") from error
    return head


def _number(head: HeadSpec, name: str, text: str) -> float:
    if name != head.parameter:
        takes = f"takes {head.parameter}=" if head.parameter else "takes no number"
        raise UsageError(f"{name}= is not for this head: {head.kind} {takes}.")
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{name}={text} is not a number.") from None


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


def set_names() -> list[str]:
    """Return the names of all sets; no other package is imported."""
    return _SETS.names()


def expand_specs(specs: Sequence[str]) -> list[str]:
    """Return the specifications with the paper's sets expanded, each one once, in order.

    ``paper:clip`` names the 28 checkpoints of Table 3, ``paper:imagenet`` the 15 torchvision classifiers of
    Table 4 with the weights the paper used (IMAGENET1K_V1). Other packages add sets.

    Raises:
        UsageError: an unknown set.
    """
    expanded: list[str] = []
    for spec in specs:
        expanded += _members(spec) if spec.startswith("paper:") else [spec]
    return list(dict.fromkeys(expanded))


def _members(name: str) -> Sequence[str]:
    found = _SETS.find(name)
    if found is None:
        names = set_names()
        raise UsageError(f"Unknown set {name!r}; use one of {', '.join(names)}.{did_you_mean(name, names)}")
    return found.members()


def _clip() -> list[str]:
    from counterground.published import load_table

    rows = load_table("checkpoints").to_dicts()
    return [
        f"open_clip:{row['open_clip_model_name']}/{row['open_clip_pretrained']}"
        for row in rows
        if row["table"] == "Table 3"
    ]


_SETS = Registry(
    "counterground.model_sets",
    ModelSet,
    {
        each.name: each
        for each in (
            ModelSet("paper:clip", _clip),
            ModelSet(
                "paper:imagenet", lambda: [f"torchvision:{network}/IMAGENET1K_V1" for network in _IMAGENET]
            ),
        )
    },
)
