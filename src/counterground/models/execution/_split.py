"""A preprocessing in two exact halves: a crop in 8 bits, which models can share, and its normalisation."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL import Image


_TO_TENSOR = (
    "torchvision.transforms.transforms.ToTensor",
    "open_clip.transform.MaybeToTensor",
    "timm.data.transforms.MaybeToTensor",
)
_NORMALIZE = "torchvision.transforms.transforms.Normalize"
_TO_RGB = "open_clip.transform.MaybeConvertMode"


@dataclass(frozen=True)
class SplitTransform:
    """``normalise(crop(photo)[None])[0]`` equals the model's own preprocessing to the last bit.

    Attributes:
        geometry: all that decides the crop, including library versions; models with the same one share it.
        crop: photo -> ``[3, h, w]`` uint8. Safe to call from threads; leaves the photo as it was.
        normalise: ``[n, 3, h, w]`` uint8 -> float32.
    """

    geometry: str
    crop: Callable[[Image.Image], torch.Tensor]
    normalise: Callable[[torch.Tensor], torch.Tensor]


def split_transform(transform: Any, *, rgb_first: bool = True) -> SplitTransform | None:
    """Split a transform of torchvision, OpenCLIP or timm; return None if it has unknown steps.

    Known steps are resizing and cropping in Pillow, followed by ``ToTensor`` and ``Normalize``. A transform
    that has a ``split`` of its own keeps it.

    Args:
        transform: photo -> ``[3, h, w]`` float32.
        rgb_first: whether photos are converted to RGB before it is called.
    """
    if isinstance(found := getattr(transform, "split", None), SplitTransform):
        return found
    steps = _steps(transform)
    kinds = [f"{type(step).__module__}.{type(step).__name__}" for step in steps[-2:]]
    if len(kinds) < 2 or kinds[0] not in _TO_TENSOR or kinds[1] != _NORMALIZE:
        return None
    described = [_describe(step) for step in steps[:-2]]
    if None in described:
        return None
    versions = {name: version(name) for name in ("pillow", "torchvision")}
    parts = [["RGB"] if rgb_first else [], *(each for each in described if each or not rgb_first), versions]
    return SplitTransform(
        json.dumps(parts, sort_keys=True),
        partial(_crop, steps[:-2], rgb_first),
        partial(_normalise, steps[-1].mean, steps[-1].std),
    )


def _steps(transform: Any) -> Sequence[Any]:
    if "torchvision" not in sys.modules:
        return []  # it is none of torchvision's, which takes seconds to import
    from torchvision import transforms
    from torchvision.transforms._presets import ImageClassification

    if type(transform) is transforms.Compose:
        return list(transform.transforms)
    if type(transform) is ImageClassification:
        return [
            transforms.Resize(transform.resize_size, transform.interpolation, antialias=transform.antialias),
            transforms.CenterCrop(transform.crop_size),
            transforms.ToTensor(),
            transforms.Normalize(transform.mean, transform.std),
        ]
    return []


def _describe(step: Any) -> list[Any] | None:
    """Return what a step does to a photo, empty if it only converts to RGB; None if the step is unknown."""
    from torchvision import transforms

    if type(step) is transforms.Resize:
        size = [step.size] if isinstance(step.size, int) else list(step.size)
        return ["resize", size, step.interpolation.value, step.max_size]
    if type(step) is transforms.CenterCrop:
        return ["crop", list(step.size)]
    kind = f"{type(step).__module__}.{type(step).__name__}"
    return [] if kind == _TO_RGB and step.mode == "RGB" else None


def _crop(steps: Sequence[Any], rgb_first: bool, image: Image.Image) -> torch.Tensor:
    from torchvision.transforms.functional import pil_to_tensor

    if rgb_first and image.mode != "RGB":
        image = image.convert("RGB")
    for step in steps:
        image = step(image)
    return pil_to_tensor(image).contiguous()  # type: ignore[no-any-return]


def _normalise(mean: Any, std: Any, crops: torch.Tensor) -> torch.Tensor:
    import torch
    from torchvision.transforms.functional import normalize

    return normalize(crops.to(torch.float32).div_(255), mean, std, inplace=True)  # type: ignore[no-any-return]
