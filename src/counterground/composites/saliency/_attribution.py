"""An attribution map by occlusion: parts of a photo are made grey, one after the other (Captum)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from counterground.composites._recipe import GREY, OBJECT
from counterground.errors import needs_extra

if TYPE_CHECKING:
    import torch

    from counterground.composites._recipe import Floats, Pixels

GRID = 8
"""Cells across and down."""

Score = Callable[[Sequence[Image.Image]], npt.NDArray[np.float32]]
"""From ``n`` RGB images to a score of each ``[n]``."""


def attribute(photo: Pixels, mask: Pixels, score: Score, batch_size: int) -> Floats:
    """Return how much a score falls when a part of a photo is made grey: ``[p]``, of `parts_of` its mask.

    Parts are the cells of a grid; a cell that the object's outline cuts is two parts: a part lies inside or
    outside the object, never in both (occlusion, Zeiler and Fergus 2014). Only scores are needed, so any
    model will do.

    Args:
        photo: ``[h, w, 3]``.
        mask: ``[h, w]``, 0 to 255.
        score: score of the model.
        batch_size: number of photos scored at once.

    Raises:
        MissingExtraError: Captum is not installed.
    """
    import torch

    def scored(photos: torch.Tensor) -> torch.Tensor:
        pixels = photos.permute(0, 2, 3, 1).to(torch.uint8).numpy()
        return torch.from_numpy(score([Image.fromarray(each) for each in pixels]))

    found = (
        _captum()
        .FeatureAblation(scored)
        .attribute(
            torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float(),
            baselines=GREY,
            feature_mask=torch.from_numpy(parts_of(mask))[None, None],
            perturbations_per_eval=batch_size,
        )
    )
    return np.asarray(found[0, 0].numpy().ravel()[_first(mask)], np.float32)


def parts_of(mask: Pixels) -> npt.NDArray[np.int64]:
    """Return the number of each pixel's part, ``[h, w]``, from 0."""
    rows, columns = (np.arange(side) * min(GRID, side) // side for side in mask.shape)
    cells = 2 * (GRID * rows[:, None] + columns) + (mask >= OBJECT)
    return np.unique(cells, return_inverse=True)[1].reshape(mask.shape)


def share_outside(attribution: Floats, mask: Pixels) -> float | None:
    """Return the share (fraction) of all attribution, in absolute terms, of parts outside the object.

    None if no part has any.

    Args:
        attribution: ``[p]``, as `attribute` returns it.
        mask: ``[h, w]``, 0 to 255.
    """
    amounts = np.abs(attribution.astype(np.float64))
    total = amounts.sum()
    if not np.isfinite(total) or total == 0:
        return None
    return float(amounts[mask.ravel()[_first(mask)] < OBJECT].sum() / total)


def _first(mask: Pixels) -> npt.NDArray[np.int64]:
    """Return the place of one pixel of each part."""
    return np.asarray(np.unique(parts_of(mask), return_index=True)[1])


def check_installed() -> None:
    """Check that attributions can be computed.

    Raises:
        MissingExtraError: Captum is not installed.
    """
    _captum()


def _captum() -> Any:
    with needs_extra("intervention"):
        import captum.attr
    return captum.attr
