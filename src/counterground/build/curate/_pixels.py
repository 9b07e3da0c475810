"""What can be read off the pixels of one photo, each a number; nothing is judged here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# Models see 224 to 512 pixels: blur that is gone at this size does no harm, and figures become comparable.
_SIDE = 512
_TILE = 32
# Sharpness is that of the sixteenth of the tiles with most detail: a smooth sky or a blurred background does
# not make a photo blurred, and one grain of dust does not make it sharp.
_DETAILED = 16
# Gradients of two grey levels are noise and rounding; without this, they would decide in smooth photos.
_NOISE = 4.0
# A direction with less detail than this, as a fraction of the most, says nothing: stripes are sharp across.
_LEAST_DETAIL = 0.02
_DARK, _BRIGHT = 15, 250
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))

_Grey = np.ndarray[Any, np.dtype[np.float32]]


class PixelMeasures(NamedTuple):
    """Figures of one photo; ``CurateSettings`` explains the units, ``phash`` is a number of 64 bits."""

    width: int
    height: int
    sharpness: float
    dark: float
    bright: float
    contrast: float
    entropy: float
    phash: int


def measure(image: Image.Image) -> PixelMeasures:
    """Measure a decoded photo."""
    from PIL import Image

    grey = image.convert("L")
    phash = perceptual_hash(grey)
    longest = max(grey.size)
    if longest > _SIDE:
        size = tuple(max(1, round(side * _SIDE / longest)) for side in grey.size)
        grey = grey.resize(size, Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    pixels = np.asarray(grey)
    counts = np.bincount(pixels.ravel(), minlength=256) / pixels.size
    present = counts[counts > 0]
    low, high = np.searchsorted(counts.cumsum(), [0.05, 0.95])
    return PixelMeasures(
        *image.size,
        sharpness(pixels.astype(np.float32)),
        dark=float(counts[: _DARK + 1].sum()),
        bright=float(counts[_BRIGHT:].sum()),
        contrast=float(high - low),
        entropy=float(-(present * np.log2(present)).sum()) + 0.0,
        phash=phash,
    )


def perceptual_hash(image: Image.Image) -> int:
    """Return imagehash's ``phash``: which of the 64 lowest cosine frequencies exceed their median."""
    import imagehash

    bits = imagehash.phash(image).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def sharpness(grey: _Grey) -> float:
    """Return the energy of second over first differences of the most detailed tiles.

    The ratio does not depend on contrast, unlike the variance of the Laplacian; it is the mean square
    frequency of the detail, 1 / (2 s^2) for an edge blurred by a Gaussian of s pixels. Of four directions
    the lowest counts, since motion blur leaves edges along it sharp.

    Args:
        grey: ``[h, w]``, 0 to 255.
    """
    if min(grey.shape) < 3:
        return 0.0
    found = [_along(grey, *direction) for direction in _DIRECTIONS]
    most = max(energy for _, energy in found)
    return min(ratio for ratio, energy in found if energy >= _LEAST_DETAIL * most)


def _along(grey: _Grey, down: int, right: int) -> tuple[float, float]:
    """Return the ratio of the most detailed tiles in one direction, and the energy of their differences."""
    rows, columns = grey.shape

    def shifted(steps: int) -> _Grey:
        top, left = 1 + steps * down, 1 + steps * right
        return grey[top : rows - 2 + top, left : columns - 2 + left]

    before, here, after = shifted(-1), shifted(0), shifted(1)
    first, area = _tile_sums(np.square((after - before) / 2))
    second, _ = _tile_sums(np.square(after - 2 * here + before))
    detailed = np.argsort(first)[-max(1, len(first) // _DETAILED) :]
    ratio = np.median(second[detailed] / (first[detailed] + _NOISE * area))
    return float(ratio), float(first[detailed].mean() / (down**2 + right**2))


def _tile_sums(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Sums over whole tiles, and their pixels; a photo smaller than one tile is one."""
    rows, columns = (side // _TILE for side in values.shape)
    if not rows or not columns:
        return np.array([values.sum()]), values.size
    whole = values[: rows * _TILE, : columns * _TILE]
    return whole.reshape(rows, _TILE, columns, _TILE).sum(axis=(1, 3)).ravel(), _TILE**2
