"""Contrastive language-image training on captions that repeat: batches and loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.paper.training._composites import Painter
from counterground.paper.training._planting import Planting

if TYPE_CHECKING:
    import torch

_LARGEST_LOGIT_SCALE = 100.0  # as CLIP (Radford et al., 2021, section 2.5)


@dataclass(frozen=True)
class CaptionedBatch:
    """Photos and captions of one step.

    Attributes:
        photos: ``[n, 3, size, size]`` float32, normalised.
        classes: ``[n]`` class each caption names.
        tokens: ``[n + k, context]``: a caption for each photo, then k captions that fit none.
    """

    photos: torch.Tensor
    classes: torch.Tensor
    tokens: torch.Tensor


class Captions:
    """Write captions as tokens.

    Args:
        names: class names.
        others: names no photo shows; captions of them only compete.
        templates: prompt templates with one ``{}``; the first is used for ``first_share`` of the captions.
        tokenizer: texts -> ``[n, context]`` tokens.
        first_share: that fraction; the others draw from all templates, the first included.
    """

    def __init__(
        self,
        names: Sequence[str],
        others: Sequence[str],
        templates: Sequence[str],
        tokenizer: Callable[[list[str]], torch.Tensor],
        first_share: float = 0.3,
    ) -> None:
        self._names, self._others, self._templates = tuple(names), tuple(others), tuple(templates)
        self._tokens = cache(lambda text: tokenizer([text])[0])
        self._first_share = first_share

    def write(self, classes: Sequence[int], competitors: int, rng: np.random.Generator) -> torch.Tensor:
        """Return tokens of a caption for each of ``classes`` and for ``competitors`` names no photo shows."""
        import torch

        count = min(competitors, len(self._others))
        chosen = rng.choice(len(self._others), count, replace=False)
        names = [self._names[index] for index in classes] + [self._others[index] for index in chosen]
        return torch.stack([self._tokens(self._template(rng).replace("{}", name)) for name in names])

    def _template(self, rng: np.random.Generator) -> str:
        first = rng.random() < self._first_share
        return self._templates[0 if first else int(rng.integers(len(self._templates)))]


def captioned_batch(
    planting: Planting,
    painter: Painter,
    captions: Captions,
    rng: np.random.Generator,
    *,
    photos: int,
    competitors: int,
    mean: float,
    std: float,
) -> CaptionedBatch:
    """Draw, paint and caption one batch; everything random comes from ``rng``."""
    import torch

    draws = [planting.draw(rng) for _ in range(photos)]
    pixels = torch.from_numpy(np.stack([painter.paint(draw, rng) for draw in draws])).float() / 255
    classes = [draw.caption for draw in draws]
    tokens = captions.write(classes, competitors, rng)
    # Channels stay last in memory: a third faster on CPUs.
    return CaptionedBatch(((pixels - mean) / std).permute(0, 3, 1, 2), torch.tensor(classes), tokens)


def contrastive_loss(model: Any, batch: CaptionedBatch) -> torch.Tensor:
    """Return CLIP's symmetric loss in which all captions of a class are positives.

    With 45 classes a batch holds many such captions, and treating them as negatives would teach the model
    to separate photos of one class (as in UniCL, Yang et al., 2022).
    """
    from torch.nn.functional import log_softmax, normalize

    photos = normalize(model.encode_image(batch.photos), dim=-1)
    texts = normalize(model.encode_text(batch.tokens), dim=-1)
    logits = model.logit_scale.exp().clamp(max=_LARGEST_LOGIT_SCALE) * photos @ texts.T
    count = len(batch.classes)
    same = (batch.classes[:, None] == batch.classes[None]).float()
    share = same / same.sum(dim=1, keepdim=True)
    to_texts = -(share * log_softmax(logits, dim=1)[:, :count]).sum(dim=1).mean()
    to_photos = -(share * log_softmax(logits[:, :count].T, dim=1)).sum(dim=1).mean()
    loss: torch.Tensor = (to_texts + to_photos) / 2
    return loss
