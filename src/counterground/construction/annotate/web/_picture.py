"""A photo as browsers show it."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

from PIL import Image

from counterground.photos import UnreadablePhoto, image_type, load_photo

_LOSSLESS_PIXELS = 2_000_000
_LONGEST_JPEG = 65_500
_SHOWN_BY_BROWSERS = {".jpg", ".png", ".webp", ".avif", ".bmp"}  # as they are; GIFs may be animations


def picture(path: Path, photo_id: str | None = None) -> tuple[bytes, str]:
    """Return the bytes of a photo and its content type, which its first bytes decide, never its name.

    Files in formats that browsers show are sent unchanged. Others that ``load_photo`` reads are re-encoded,
    small ones as PNG, large ones as JPEG; so are animations, since models see only the first frame.

    Raises:
        UnreadablePhoto: the photo is missing, not in a format that ``load_photo`` reads, or has another
            SHA-256 than ``photo_id``, if that is given.
    """
    data = _read(path)
    kind = image_type(data)
    if kind is not None and kind.suffix in _SHOWN_BY_BROWSERS:
        shown = data, kind.mime
    else:
        shown = _written(load_photo(path).image)
    if photo_id is not None and hashlib.sha256(data).hexdigest() != photo_id:
        raise UnreadablePhoto(path, "it has changed since it was added to the pool")
    return shown


def picture_as_stored(path: Path, photo_id: str) -> tuple[bytes, str]:
    """Return the same as ``picture``, but never rotated upright or scaled: its pixels match those of a mask.

    Browsers follow the orientation in a photo's EXIF, and the size there if it fits the resolution there.

    Raises:
        UnreadablePhoto: see ``picture``; or the photo is damaged or has another ``photo_id``.
    """
    image = load_photo(path, expect_id=photo_id).image
    image.info.pop("exif", None)
    return _written(image)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(path, (error.strerror or str(error)).lower()) from error


def _written(image: Image.Image) -> tuple[bytes, str]:
    written = BytesIO()
    if image.width * image.height <= _LOSSLESS_PIXELS or max(image.size) > _LONGEST_JPEG:
        image.save(written, "PNG", compress_level=1)
        return written.getvalue(), "image/png"
    image.save(written, "JPEG", quality=95)
    return written.getvalue(), "image/jpeg"
