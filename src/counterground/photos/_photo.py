"""Photos, as files or made in memory: their hashes, their types, and decoding one safely."""

from __future__ import annotations

import hashlib
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image

from counterground.errors import CounterGroundError
from counterground.files import file_sha256, open_regular
from counterground.text import one_line

_SUFFIXES = "avif bmp gif jfif jpe jpeg jpg mpo pgm png ppm tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _SUFFIXES.split())
"""Lower-case suffixes of the files that readers take for photos."""

MOST_PHOTO_BYTES = 2**30
"""The most bytes of a photo's file: twice what the most pixels take in 8-bit RGB."""

# Where PIL raises instead of warning: twice its default limit, whatever the host program set that limit to.
_MOST_PIXELS = 2 * (1024**3 // 4 // 3)
# Resizing the shorter side of 1 x 60,000 pixels to 224 would take gigabytes.
_LARGEST_RATIO = 200
# A task for a thread costs more than hashing a small file.
_HASHED_TOGETHER = 64
_MISSING = b"CounterGround has no photo here: "
_LONGEST_REASON = 300
_CHANGED = "content changed since the manifest was written"
_LARGEST_12_BIT = 2**12 - 1
_SIXTEEN_BIT = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})


class ImageType(NamedTuple):
    """The usual suffix of a type of image, with the dot, and its MIME type."""

    suffix: str
    mime: str


# PIL's other plugins read documents and icons, and one starts a PostScript interpreter.
_TYPES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "GIF": ".gif",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "PPM": ".ppm",
    "AVIF": ".avif",
}


class UnreadablePhoto(CounterGroundError):  # noqa: N818 - the field speaks of unreadable photos
    """A photo that cannot be read; ``path`` says which and ``reason`` why, in a few words."""

    def __init__(self, path: AnyPhoto, reason: str) -> None:
        super().__init__(f"Cannot read the photo {path}: {reason}.")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadablePhoto], tuple[AnyPhoto, str]]:
        return UnreadablePhoto, (self.path, self.reason)


class MadePhoto(ABC):
    """A photo made in memory, from files, whenever it is read.

    It can be pickled and hashed, and the same recipe makes the same pixels.
    """

    @property
    @abstractmethod
    def photo_id(self) -> str:
        """SHA-256 of the recipe in hex: of all that decides the pixels, with files by their content."""

    @property
    @abstractmethod
    def files(self) -> Mapping[Path, str]:
        """The files that it is made from, with the SHA-256 of each in hex."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Width and height in pixels.

        Raises:
            UnreadablePhoto: a file that decides it cannot be read.
        """

    @abstractmethod
    def absolute(self) -> MadePhoto:
        """Return the same photo, with its files by their absolute paths."""

    @abstractmethod
    def make(self) -> Image.Image:
        """Return the photo in RGB.

        Raises:
            UnreadablePhoto: one of its files is missing, has other content, or cannot be read.
        """


AnyPhoto = Path | MadePhoto
"""What a photo is read from."""


@dataclass(frozen=True)
class LoadedPhoto:
    """A decoded photo.

    Attributes:
        image: RGB, or as stored under ``rgb=False``; fully decoded, orientation tag not applied.
        converted: whether ``image`` is RGB and the stored mode was not.
        mode: PIL's mode of the stored pixels ("RGB", "P", "CMYK", ...).
    """

    image: Image.Image
    converted: bool
    mode: str

    def in_rgb(self, path: AnyPhoto) -> LoadedPhoto:
        """Return the photo in RGB; this one keeps its mode.

        Raises:
            UnreadablePhoto: the range of its values is not defined, or it cannot be converted.
        """
        if self.image.mode == "RGB":
            return self
        with _decoding(path):
            return LoadedPhoto(_to_rgb(path, self.image.copy()), converted=True, mode=self.mode)


def image_type(head: bytes) -> ImageType | None:
    """Return the type of an image from its first 16 bytes or more, None if they are not an image.

    Suffixes, URLs and HTTP headers are ignored: they are often wrong.
    """
    return next((ImageType(_TYPES[name], Image.MIME[name]) for name in _formats(head[:16])), None)


def _formats(prefix: bytes) -> Iterator[str]:
    """Yield the PIL formats that the first bytes of a file may belong to, in the order of ``_TYPES``."""
    Image.init()
    for name in _TYPES:
        _, accept = Image.OPEN.get(name, (None, None))
        if accept is not None and accept(prefix) is True:
            yield name


def photo_missing(reason: str, place: str) -> bytes:
    """Return a file to put in place of a missing photo: reading it gives ``reason``, a few words.

    ``place`` says where the photo should be. It makes the file different from those of other missing photos,
    since equal files would count as copies of one photo.
    """
    return _MISSING + f"{one_line(reason)}\n{hashlib.sha256(place.encode()).hexdigest()}".encode()


def why_missing(data: bytes) -> str | None:
    """Return the reason in a file that ``photo_missing`` made, None for any other."""
    if not data.startswith(_MISSING):
        return None
    reason = data[len(_MISSING) :].partition(b"\n")[0]
    return one_line(reason[:_LONGEST_REASON].decode(errors="replace"))


def photo_id(path: str | AnyPhoto) -> str:
    """Return the SHA-256 of the file's bytes in hex, or that of the recipe if its files are unchanged.

    Raises:
        UnreadablePhoto: a file is missing, may not be read, or is not a file; or one that the photo is made
            from has different content.
    """
    if isinstance(path, MadePhoto):
        for part, content in path.files.items():
            if photo_id(part) != content:
                raise UnreadablePhoto(part, _CHANGED)
        return path.photo_id
    try:
        return file_sha256(path)
    except OSError as error:
        raise UnreadablePhoto(Path(path), _os_reason(error)) from error


def is_intact(path: AnyPhoto, content: str) -> bool:
    """Return whether a photo can be read and still is the one with this ``photo_id``."""
    try:
        return photo_id(path) == content
    except (OSError, UnreadablePhoto):
        return False


def photo_size(path: AnyPhoto) -> tuple[int, int]:
    """Return width and height in pixels as stored, from the head of the file; safe in threads.

    Raises:
        UnreadablePhoto: missing, or not an image.
    """
    if isinstance(path, MadePhoto):
        return path.size
    try:
        file = open_regular(path)
    except OSError as error:
        raise UnreadablePhoto(path, _os_reason(error)) from error
    with file, _decoding(path):
        return _open(path, file).size


def load_photo(
    path: AnyPhoto,
    *,
    rgb: bool = True,
    expect_id: str | None = None,
    at_least: int | None = None,
    whole: bool = False,
) -> LoadedPhoto:
    """Decode one photo fully; safe in threads.

    RGB photos come out as ``Image.open(path).convert("RGB")`` gives them. Other modes are converted before
    anything else, as PIL does, except that 16-bit grey is scaled to 8 bits where PIL may clip, and is refused
    if it holds only 12 bits. The first frame of an animation is read. The EXIF orientation is ignored, as the
    libraries we compare with do.

    Args:
        path: the file (its content decides the format, not its suffix), or a photo to be made.
        rgb: False keeps the stored mode (the order of libraries that resize first).
        expect_id: the ``photo_id`` of the manifest; other content is an error.
        at_least: pixels that both sides keep if a JPEG is decoded at a half, a quarter or an eighth of its
            size, for speed.
        whole: verify the checksums of a PNG, which decoding does not do: for masks, which have no
            ``photo_id``.

    Raises:
        UnreadablePhoto: missing, empty, changed, not an image, truncated, damaged, over 178 megapixels, or
            one side more than 200 times the other. For a photo to be made, the error names the file at fault.
    """
    if isinstance(path, MadePhoto):
        if expect_id not in (None, path.photo_id):
            raise UnreadablePhoto(path, _CHANGED)
        with _decoding(path):
            return LoadedPhoto(path.make(), converted=False, mode="RGB")
    path = Path(path)
    data = _read_bytes(path, expect_id)
    with _decoding(path):
        if whole:
            _open(path, BytesIO(data)).verify()
        image = _decode(path, data, at_least)
    photo = LoadedPhoto(image, converted=False, mode=image.mode)
    return photo.in_rgb(path) if rgb else photo


@contextmanager
def _decoding(path: AnyPhoto) -> Iterator[None]:
    """Decoders raise all kinds of errors on untrusted bytes; each means that this photo cannot be read."""
    try:
        yield
    except CounterGroundError:  # it already says why; a missing package is not the photo's fault
        raise
    except Exception as error:
        message = _short(error)
        reason = f"truncated or damaged ({message})"
        if isinstance(error, MemoryError):
            reason = "not enough memory to decode it"
        elif isinstance(error, EOFError) or "truncated" in message.lower():
            reason = "truncated"
        raise UnreadablePhoto(path, reason) from error


def _read_bytes(path: Path, expect_id: str | None) -> bytes:
    try:
        with open_regular(path, MOST_PHOTO_BYTES) as file:
            data = file.read()
    except OSError as error:
        raise UnreadablePhoto(path, _os_reason(error)) from error
    if not data:
        raise UnreadablePhoto(path, "empty file")
    if (missing := why_missing(data)) is not None:
        raise UnreadablePhoto(path, missing)
    if expect_id is not None and hashlib.sha256(data).hexdigest() != expect_id:
        raise UnreadablePhoto(path, _CHANGED)
    return data


def _decode(path: Path, data: bytes, at_least: int | None) -> Image.Image:
    image = _open(path, BytesIO(data))
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise UnreadablePhoto(path, f"decompression bomb ({width} x {height})")
    if max(width, height) > _LARGEST_RATIO * min(width, height):
        raise UnreadablePhoto(
            path, f"one side more than {_LARGEST_RATIO} times the other ({width} x {height})"
        )
    if at_least is not None:
        image.draft(None, (at_least, at_least))  # None keeps the mode
    image.load()
    return image


def _open(path: Path, file: IO[bytes]) -> Image.Image:
    """Find the plugin as ``Image.open`` does, without its warning for big photos.

    That warning could only be silenced for the whole process: ``warnings.catch_warnings`` is not thread-safe.
    """
    damaged = ""
    for name in _formats(file.read(16)):
        factory, _ = Image.OPEN[name]
        file.seek(0)
        try:
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error) as error:
            damaged = f"truncated or damaged {name} header ({_short(error)})"
    raise UnreadablePhoto(path, damaged or "not an image")


def _to_rgb(path: AnyPhoto, image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise UnreadablePhoto(path, "floating-point pixels, whose range is not defined")
    if image.mode in _SIXTEEN_BIT:
        return _scale_to_8_bits(path, image).convert("RGB")
    # The alpha of palette entries plays no part in RGB, but PIL would warn about it.
    image.info.pop("transparency", None)
    return image.convert("RGB")


def _scale_to_8_bits(path: AnyPhoto, image: Image.Image) -> Image.Image:
    """Scale 0..65535 to 0..255, rounding; PIL's ``convert("RGB")`` clips at 255 and gives a white photo."""
    values: np.ndarray[Any, np.dtype[np.integer[Any]]] = np.asarray(image)
    largest = int(values.max())
    if values.min() < 0 or largest > 65535:
        raise UnreadablePhoto(path, "grey values beyond 16 bits, whose range is not defined")
    if 0 < largest <= _LARGEST_12_BIT:  # it would be nearly black
        raise UnreadablePhoto(
            path, f"16-bit grey of 12 bits or fewer (at most {largest:,}), whose range is not defined"
        )
    scaled = np.empty(values.shape, np.uint8)
    # Row by row: the whole photo in 32 bits would take much memory.
    for row, whole in zip(scaled, values, strict=True):
        row[:] = (whole.astype(np.int32) + 128) // 257
    return Image.fromarray(scaled)


def _os_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "missing"
    if isinstance(error, IsADirectoryError):
        return "a folder, not a file"
    return (error.strerror or _short(error)).lower()


def _short(error: Exception) -> str:
    """Return the first line of a message, without the address that PIL prints for a file in memory."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    return text.split(" <_io")[0][:100]


def photo_ids(paths: Sequence[str | Path]) -> list[str]:
    """Return the ``photo_id`` of every file, in order, hashed in threads.

    Raises:
        UnreadablePhoto: the first that is missing or may not be read; decoding comes later.
    """
    parts = (paths[start : start + _HASHED_TOGETHER] for start in range(0, len(paths), _HASHED_TOGETHER))
    with ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1))) as pool:
        try:
            return list(chain.from_iterable(pool.map(lambda part: list(map(photo_id, part)), parts)))
        except UnreadablePhoto:
            pool.shutdown(cancel_futures=True)
            raise
