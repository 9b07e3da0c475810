"""What every model offers: its own preprocessing, an encoder and a fingerprint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from PIL import Image

Kind = Literal["dual_encoder", "classifier"]
Precision = Literal["fp32", "bf16", "fp16"]


class Model(ABC):
    """A loaded vision model: weights, preprocessing and activation that belong together.

    Attributes:
        spec: the specification it was loaded from, as the user wrote it.
        kind: ``"dual_encoder"`` (embeddings) or ``"classifier"`` (logits).
        fingerprint: SHA-256 over weights, configuration, preprocessing, activation, dtype and library
            versions; features stored under it may be reused, whatever the specification was called.
        dim: width of what `encode` returns.
        device: torch device, ``"cpu"``, ``"cuda"`` or ``"mps"``.
        dtype: ``"fp32"``, ``"bf16"`` or ``"fp16"``: the precision of the image tower.
        description: JSON-ready account for ``run.json``: architecture, weights, activation,
            preprocessing, parameters, training data, library versions, ``as_published`` and ``warnings``.
        convert_rgb_first: whether photos become RGB before anything else happens to them.
    """

    kind: ClassVar[Kind]
    spec: str
    fingerprint: str
    dim: int
    device: str
    dtype: str
    description: dict[str, Any]
    convert_rgb_first: bool = True

    @abstractmethod
    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Return the model's input for one photo, ``[3, h, w]`` float32. Safe to call from threads."""

    @abstractmethod
    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Return ``[n, dim]`` float32 on the CPU for ``[n, 3, h, w]``.

        A dual encoder returns image embeddings of unit length, a classifier logits.
        """


class DualEncoder(Model):
    """An image and a text tower that share an embedding space (CLIP, SigLIP, CoCa).

    Attributes:
        logit_scale: factor on cosine similarity before the softmax, already exponentiated.
        text_fingerprint: SHA-256 over the text tower's weights, its configuration and its tokenizer.
    """

    kind: ClassVar[Kind] = "dual_encoder"
    logit_scale: float
    text_fingerprint: str

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return text embeddings ``[n, dim]``, float32 and of unit length, in the order of ``texts``."""


class Classifier(Model):
    """A network with one logit per class.

    Attributes:
        imagenet_columns: ImageNet-1K index of each logit, None where the class has none.
        class_names: name of each logit.
    """

    kind: ClassVar[Kind] = "classifier"
    imagenet_columns: tuple[int | None, ...]
    class_names: tuple[str, ...]
