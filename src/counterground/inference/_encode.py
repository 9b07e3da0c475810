"""Encode the photos that a store does not hold yet, in fixed blocks, decoding ahead of the forward pass."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, error_summary
from counterground.inference._store import Block, Features, FeatureStore, ReadStatus
from counterground.models import out_of_memory, own_arithmetic
from counterground.photos import AnyPhoto, Benchmark, LoadedPhoto, UnreadablePhoto, is_intact, load_photo
from counterground.progress import progress_bar
from counterground.text import counted

if TYPE_CHECKING:
    from PIL import Image

    from counterground.models import Encoder


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


# Blocks decoded while another is encoded; not on the CPU, where the two would share the cores.
_BLOCKS_AHEAD = 3


def feature_store(model: Encoder, root: Path, batch_size: int) -> FeatureStore:
    """Open the store of a model's features."""
    key = [model.fingerprint, model.device, str(batch_size), f"rgb first: {model.convert_rgb_first}"]
    about = {
        "model": model.spec,
        "fingerprint": model.fingerprint,
        "device": model.device,
        "dtype": model.dtype,
        "batch_size": batch_size,
        "convert_rgb_first": model.convert_rgb_first,
    }
    if model.device.startswith("cuda") and model.dtype == "fp32":
        key.append("convolutions in float32")
    if model.users_class:
        key.append(f"class: {model.users_class}")
    return FeatureStore.open(root, *key, about=about)


def plan_encoding(model: Encoder, benchmark: Benchmark, store: FeatureStore, batch_size: int) -> EncodingJob:
    """Look up which photos are stored."""
    photos = benchmark.photos
    sources = PhotoSources(benchmark, photos)
    unique = list(sources)
    blocks = [unique[start : start + batch_size] for start in range(0, len(unique), batch_size)]
    stored = [None if block is None else block.status for block in map(store.get, blocks)]
    function = encode_fn(model, batch_size)
    return EncodingJob(function, store, photos["photo_id"].to_list(), sources, blocks, stored)


def encode_fn(model: Encoder, batch_size: int) -> EncodeFn:
    """Return what turns photos into the model's features, in blocks of ``batch_size`` at most."""
    return EncodeFn(
        model.display_name,
        model.dim,
        model.convert_rgb_first,
        model.preprocess,
        partial(_forward, model, batch_size),
        on_processor=model.device == "cpu",
    )


def run_encoding(
    jobs: Sequence[EncodingJob], show_progress: bool, encode: EncodeMissing | None = None
) -> None:
    """Encode what jobs over the same photos miss, with a progress bar; each photo is decoded once for all.

    Afterwards each job's `EncodingJob.features` are complete. ``encode`` does it elsewhere.

    Raises:
        CounterGroundError: the model fails, or returns something other than features.
    """
    missing = sum(len(block) for _, block, _ in missing_blocks(jobs))
    if not missing:
        return
    total = len(jobs[0].photo_ids)  # as results count them: copies and what is stored are done
    names = list(dict.fromkeys(job.function.model for job in jobs if job.missing))
    title = names[0] if len(names) == 1 else counted(len(names), "model")
    with progress_bar(title, total=total, done=total - missing, shown=show_progress, keep=True) as bar:
        (encode or encode_missing)(jobs, bar.advance)


def missing_blocks(
    jobs: Sequence[EncodingJob],
) -> Iterator[tuple[int, list[tuple[str, AnyPhoto]], list[EncodingJob]]]:
    """Yield the blocks that jobs over the same photos miss: number, photos with their files, jobs."""
    if not jobs:
        return
    first = jobs[0]
    assert all(job.blocks == first.blocks for job in jobs), "models that are run together share their photos"
    wanted = [[job for job in jobs if job.stored[number] is None] for number in range(len(first.blocks))]
    for number, wanting in enumerate(wanted):
        if wanting:
            yield number, [(photo, first.sources[photo]) for photo in first.blocks[number]], wanting


def encode_missing(jobs: Sequence[EncodingJob], advance: Callable[[int], None]) -> None:
    """Encode and store what jobs over the same photos miss; threads decode each photo once for all jobs.

    Raises:
        CounterGroundError: see `run_encoding`.
    """
    missing, same = missing_blocks(jobs), missing_blocks(jobs)
    blocks = (([job.function for job in wanting], photos) for _, photos, wanting in same)
    shared = any(job.function.on_processor for job in jobs)
    prepared = prepare_blocks(blocks, ahead=0 if shared else _BLOCKS_AHEAD)
    for (number, files, wanting), photos in zip(missing, prepared, strict=True):
        for job, of_job in zip(wanting, photos, strict=True):
            job.encode(number, of_job)
        advance(len(files))


EncodeMissing = Callable[[Sequence["EncodingJob"], Callable[[int], None]], None]
"""What encodes and stores all that jobs over the same photos miss, and reports how many photos are done."""


@dataclass(frozen=True)
class EncodingJob:
    """Some photos to be encoded in blocks; ``stored`` says for each stored block which photos were readable.

    A block that is encoded is added to ``stored``. ``kept`` holds those that cannot be stored, because a
    photo in them may be readable the next time.
    """

    function: EncodeFn
    store: FeatureStore
    photo_ids: list[str]
    sources: PhotoSources
    blocks: list[list[str]]
    stored: list[ReadStatus | None]
    kept: dict[int, Block] = field(default_factory=dict)

    @property
    def missing(self) -> list[int]:
        """The numbers of the blocks that are to be encoded."""
        return [number for number, block in enumerate(self.stored) if block is None]

    def encode(self, number: int, photos: Sequence[Decoded]) -> Block:
        """Encode a block and keep it; see `encode_block`."""
        block = encode_block(self.function, photos)
        self.keep(number, block, permanent=all(photo.permanent for photo in photos))
        return block

    def keep(self, number: int, block: Block, *, permanent: bool) -> None:
        """Take a block that was encoded; store it unless one of its photos may be readable the next time."""
        if permanent:
            self.store.put(self.blocks[number], block)
        else:
            self.kept[number] = block
        self.stored[number] = block.status

    def features(self) -> Features:
        """Return the features of every photo, in their order; no block may be missing."""
        stored = [status for status in self.stored if status is not None]
        assert len(stored) == len(self.blocks), "every block is either stored or encoded"
        place = {photo: place for place, photo in enumerate(self.sources)}
        places = np.array([place[photo] for photo in self.photo_ids], dtype=np.int64)
        converted = np.concatenate([status.converted for status in stored])
        assert len(converted) == len(place), "every photo arrives exactly once"
        size = len(self.blocks[0])
        reasons = {
            number * size + row: why
            for number, status in enumerate(stored)
            for row, why in status.reasons.items()
        }
        return Features(
            converted=converted[places],
            reasons={row: reasons[at] for row, at in enumerate(places.tolist()) if at in reasons},
            dim=self.function.dim,
            block_size=size,
            read_block=self._read_block,
            places=places,
        )

    def _read_block(self, number: int) -> np.ndarray:
        """Return the features of a block; one that was lost since is encoded again."""
        photos, before = self.blocks[number], self.stored[number]
        block = self.kept.get(number) or self.store.get(photos)
        if block is None:
            files = [(photo, self.sources[photo]) for photo in photos]
            ((decoded,),) = prepare_blocks([([self.function], files)])
            block = self.encode(number, decoded)
        if before is None or before.reasons != block.status.reasons:
            raise CounterGroundError(
                f"{self.function.model}: features were deleted while they were in use, and the photos cannot "
                "be read as before. Run the same command again."
            )
        return block.features


class PhotoSources:
    """What photos are read from, by content, made on request: paths take five times the memory of strings.

    ``photos`` are rows of the benchmark's manifest; of several copies it is the first.
    """

    def __init__(self, benchmark: Benchmark, photos: pl.DataFrame) -> None:
        first = photos.unique("photo_id", keep="first", maintain_order=True)
        self._benchmark, self._paths = benchmark, dict(zip(first["photo_id"], first["path"], strict=True))

    def __getitem__(self, photo: str) -> AnyPhoto:
        return self._benchmark.photo_source(self._paths[photo])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)


def require_readable(read: ReadStatus) -> None:
    """Fail if no photo could be read.

    Raises:
        CounterGroundError: no photo could be read.
    """
    if not read.readable.any():
        raise CounterGroundError(
            f"0 of {counted(len(read.readable), 'photo')} can be read; the first: {read.reasons[0]}. "
            "Check that they are image files and still where the manifest says."
        )


def encode_block(function: EncodeFn, photos: Sequence[Decoded]) -> Block:
    """Encode a block of photos.

    Raises:
        CounterGroundError: the model fails, or returns something other than features.
    """
    rows = np.zeros((len(photos), function.dim), dtype=np.float32)
    reasons = tuple(photo.reason for photo in photos)
    readable = np.array([reason is None for reason in reasons])
    if readable.any():
        encoded = function.encode([photo.prepared for photo in photos])
        rows[readable] = encoded[readable]
    if not np.isfinite(rows).all():
        raise CounterGroundError(
            f"{function.model} returned features that are not finite. Use --precision fp32, or check its "
            "weights."
        )
    converted = np.array([photo.converted for photo in photos], dtype=bool)
    return Block(rows, converted, reasons)


def _forward(model: Encoder, batch_size: int, block: Sequence[Any]) -> np.ndarray:
    """Encode a block; blanks stand in for unreadable photos and fill it up to a full one."""
    import torch

    given = [pixels for pixels in block if pixels is not None]
    try:
        blank = torch.zeros_like(given[0])
        slots = [pixels if pixels is not None else blank for pixels in block]
        batch = torch.stack(slots + [blank] * (batch_size - len(slots)))
    except Exception as error:
        kinds = " and ".join(dict.fromkeys(map(_described, given)))
        raise CounterGroundError(
            f"{model.display_name}: preprocessing returned {kinds} for {counted(len(given), 'photo')}, which "
            f"make no batch ({error_summary(error)}); expected tensors (3, height, width) of one shape "
            "that fit into memory (-X batch-size)."
        ) from error
    try:
        with own_arithmetic(model.device):
            encoded = model.encode(batch)
    except CounterGroundError:
        raise
    except (Exception, SystemExit) as error:
        hint = " Use a smaller -X batch-size." if out_of_memory(error) else ""
        own = (type(model).__module__.partition(".")[0],)
        raise CounterGroundError(
            f"{model.display_name}: encoding photos failed: {error_summary(error, own)}; the network was "
            f"given {_described(batch)}.{hint}"
        ) from error
    expected = (len(batch), model.dim)
    if not isinstance(encoded, torch.Tensor) or encoded.shape != expected or encoded.is_complex():
        raise CounterGroundError(
            f"{model.display_name} returned {_described(encoded)} for {counted(len(batch), 'photo')}; "
            f"expected a torch.Tensor {expected} of real numbers."
        )
    return np.asarray(encoded.detach().cpu().float().numpy())[: len(block)]


def _described(value: Any) -> str:
    """Return type, dtype and shape of what the user's code returned, as ``torch.Tensor (1, 5) float32``."""
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    shape = f" {tuple(value.shape)}" if hasattr(value, "shape") else ""
    dtype = f" {str(value.dtype).removeprefix('torch.')}" if hasattr(value, "dtype") else ""
    return f"{name}{shape}{dtype}"
