"""What a family of models is: how its specifications are written, checked, loaded, listed and cited."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec

from counterground.errors import UsageError, did_you_mean
from counterground.models._base import Kind, Model
from counterground.settings import Precision


@dataclass(frozen=True)
class LoadOptions:
    """How a model is to be loaded; `load_model` has checked the values.

    Attributes:
        device: torch device, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: precision of the image side.
        offline: never use the network.
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    offline: bool = False


@dataclass(frozen=True)
class ModelInfo:
    """One line of ``counterground models``.

    Attributes:
        spec: what to give to ``-m``.
        kind: ``"dual_encoder"``, ``"classifier"``, ``"image_encoder"`` or ``"generative"``.
        parameters: number of parameters, None if it is not known without the network.
        training_data: what the weights were trained on, None if their tag does not say.
        needs_network: whether the weights are fetched on first use (or come from a local cache).
        note: a remark, often empty.
    """

    spec: str
    kind: Kind
    parameters: int | None
    training_data: str | None
    needs_network: bool
    note: str = ""


@dataclass(frozen=True)
class Tower:
    """How a specification is checked and loaded if only its image features are needed (``?head=``).

    Both functions get the specification without the head; see `Family` for what they may raise.
    """

    resolve: Callable[[str], object]
    load: Callable[[str, LoadOptions], Model]


@dataclass(frozen=True)
class Family:
    """Models that are named and loaded in one way, such as ``timm:NAME``.

    Each function takes the specification as the user wrote it, prefix included, and raises `UsageError` for
    errors the user can correct, with one line that names the specification and the remedy. None of them runs
    before a specification of this family is used, and only ``load`` may read weights.

    Attributes:
        prefix: the part before the first colon; in another package also the name of the entry point.
        usage: how a specification is written, for messages: ``timm:NAME``.
        resolve: checks that what a specification names exists.
        load: returns the model, on the device and in the precision of the options.
        kind: returns the kind of the model, None if it is known only after loading.
        list: returns what ``counterground models`` shows of this family, without loading any.
        cite: returns what to cite for a specification besides its architecture and training data: keys of
            the references kept in ``results``, or whole BibTeX entries.
        claims: whether a specification belongs to this family, if the prefix alone does not decide.
        extra: the extra of CounterGround that installs the libraries of this family.
        tower: how to obtain an image encoder without its head, if that takes more than ``load``. Without it,
            the image side of a dual encoder is used, or the input of a network's last linear layer.
    """

    prefix: str
    usage: str
    resolve: Callable[[str], object]
    load: Callable[[str, LoadOptions], Model]
    kind: Callable[[str], Kind | None]
    list: Callable[[], Iterable[ModelInfo]] = tuple
    cite: Callable[[str], Sequence[str]] = lambda _spec: ()
    claims: Callable[[str], bool] | None = None
    extra: str = "models"
    tower: Tower | None = None

    def owns(self, spec: str) -> bool:
        """Whether ``spec`` has the form of this family's specifications."""
        if self.claims is not None:
            return self.claims(spec)
        prefix, colon, rest = spec.partition(":")
        return prefix == self.prefix and bool(colon and rest)


def require(*packages: str) -> None:
    """Check that packages are installed, without importing them.

    Raises:
        ModuleNotFoundError: one is missing; whoever loads the model adds the extra of the family.
    """
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def read_options(spec: str, text: str, known: Iterable[str]) -> dict[str, str | None]:
    """Return the options of ``NAME=VALUE&NAME``, None for those without a value.

    Raises:
        UsageError: an option that is not ``known``, or one that is given twice.
    """
    options: dict[str, str | None] = {}
    for part in text.split("&") if text else []:
        name, equals, value = part.partition("=")
        if name not in known:
            raise UsageError(
                f"{spec}: unknown option {name!r}; known are {', '.join(known)}.{did_you_mean(name, known)}"
            )
        if name in options:
            raise UsageError(f"{spec}: the option {name!r} is given twice; which one counts is unclear.")
        options[name] = value if equals else None
    return options


def known_models(prefix: str, *packages: str) -> list[ModelInfo]:
    """Return the models of our own family ``prefix``, from a list so that no library has to be imported.

    Raises:
        ModuleNotFoundError: one of the ``packages`` that run them is missing.
    """
    require(*packages)
    return [model for model in _known() if model.spec.startswith(prefix)]


@cache
def _known() -> tuple[ModelInfo, ...]:
    text = (resources.files("counterground.models") / "data" / "models.csv").read_text(encoding="utf-8")
    return tuple(
        ModelInfo(
            row["spec"],
            row["kind"],  # type: ignore[arg-type]
            int(row["parameters"]) if row["parameters"] else None,
            row["training_data"] or None,
            bool(row["needs_network"]),
            row["note"],
        )
        for row in csv.DictReader(text.splitlines())
    )
