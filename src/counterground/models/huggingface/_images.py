"""One photo at a time through a model's own transformers image processor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError
from counterground.models.huggingface._loading import HfSource, from_pretrained

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from PIL import Image


_LARGEST_SIDE = 2**13  # pixels
LARGEST_SIDES = dict.fromkeys(("height", "width", "shortest_edge", "longest_edge"), _LARGEST_SIDE)
LARGEST_OF_LVLMS = {"height": _LARGEST_SIDE, "width": _LARGEST_SIDE, "shortest_edge": _LARGEST_SIDE**2}
"""The same, where ``shortest_edge`` may be the fewest pixels of a whole photo."""
_PATCH_INPUTS = {"pixel_values", "pixel_attention_mask", "spatial_shapes"}


class HfTransform:
    """Turns a photo into one tensor, as the model's image processor does.

    The processor is the one transformers picks for the model: in version 5 the one that resizes tensors with
    torchvision (with anti-aliasing, at most 2 of 255 levels away from Pillow), or Pillow's on request. Models
    of variable resolution (SigLIP 2 NaFlex) take patches, their mask and the grid's shape; these travel as
    one tensor ``[patches, width + 3]`` so that photos can be stacked, and `inputs` splits it again.

    Raises:
        CounterGroundError: photos of different shapes do not become tensors of one shape.
    """

    def __init__(self, spec: str, processor: Any) -> None:
        self.processor = processor
        self.patches = "spatial_shapes" in getattr(processor, "model_input_names", ())
        backend = getattr(processor, "backend", None)
        self.settings: dict[str, Any] = {
            **_plain(processor.to_dict()),
            "class": type(processor).__name__,
            "backend": backend or ("pil" if type(processor).__name__.endswith("Pil") else "its own"),
        }
        check_sizes(spec, self.settings)
        self._check(spec)

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Return ``[3, h, w]`` float32, or ``[patches, width + 3]`` for a model that takes patches."""
        import torch

        made = self.processor(image, return_tensors="pt")
        pixels: torch.Tensor = made["pixel_values"][0].float()
        if not self.patches:
            return pixels
        mask = made["pixel_attention_mask"][0].float()[:, None]
        shape = made["spatial_shapes"][0].float().expand(len(pixels), 2)
        return torch.cat([pixels, mask, shape], dim=1)

    def inputs(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the network's inputs, by name, for a batch of outputs of `__call__` (or of zeros)."""
        import torch

        if not self.patches:
            return {"pixel_values": batch}
        # Zeros stand in for photos that cannot be read and fill the last block; they too need a grid.
        shapes = batch[:, 0, -2:].long().clamp(min=1)
        mask = batch[..., -3].to(torch.int32)
        return {"pixel_values": batch[..., :-3], "pixel_attention_mask": mask, "spatial_shapes": shapes}

    def __repr__(self) -> str:
        return json.dumps(self.settings, sort_keys=True)

    def _check(self, spec: str) -> None:
        from PIL import Image

        made = [self.processor(Image.new("RGB", size), return_tensors="pt") for size in ((48, 40), (40, 64))]
        unknown = set(made[0]) - (_PATCH_INPUTS if self.patches else {"pixel_values"})
        shapes = {tuple(each["pixel_values"].shape[1:]) for each in made}
        if unknown or len(shapes) > 1 or len(min(shapes)) != (2 if self.patches else 3):
            what = (
                f"also gives {', '.join(sorted(unknown))}" if unknown else "gives photos of different shapes"
            )
            raise CounterGroundError(
                f"{spec}: its image processor {type(self.processor).__name__} {what}, which cannot be used "
                "here. Set a fixed size with a crop in its preprocessor_config.json."
            )


def load_transform(source: HfSource) -> HfTransform:
    """Return the transform of a source; call it inside `reading`.

    Raises:
        CounterGroundError: see `HfTransform`.
    """
    from transformers import AutoImageProcessor

    chosen = {} if source.backend is None else {"backend": source.backend}
    return HfTransform(source.spec, from_pretrained(AutoImageProcessor, source, **chosen))


def check_sizes(spec: str, settings: Any, largest: Mapping[str, int] = LARGEST_SIDES) -> None:
    """Refuse an image processor that would make a photo larger than memory.

    Args:
        spec: the specification, for messages.
        settings: those of the image processor.
        largest: the largest value of settings, by name.

    Raises:
        CounterGroundError: one is larger.
    """
    if not isinstance(settings, dict):
        return
    for name, value in settings.items():
        if isinstance(value, int | float) and value > largest.get(name, value):
            raise CounterGroundError(f"{spec}: its image processor has {value!r:.20} as {name}.")
        check_sizes(spec, value, largest)


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON types, without the place they were read from."""
    text = json.dumps({key: value for key, value in settings.items() if not key.startswith("_")}, default=str)
    plain: dict[str, Any] = json.loads(text)
    return plain
