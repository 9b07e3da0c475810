"""What every model offers: its own preprocessing, an encoder or a generator, and a fingerprint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from counterground.errors import UsageError
from counterground.models._specs import HeadSpec
from counterground.models.execution import Runtime
from counterground.settings import Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import torch
    from PIL import Image

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
    description: Mapping[str, Any]
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
        price: cost of one call, in whatever unit the user gave it; None if calls cost nothing.
    """

    kind: ClassVar[Kind] = "generative"
    protocols: frozenset[Protocol]
    concurrency: int = 1
    price: float | None = None

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

    def batch_losses(
        self,
        images: Sequence[Image.Image],
        questions: Sequence[Sequence[str]],
        answers: Sequence[Sequence[str]],
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return what `losses` gives for each photo; a model may score several photos in one forward pass.

        Args:
            images: ``[n]`` RGB photos.
            questions: for each photo, one for each answer.
            answers: for each photo, the same number for all photos.
        """
        return [self.losses(*about) for about in zip(images, questions, answers, strict=True)]

    @abstractmethod
    def generate(self, image: Image.Image, question: str, *, max_new_tokens: int) -> str:
        """Return the answer the model generates about one photo, decoded greedily."""

    def stop(self) -> None:
        """Stop waiting: the run is ending. Called from a thread other than that of `generate`."""

    def prompt(self, question: str, answer: str | None = None) -> str:
        """Return the text that the model gets for a question and the answer to be scored, as recorded."""
        return question if answer is None else f"{question} {answer}"
