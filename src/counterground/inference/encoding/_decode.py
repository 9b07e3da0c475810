"""Photos made ready for models: each is read and decoded once, by threads, for all models that need it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from counterground.errors import CounterGroundError, error_summary
from counterground.inference.store import CropStore, Decoded
from counterground.photos import AnyPhoto, LoadedPhoto, MadePhoto, UnreadablePhoto, is_intact, load_photo

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")
R = TypeVar("R")
PhotoFile = tuple[str, AnyPhoto]
"""The hash of a photo's content, and a file that holds it, or how it is made."""

# Blocks whose crops wait to be written.
_UNWRITTEN = 2


@dataclass(frozen=True)
class EncodeFn:
    """What turns photos into rows of ``dim`` numbers; ``model`` names the model in messages.

    ``prepare`` is called in threads; ``encode`` gets a block of what it returned, None for unreadable photos,
    and returns ``[n, dim]`` float32. Functions with the same ``geometry`` share the crop
    ``[3, h, w]`` uint8 that ``prepare`` returns without changing the image. ``at_least`` allows scaled
    decoding (`load_photo`). ``on_processor``: ``encode`` uses the cores that decoding uses.
    """

    model: str
    dim: int
    convert_rgb_first: bool
    prepare: Callable[[Image.Image], Any]
    encode: Callable[[Sequence[Any]], np.ndarray]
    geometry: str | None = None
    at_least: int | None = None
    on_processor: bool = False


def prepare_blocks(
    blocks: Iterable[tuple[Sequence[EncodeFn], Sequence[PhotoFile]]], *, ahead: int = 0
) -> Iterator[list[list[Decoded]]]:
    """Yield for each block, in order, what each of its functions gets: a list of photos for each function.

    Threads read the crops that are on disk and make the others, ``ahead`` more blocks in advance.

    Raises:
        CounterGroundError: a preprocessing fails.
    """
    crops = CropStore.open()
    waiting: deque[_Block] = deque()
    unwritten: deque[Future[None]] = deque()

    def tasks() -> Iterator[list[tuple[_Block, int]]]:
        for functions, photos in blocks:
            waiting.append(_Block(functions, photos, crops))
            yield [(waiting[-1], row) for row in range(len(photos))]

    with ThreadPoolExecutor(1, thread_name_prefix="crops") as writer:
        for rows in map_blocks(_prepare_row, tasks(), ahead=ahead):
            block = waiting.popleft()
            prepared = [list(of_one) for of_one in zip(*rows, strict=True)]
            unwritten.append(writer.submit(block.keep, prepared))
            if len(unwritten) > _UNWRITTEN:
                unwritten.popleft().result()
            yield prepared


class _Block:
    """Some photos, and the functions that need all of them."""

    def __init__(self, functions: Sequence[EncodeFn], photos: Sequence[PhotoFile], crops: CropStore) -> None:
        self.functions, self.photos, self._crops = functions, photos, crops
        self._photo_ids = [photo for photo, _ in photos]
        self._lock = Lock()
        self._kept: dict[str, list[Decoded]] | None = None

    def kept(self) -> dict[str, list[Decoded]]:
        """Return the crops that are on disk, by geometry; the first thread that asks reads them."""
        with self._lock:
            if self._kept is None:
                geometries = {function.geometry for function in self.functions if function.geometry}
                found = {each: self._crops.get(each, self._photo_ids) for each in geometries}
                self._kept = {each: photos for each, photos in found.items() if photos is not None}
            return self._kept

    def keep(self, prepared: Sequence[Sequence[Decoded]]) -> None:
        """Write the crops that were not on disk, unless photos are made: their number has no limit."""
        if any(isinstance(source, MadePhoto) for _, source in self.photos):
            return
        for function, photos in zip(self.functions, prepared, strict=True):
            if function.geometry and function.geometry not in self.kept():
                self._crops.put(function.geometry, self._photo_ids, photos)
                self.kept()[function.geometry] = list(photos)


def _prepare_row(task: tuple[_Block, int]) -> list[Decoded]:
    block, row = task
    kept = {geometry: photos[row] for geometry, photos in block.kept().items()}
    needed = [function for function in block.functions if function.geometry not in kept]
    made = iter(decode_photo(needed, block.photos[row]) if needed else [])
    return [kept[each.geometry] if each.geometry in kept else next(made) for each in block.functions]


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
    decoded = {size: _decode(photo, size) for size in {function.at_least for function in functions}}
    crops: dict[str, Decoded] = {}
    prepared = []
    for function in functions:
        found = crops.get(function.geometry or "") or _prepare(function, photo[1], decoded[function.at_least])
        if function.geometry:
            crops[function.geometry] = found
        prepared.append(found)
    return prepared


def _decode(photo: PhotoFile, at_least: int | None) -> dict[bool, LoadedPhoto | Decoded]:
    """Return the photo in RGB (True) and as it is stored (False), or why there is none."""
    content, path = photo
    try:
        stored = load_photo(path, rgb=False, expect_id=content, at_least=at_least)
    except UnreadablePhoto as error:
        lost = _lost(error, path, content)
        return {True: lost, False: lost}
    try:
        return {True: stored.in_rgb(path), False: stored}
    except UnreadablePhoto as error:
        return {True: _lost(error, path, content), False: stored}


def _prepare(function: EncodeFn, path: AnyPhoto, decoded: dict[bool, LoadedPhoto | Decoded]) -> Decoded:
    photo = decoded[function.convert_rgb_first]
    if isinstance(photo, Decoded):
        return photo
    try:
        # A user's own preprocessing may change the image.
        prepared = function.prepare(photo.image if function.geometry else photo.image.copy())
    except (Exception, SystemExit) as error:
        own = (str(getattr(function.prepare, "__module__", "")).partition(".")[0],)
        raise CounterGroundError(
            f"{function.model}: preprocessing {path} failed: {error_summary(error, own)}."
        ) from error
    return Decoded(prepared, converted=photo.converted)


def _lost(error: UnreadablePhoto, path: AnyPhoto, content: str) -> Decoded:
    """Return why there is no photo; the reason lasts if the file still holds this content."""
    permanent = not isinstance(error.__cause__, MemoryError) and is_intact(path, content)
    return Decoded(reason=error.reason, permanent=permanent)
