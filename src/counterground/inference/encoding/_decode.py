"""Photos made ready for models: each is read and decoded once, by threads, for all models that need it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from counterground.errors import CounterGroundError, error_summary
from counterground.photos import AnyPhoto, LoadedPhoto, UnreadablePhoto, is_intact, load_photo

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")
R = TypeVar("R")
PhotoFile = tuple[str, AnyPhoto]
"""The hash of a photo's content, and a file that holds it, or how it is made."""


@dataclass(frozen=True)
class Decoded:
    """A photo ready to be encoded, or why it is unreadable; ``permanent`` if its content is the reason."""

    prepared: Any = None
    converted: bool = False
    reason: str | None = None
    permanent: bool = True


@dataclass(frozen=True)
class EncodeFn:
    """What turns photos into rows of ``dim`` numbers; ``model`` names the model in messages.

    ``prepare`` is called in threads; ``encode`` gets a block of what it returned, None for unreadable photos,
    and returns ``[n, dim]`` float32. ``on_processor``: ``encode`` uses the cores that decoding uses.
    """

    model: str
    dim: int
    convert_rgb_first: bool
    prepare: Callable[[Image.Image], Any]
    encode: Callable[[Sequence[Any]], np.ndarray]
    on_processor: bool = False


def prepare_blocks(
    blocks: Iterable[tuple[Sequence[EncodeFn], Sequence[PhotoFile]]], *, ahead: int = 0
) -> Iterator[list[list[Decoded]]]:
    """Yield for each block, in order, what each of its functions gets: a list of photos for each function.

    Threads prepare ``ahead`` more blocks in advance.

    Raises:
        CounterGroundError: a preprocessing fails.
    """
    tasks = ([(functions, photo) for photo in photos] for functions, photos in blocks)
    for rows in map_blocks(lambda task: decode_photo(*task), tasks, ahead=ahead):
        yield [list(of_one) for of_one in zip(*rows, strict=True)]


def map_blocks(
    function: Callable[[T], R], blocks: Iterable[Sequence[T]], *, ahead: int = 0
) -> Iterator[list[R]]:
    """Yield the results of each block in order, while threads compute those of ``ahead`` more blocks."""
    workers = min(32, (os.cpu_count() or 1) + 1)
    waiting: deque[list[Future[R]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as threads:
        try:
            for block in blocks:
                waiting.append([threads.submit(function, item) for item in block])
                if len(waiting) > ahead:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def decode_photo(functions: Sequence[EncodeFn], photo: PhotoFile) -> list[Decoded]:
    """Read and decode one photo, and prepare it for each model.

    Raises:
        CounterGroundError: the preprocessing fails.
    """
    content, path = photo
    decoded = _decode(content, path)
    return [_prepare(function, path, decoded[function.convert_rgb_first]) for function in functions]


def _decode(content: str, path: AnyPhoto) -> dict[bool, LoadedPhoto | Decoded]:
    """Return the photo in RGB (True) and as it is stored (False), or why there is none."""
    try:
        stored = load_photo(path, rgb=False, expect_id=content)
    except UnreadablePhoto as error:
        lost = _lost(error, path, content)
        return {True: lost, False: lost}
    try:
        return {True: stored.in_rgb(path), False: stored}
    except UnreadablePhoto as error:
        return {True: _lost(error, path, content), False: stored}


def _prepare(function: EncodeFn, path: AnyPhoto, photo: LoadedPhoto | Decoded) -> Decoded:
    if isinstance(photo, Decoded):
        return photo
    return Decoded(prepared(function, photo.image, path), converted=photo.converted)


def prepared(function: EncodeFn, image: Image.Image, name: object) -> Any:
    """Return what the model's preprocessing makes of an image.

    Raises:
        CounterGroundError: it fails; ``name`` says for which image.
    """
    try:
        # A user's own preprocessing may change the image.
        return function.prepare(image.copy())
    except (Exception, SystemExit) as error:
        own = (str(getattr(function.prepare, "__module__", "")).partition(".")[0],)
        raise CounterGroundError(
            f"{function.model}: preprocessing {name} failed: {error_summary(error, own)}."
        ) from error


def _lost(error: UnreadablePhoto, path: AnyPhoto, content: str) -> Decoded:
    """Return why there is no photo; the reason lasts if the file still holds this content."""
    permanent = not isinstance(error.__cause__, MemoryError) and is_intact(path, content)
    return Decoded(reason=error.reason, permanent=permanent)
