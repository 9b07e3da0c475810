"""An encoder that is a PyTorch network, run eagerly or by another runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from counterground.models._base import Encoder
from counterground.models._fingerprint import combine
from counterground.models.execution import Forward, Runtime, autocast, runtimes_for

if TYPE_CHECKING:
    import torch
    from PIL import Image


class NetworkEncoder(Encoder):
    """An encoder whose photos go through one network. Subclasses set it and call `forward`.

    Attributes:
        transform: photo -> the network's input.
        image_network: from ``[n, 3, h, w]`` on ``device`` to logits or embeddings.
        weights: SHA-256 of each tensor of the network, as in the fingerprint.
    """

    transform: Callable[[Image.Image], torch.Tensor]
    image_network: torch.nn.Module
    weights: Mapping[str, str]
    _eager_fingerprint: str
    _runtime: Runtime | None = None
    _forward: Forward | None = None

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        if self.convert_rgb_first and image.mode != "RGB":
            image = image.convert("RGB")
        return self.transform(image)

    def grey_photo(self) -> torch.Tensor:
        """Return the network's input for a grey photo, ``[1, 3, h, w]`` on its device."""
        from PIL import Image

        return self.preprocess(Image.new("RGB", (256, 256), (128, 128, 128)))[None].to(self.device)

    @cached_property
    def runtimes(self) -> tuple[Runtime, ...]:
        return runtimes_for(self.device, self.dtype)

    def run_by(self, runtime: Runtime | None) -> None:
        if runtime == self._runtime:
            return
        if self._runtime is None:
            self._eager_fingerprint = self.fingerprint
        self._runtime, self._forward = runtime, None
        self.fingerprint = self._eager_fingerprint
        if runtime:
            self.fingerprint = combine(eager=self._eager_fingerprint, runtime=runtime.name)

    def forward(self, batch: torch.Tensor) -> Any:
        """Return the network's output for a batch; the first batch starts a runtime."""
        import torch

        batch = batch.to(self.device)
        if self._forward is None:
            self._forward = self._runtime.start(self.image_network, batch) if self._runtime else None
        with torch.inference_mode(), autocast(self.device, self.dtype):
            return (self._forward or self.image_network)(batch)


def image_tower(
    network: torch.nn.Module, features: Callable[[Any, torch.Tensor], torch.Tensor]
) -> torch.nn.Module:
    """Return the image side of a network as a separate network: ``features(network, batch)``."""
    import torch

    class ImageTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return features(self.network, batch)

    return ImageTower()
