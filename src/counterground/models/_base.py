"""What a model and a family are: own preprocessing, an encoder or a generator, and a fingerprint."""

from __future__ import annotations

import csv
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from counterground.errors import UsageError, did_you_mean
from counterground.settings import Precision, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    from counterground.models._execution import Runtime
    from counterground.models._specs import HeadSpec

Kind = Literal["dual_encoder", "classifier", "image_encoder", "generative"]
NEED_LOSSES: frozenset[Protocol] = frozenset({"answer-loss", "describe", "multiple-choice-loss"})
"""Protocols that need a model with losses."""

MOST_AT_ONCE = 1000
"""The most photos that a model may be asked about at once, since each takes a thread."""


class Model(ABC):
    """A loaded vision model: weights, preprocessing and activation that belong together.

    Attributes:
        spec: the specification it was loaded from, as the user wrote it.
        kind: ``"dual_encoder"`` (embeddings), ``"classifier"`` (logits), ``"image_encoder"`` (features only)
            or ``"generative"`` (text).
        fingerprint: SHA-256 over weights, configuration, preprocessing, activation, dtype and library
            versions; features stored under it may be reused, whatever specification named the model.
        device: torch device, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        dtype: ``"fp32"``, ``"bf16"`` or ``"fp16"``: the precision of the image tower.
        description: JSON-ready summary for ``run.json``: architecture, weights, activation,
            preprocessing, parameters, training data, library versions and ``warnings``. Nothing writes to it
            once the model is loaded.
        convert_rgb_first: whether photos are converted to RGB before any other step.
    """

    kind: ClassVar[Kind]
    spec: str
    fingerprint: str
    device: str
    dtype: str
    description: dict[str, Any]
    convert_rgb_first: bool = True
    _display_name: str = ""

    @property
    def display_name(self) -> str:
        """Name in tables and progress bars: the one it was given, else its specification."""
        return self._display_name or self.spec

    @display_name.setter
    def display_name(self, name: str) -> None:
        self._display_name = name

    @property
    def users_class(self) -> str:
        """Full name of its class, empty for a class of this package.

        It distinguishes the models of two authors who both give the fingerprint "1".
        """
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return "" if name.startswith("counterground.") else name


class Encoder(Model):
    """A model that turns each photo into one vector: a `DualEncoder`, a `Classifier` or an `ImageEncoder`.

    Attributes:
        dim: width of the vectors that `encode` returns.
        head: head to be fitted on these vectors to predict classes; None for the model's own head.
        runtime: what runs it: ``eager``, or the name of another runtime, which is part of the fingerprint.
    """

    dim: int
    head: HeadSpec | None = None
    runtime: str = "eager"

    @property
    def runtimes(self) -> Sequence[Runtime]:
        """Other ways to run the model."""
        return ()

    def run_by(self, runtime: Runtime) -> Encoder:
        """Return the same model that encodes with one of the ``runtimes``."""
        raise NotImplementedError(f"{self.spec} has no runtime {runtime.name}")

    @abstractmethod
    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Return the model's input for one photo, ``[3, h, w]`` float32. Safe to call from threads."""

    @abstractmethod
    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Return ``[n, dim]`` float32 on the CPU for ``[n, 3, h, w]``.

        A dual encoder returns image embeddings of unit length, a classifier logits, an image encoder
        features.
        """


class DualEncoder(Encoder):
    """An image and a text tower that share an embedding space (CLIP, SigLIP, CoCa).

    Attributes:
        logit_scale: factor on cosine similarity before the softmax, already exponentiated.
    """

    kind: ClassVar[Kind] = "dual_encoder"
    logit_scale: float

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return text embeddings ``[n, dim]``, float32 and of unit length, in the order of ``texts``."""

    def text_warnings(self, texts: Sequence[str]) -> Sequence[str]:
        """Return what readers must know about how these texts are encoded, such as that some are cut."""
        del texts
        return ()


class Classifier(Encoder):
    """A network with one logit per class.

    Attributes:
        imagenet_columns: ImageNet-1K index of each logit, None for a class without one.
        class_names: name of each logit.
    """

    kind: ClassVar[Kind] = "classifier"
    imagenet_columns: tuple[int | None, ...]
    class_names: tuple[str, ...]


class ImageEncoder(Encoder):
    """A network without classes: its features need a ``head`` that is fitted on labelled photos."""

    kind: ClassVar[Kind] = "image_encoder"


class Generative(Model):
    """A model that answers questions about a photo with text: a local LVLM, or one behind an HTTP API.

    A user's own model (``module:function``) needs to define only `generate`; anything else it sets is kept.

    Attributes:
        protocols: the protocols it supports; without one of ``NEED_LOSSES`` it gives no losses.
        concurrency: how many photos can be sent to it at once.
    """

    kind: ClassVar[Kind] = "generative"
    protocols: frozenset[Protocol]
    concurrency: int = 1

    def losses(
        self, image: Image.Image, questions: Sequence[str], answers: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss of each answer after its question, about one photo.

        Args:
            image: an RGB photo.
            questions: ``[k]``, one for each answer; they may all be the same.
            answers: ``[k]``.

        Returns:
            ``[k]`` float32, the negative log-likelihood (nats) summed over the tokens of the answer, and
            ``[k]`` int64, the number of those tokens.

        Raises:
            UsageError: the model generates text only.
        """
        del image, questions, answers
        raise UsageError(f"{self.spec} gives no losses; use -X protocol=free-form or yes-no.")

    @abstractmethod
    def generate(self, image: Image.Image, question: str, *, max_new_tokens: int) -> str:
        """Return the answer the model generates about one photo, decoded greedily."""

    def stop(self) -> None:
        """Stop waiting: the run is ending. Called from a thread other than that of `generate`."""

    def prompt(self, question: str, answer: str | None = None) -> str:
        """Return the text that the model gets for a question and the answer to be scored, as recorded."""
        return question if answer is None else f"{question} {answer}"


# As Qwen, DeepSeek, GLM and others write them, and Kimi.
_TAG = re.compile(r"<(/?)think(?:ing)?>|◁(/?)think▷", re.IGNORECASE)


def without_thoughts(answer: str) -> str:
    """Return an answer without its thoughts: nothing if these do not end.

    The tag that opens them may be missing, since it may stand at the end of the prompt.
    """
    parts: list[str] = []
    end, thinks = 0, False
    for tag in _TAG.finditer(answer):
        if tag[1] or tag[2]:
            if not thinks:
                parts.clear()
            end, thinks = tag.end(), False
        elif not thinks:
            parts.append(answer[end : tag.start()])
            thinks = True
    return " ".join(parts if thinks else [*parts, answer[end:]])


def opens_thoughts(prompt: str) -> bool:
    """Whether a prompt ends within thoughts, so that what follows is no answer yet."""
    tags = [bool(tag[1] or tag[2]) for tag in _TAG.finditer(prompt)]
    return bool(tags) and not tags[-1]


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


_ON_HUB = " A model of OpenCLIP on the hub is named like hf-hub:imageomics/bioclip."
_READ = " Its predictions are read by counterground evaluate DATA --predictions FILE."
_ELSEWHERE = {"bioclip": _ON_HUB, "imageomics": _ON_HUB, "speciesnet": _READ, "megadetector": _READ}


def near_model(name: str, known: Iterable[str]) -> str:
    """Return `did_you_mean`, but say where models are that users look for among others."""
    hints = (hint for part, hint in _ELSEWHERE.items() if part in name.lower())
    return next(hints, "") or did_you_mean(name, known)


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
                f"{spec}: unknown option {name!r}; it takes {', '.join(known) or 'none'}."
                f"{did_you_mean(name, known)}"
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


def known_training_data(spec: str) -> str | None:
    """Return what the list of our models says that weights were trained on."""
    return next((model.training_data for model in _known() if model.spec == spec), None)


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
