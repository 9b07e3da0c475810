"""A photo's bytes as a browser can show them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from counterground.photos import UnreadablePhoto, load_photo

_LOSSLESS_PIXELS = 2_000_000
_TYPES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"BM", "image/bmp"))


def picture(path: Path) -> tuple[bytes, str]:
    """Return the bytes and the content type of a photo, which its first bytes decide, never its name.

    Files of formats that browsers show go out as they are. Others that ``load_photo`` reads are written anew,
    small ones as PNG, large ones as JPEG; so are animations, of which models see the first frame.

    Raises:
        UnreadablePhoto: it is missing, or none of the formats ``load_photo`` reads.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(path, (error.strerror or str(error)).lower()) from error
    kind = _kind(data)
    if kind is not None:
        return data, kind
    image = load_photo(path).image
    written = BytesIO()
    if image.width * image.height <= _LOSSLESS_PIXELS:
        image.save(written, "PNG", compress_level=1)
        return written.getvalue(), "image/png"
    image.save(written, "JPEG", quality=95)
    return written.getvalue(), "image/jpeg"


def _kind(data: bytes) -> str | None:
    for start, kind in _TYPES:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp" and data[8:12] in {b"avif", b"avis"}:
        return "image/avif"
    return None
