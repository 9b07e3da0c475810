"""The losses of fine-tuning, over captions that repeat: each distinct caption is encoded once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


_LARGEST_LOGIT_SCALE = 100.0  # as CLIP (Radford et al., 2021, section 2.5)


def similarities(model: Any, photos: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return cosine similarities ``[photos, captions]``, float32."""
    from torch.nn.functional import normalize

    images = normalize(model.encode_image(photos).float(), dim=-1)
    return images @ normalize(model.encode_text(tokens).float(), dim=-1).T


def logit_scale(model: Any) -> torch.Tensor:
    """Return the model's scale, capped as CLIP's.

    The parameter itself is capped, as CLIP's training does after each step: a cap of its exponential would
    have no gradient where released CLIPs start, at 100, and they could not change it.
    """
    import torch

    with torch.no_grad():
        model.logit_scale.clamp_(max=math.log(_LARGEST_LOGIT_SCALE))
    scale: torch.Tensor = model.logit_scale.exp()
    return scale


def clip_loss(model: Any, photos: torch.Tensor, tokens: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Return CLIP's symmetric loss over a batch of pairs.

    Args:
        model: OpenCLIP model.
        photos: ``[n, 3, side, side]``.
        tokens: ``[u, context]`` of the distinct captions.
        which: ``[n]`` index of each photo's caption; equal captions are negatives of each other, as in CLIP.
            This adds only a constant: equal captions have equal logits, so they share the right answer.
    """
    import torch
    from torch.nn.functional import cross_entropy

    used, place = torch.unique(which, return_inverse=True)
    logits = (logit_scale(model) * similarities(model, photos, tokens[used]))[:, place]
    pairs = torch.arange(len(which), device=logits.device)
    loss: torch.Tensor = (cross_entropy(logits, pairs) + cross_entropy(logits.T, pairs)) / 2
    return loss


def siglip_loss(
    model: Any, bias: torch.Tensor, photos: torch.Tensor, tokens: torch.Tensor, which: torch.Tensor
) -> torch.Tensor:
    """Return SigLIP's loss (Zhai et al., 2023): every photo with every caption of the batch, match or not.

    Unlike in the original, every caption equal to a photo's own is a match: with nine captions, correct ones
    elsewhere in the batch would otherwise count as wrong.
    """
    import torch
    from torch.nn.functional import logsigmoid

    used, place = torch.unique(which, return_inverse=True)
    logits = (logit_scale(model) * similarities(model, photos, tokens[used]))[:, place] + bias
    signs = (which[:, None] == which[None]).to(logits.dtype) * 2 - 1
    loss: torch.Tensor = -logsigmoid(signs * logits).sum() / len(which)
    return loss
