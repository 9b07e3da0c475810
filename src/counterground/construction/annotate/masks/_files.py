"""Masks as the page shows them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from counterground.construction.annotate.masks._queue import MaskedPhoto
from counterground.construction.pool import leads_out
from counterground.errors import UsageError
from counterground.masks import read_mask
from counterground.photos import UnreadablePhoto, photo_size


def usable_mask(folder: Path, photo: MaskedPhoto) -> npt.NDArray[np.uint8]:
    """Return a photo's mask ``[h, w]``, 0 to 255.

    Raises:
        UsageError: there is none, or its file is missing, damaged, of another size than the photo, or outside
            the folder of masks.
    """
    if photo.mask is None:
        raise UsageError(f"There is no mask to accept ({photo.reason}): draw one, or reject the photo.")
    if leads_out(folder, folder / photo.mask):
        raise UsageError("The file of this mask lies outside the folder of masks.")
    try:
        found = read_mask(folder / photo.mask, photo_size(photo.file))
    except UnreadablePhoto as error:
        raise UsageError(f"The photo cannot be read: {error.reason}.") from error
    if found.mask is None:
        raise UsageError(f"The mask cannot be used: {found.detail or found.reason}.")
    return found.mask


def mask_picture(folder: Path, photo: MaskedPhoto) -> bytes:
    """Return a PNG of a photo's mask: white everywhere, with the object's share of each pixel as alpha.

    Raises:
        UsageError: see ``usable_mask``.
    """
    alpha = Image.fromarray(usable_mask(folder, photo))
    written = BytesIO()
    Image.merge("LA", (Image.new("L", alpha.size, 255), alpha)).save(written, "PNG", compress_level=1)
    return written.getvalue()
