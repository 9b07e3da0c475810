"""A family of models: ``colour:SEED`` sees the mean colour of a photo and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torchvision.transforms.functional import pil_to_tensor

from counterground.errors import UsageError
from counterground.models import Classifier, Family, LoadOptions, ModelInfo
from counterground.photos import imagenet_names

if TYPE_CHECKING:
    from PIL import Image


class MeanColour(Classifier):
    """One logit for each class of ImageNet, a random linear function of the mean colour."""

    dim = 1000
    imagenet_columns = tuple(range(1000))
    class_names = imagenet_names("openai")

    def __init__(self, spec: str, options: LoadOptions) -> None:
        self.spec = spec
        self.fingerprint = f"mean colour, version 1, {spec}"  # whatever changes the logits belongs here
        self.device, self.dtype = "cpu", "fp32"
        self.description = {"architecture": "mean colour"}
        generator = torch.Generator().manual_seed(_seed(spec))
        self._weights = torch.randn(3, self.dim, generator=generator)

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Return the photo at 32 x 32 pixels, ``[3, 32, 32]`` in [-1, 1]."""
        return pil_to_tensor(image.resize((32, 32))).float() / 127.5 - 1

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Return logits ``[n, 1000]`` for ``[n, 3, 32, 32]``."""
        return batch.mean((2, 3)) @ self._weights


def _seed(spec: str) -> int:
    seed = spec.partition(":")[2]
    if not seed.isdigit():
        raise UsageError(f"{spec}: {seed!r} is not a seed; write a number, as in colour:0.")
    return int(seed)


COLOUR = Family(
    prefix="colour",
    usage="colour:SEED",
    resolve=_seed,
    load=MeanColour,
    kind=lambda spec: "classifier",
    list=lambda: [ModelInfo("colour:0", "classifier", 3000, None, needs_network=False)],
)
