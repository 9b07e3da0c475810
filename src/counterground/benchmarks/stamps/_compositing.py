"""Place a cut-out on a background: the one way this package makes every composite."""

from __future__ import annotations

from PIL import Image


def composite(
    foreground: Image.Image,
    background: Image.Image,
    *,
    size: int,
    scale: float,
    center: tuple[float, float],
    flip: bool = False,
) -> tuple[Image.Image, Image.Image]:
    """Paste an RGBA cut-out on a square background photograph.

    Args:
        foreground: RGBA cut-out; its alpha is the mask.
        background: square RGB photograph, resized to ``size``.
        size: side of the result in pixels.
        scale: longer side of the cut-out as a fraction of ``size`` (0 to 1].
        center: centre of the cut-out (x, y) as fractions of ``size``; moved inside if it would be cut off.
        flip: mirror the cut-out left to right.

    Returns:
        The RGB photo and its L mask (255 = object), both ``size`` x ``size``.
    """
    cutout = foreground.convert("RGBA")
    if flip:
        cutout = cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    ratio = scale * size / max(cutout.size)
    width, height = (max(1, round(side * ratio)) for side in cutout.size)
    cutout = cutout.resize((width, height), Image.Resampling.LANCZOS)
    left = round(min(max(center[0] * size - width / 2, 0), size - width))
    top = round(min(max(center[1] * size - height / 2, 0), size - height))
    photo = background.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    alpha = cutout.getchannel("A")
    photo.paste(cutout.convert("RGB"), (left, top), alpha)
    mask = Image.new("L", (size, size))
    mask.paste(alpha, (left, top))
    return photo, mask
