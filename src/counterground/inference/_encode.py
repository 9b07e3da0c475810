"""Encode the photos that a store does not hold yet, in fixed blocks, decoding ahead of the forward pass."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, error_summary
from counterground.inference._store import Block, FeatureStore
from counterground.photos import Benchmark, LoadedPhoto, UnreadablePhoto, load_photo, photo_id
from counterground.progress import progress_bar
from counterground.text import counted

if TYPE_CHECKING:
    from PIL import Image

    from counterground.models import Encoder

T = TypeVar("T")
R = TypeVar("R")

_BLOCKS_AHEAD = 3
# Photos that are opened at most to find a readable one before the work begins.
_TRIED = 8


@dataclass(frozen=True)
class Features:
    """Features of a benchmark's photos in manifest order.

    ``matrix`` is ``[n, d]`` float32 (zero rows where unreadable), ``readable`` and ``converted`` are ``[n]``;
    ``reasons`` maps the row of an unreadable photo to why.
    """

    matrix: np.ndarray
    readable: np.ndarray
    converted: np.ndarray
    reasons: dict[int, str]


@dataclass(frozen=True)
class EncodeFn:
    """What turns photos into rows of ``dim`` numbers; ``model`` names the model in messages.

    ``prepare`` is called in threads; ``encode`` gets a block of what it returned, None for unreadable photos,
    and returns ``[n, dim]`` float32.
    """

    model: str
    dim: int
    convert_rgb_first: bool
    prepare: Callable[[Image.Image], Any]
    encode: Callable[[Sequence[Any]], np.ndarray]


@dataclass(frozen=True)
class Decoded:
    """A photo ready to be encoded, or why it is unreadable; ``permanent`` if its content is the reason."""

    prepared: Any = None
    converted: bool = False
    reason: str | None = None
    permanent: bool = True


def encode_photos(
    model: Encoder, benchmark: Benchmark, store_root: Path, *, batch_size: int, show_progress: bool
) -> Features:
    """Return the model's features of every photo of the benchmark, reading what is stored.

    Photos with the same content are encoded once. Blocks hold ``batch_size`` contents in manifest order; the
    last one is padded, since features change in the seventh digit with the size of a batch.

    Raises:
        CounterGroundError: no photo can be read, or the model fails or returns something else than features.
    """
    store = feature_store(model, store_root, batch_size)
    job = plan_encoding(model, benchmark, store, batch_size)
    run_encoding([job], show_progress)
    features = job.features()
    require_readable(features)
    return features


def feature_store(model: Encoder, root: Path, batch_size: int) -> FeatureStore:
    """Open the store of a model's features."""
    return FeatureStore.open(
        root, model.fingerprint, model.device, str(batch_size), f"rgb first: {model.convert_rgb_first}"
    )


def plan_encoding(model: Encoder, benchmark: Benchmark, store: FeatureStore, batch_size: int) -> EncodingJob:
    """Look up which photos are stored."""
    return EncodingJob.plan(encode_fn(model, batch_size), benchmark, benchmark.photos, store, batch_size)


def encode_fn(model: Encoder, batch_size: int) -> EncodeFn:
    """Return what turns photos into the model's features, in blocks of ``batch_size`` at most."""
    encode = partial(_forward, model, batch_size)
    return EncodeFn(model.display_name, model.dim, model.convert_rgb_first, model.preprocess, encode)


def try_model(model: Encoder, job: EncodingJob) -> None:
    """Encode one of the missing photos by itself, so that a mistake in a model is found before other work.

    Raises:
        CounterGroundError: the model fails or returns something else than features.
    """
    missing = (photo for number in job.missing for photo in job.blocks[number])
    function = encode_fn(model, 1)
    for photo in islice(missing, _TRIED):
        (decoded,) = decode_photo([function], (photo, job.first_path[photo]))
        if decoded.reason is None:
            _encode_block(function, [decoded])
            return


def run_encoding(jobs: Sequence[EncodingJob], show_progress: bool) -> None:
    """Encode what jobs over the same photos miss, with a progress bar; each photo is decoded once for all.

    Afterwards each job's `EncodingJob.features` are complete.

    Raises:
        CounterGroundError: see `encode_photos`.
    """
    total = sum(len(block) for _, block, _ in missing_blocks(jobs))
    if not total:
        return
    names = list(dict.fromkeys(job.function.model for job in jobs if job.missing))
    title = names[0] if len(names) == 1 else counted(len(names), "model")
    with progress_bar(title, total=total, shown=show_progress, keep=True) as bar:
        encode_missing(jobs, bar.advance)


def missing_blocks(
    jobs: Sequence[EncodingJob],
) -> list[tuple[int, list[tuple[str, Path]], list[EncodingJob]]]:
    """Return the blocks that jobs over the same photos miss: number, photos with their files, whose jobs."""
    if not jobs:
        return []
    first = jobs[0]
    assert all(job.blocks == first.blocks for job in jobs), "models that are run together share their photos"
    wanted = [[job for job in jobs if job.stored[number] is None] for number in range(len(first.blocks))]
    return [
        (number, [(photo, first.first_path[photo]) for photo in first.blocks[number]], wanting)
        for number, wanting in enumerate(wanted)
        if wanting
    ]


def encode_missing(jobs: Sequence[EncodingJob], advance: Callable[[int], None]) -> None:
    """Encode and store what jobs over the same photos miss: a photo is decoded in a thread, once for all."""
    missing = missing_blocks(jobs)
    tasks = [[([job.function for job in wanting], photo) for photo in block] for _, block, wanting in missing]
    decoded = map_blocks(lambda task: decode_photo(*task), tasks, ahead=_BLOCKS_AHEAD)
    for (number, block, wanting), photos in zip(missing, decoded, strict=True):
        for job, of_job in zip(wanting, zip(*photos, strict=True), strict=True):
            job.encode(number, of_job)
        advance(len(block))


@dataclass(frozen=True)
class EncodingJob:
    """Some photos to be encoded in blocks; ``stored`` holds, for each block, what the store has of it.

    A block that is encoded is added to ``stored``.
    """

    function: EncodeFn
    store: FeatureStore
    photo_ids: list[str]
    first_path: dict[str, Path]
    blocks: list[list[str]]
    stored: list[Block | None]

    @classmethod
    def plan(
        cls,
        function: EncodeFn,
        benchmark: Benchmark,
        photos: pl.DataFrame,
        store: FeatureStore,
        batch_size: int,
    ) -> EncodingJob:
        """Look up what the store holds of ``photos``, rows of the benchmark's manifest."""
        photo_ids = photos["photo_id"].to_list()
        first_path: dict[str, Path] = {}
        for photo, path in zip(photo_ids, photos["path"], strict=True):
            first_path.setdefault(photo, benchmark.photo_path(path))
        unique = list(first_path)
        blocks = [unique[start : start + batch_size] for start in range(0, len(unique), batch_size)]
        return cls(function, store, photo_ids, first_path, blocks, [store.get(block) for block in blocks])

    @property
    def missing(self) -> list[int]:
        """The numbers of the blocks that are to be encoded."""
        return [number for number, block in enumerate(self.stored) if block is None]

    def encode(self, number: int, photos: Sequence[Decoded]) -> None:
        """Encode a block; store it unless one of its photos may be readable the next time."""
        self.stored[number] = block = _encode_block(self.function, photos)
        if all(photo.permanent for photo in photos):
            self.store.put(self.blocks[number], block)

    def features(self) -> Features:
        """Return a row for every photo, in their order; no block may be missing."""
        return _in_order(self.photo_ids, self.blocks, [block for block in self.stored if block is not None])


def require_readable(features: Features) -> None:
    """Fail if no photo could be read.

    Raises:
        CounterGroundError: that is so.
    """
    if not features.readable.any():
        raise CounterGroundError(
            f"None of the {len(features.readable)} photos can be read; the first: {features.reasons[0]}. "
            "Check that they are image files and still where the manifest says."
        )


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


def decode_photo(functions: Sequence[EncodeFn], photo_and_path: tuple[str, Path]) -> list[Decoded]:
    """Read and decode one photo, and prepare it for each model.

    Raises:
        CounterGroundError: the preprocessing fails.
    """
    content, path = photo_and_path
    try:
        photo = load_photo(path, rgb=False, expect_id=content)
    except UnreadablePhoto as error:
        return [Decoded(reason=error.reason, permanent=_holds_content(path, content))] * len(functions)
    try:
        rgb: LoadedPhoto | UnreadablePhoto = photo.in_rgb(path)
    except UnreadablePhoto as error:
        rgb = error
    chosen = [rgb if function.convert_rgb_first else photo for function in functions]
    return [_prepare(function, path, each) for function, each in zip(functions, chosen, strict=True)]


def _prepare(function: EncodeFn, path: Path, photo: LoadedPhoto | UnreadablePhoto) -> Decoded:
    if isinstance(photo, UnreadablePhoto):
        return Decoded(reason=photo.reason)
    try:
        prepared = function.prepare(photo.image.copy())  # a user's own may change the image
    except (Exception, SystemExit) as error:
        own = (str(getattr(function.prepare, "__module__", "")).partition(".")[0],)
        raise CounterGroundError(
            f"{function.model}: preprocessing {path} failed: {error_summary(error, own)}."
        ) from error
    return Decoded(prepared, converted=photo.converted)


def _encode_block(function: EncodeFn, photos: Sequence[Decoded]) -> Block:
    rows = np.zeros((len(photos), function.dim), dtype=np.float32)
    reasons = tuple(photo.reason for photo in photos)
    readable = np.array([reason is None for reason in reasons])
    if readable.any():
        encoded = function.encode([photo.prepared for photo in photos])
        rows[readable] = encoded[readable]
        _refuse_nan(function.model, rows)
    converted = np.array([photo.converted for photo in photos], dtype=bool)
    return Block(rows, converted, reasons)


def _forward(model: Encoder, batch_size: int, block: Sequence[Any]) -> np.ndarray:
    """Encode a block with blanks for what is unreadable and for what is missing to a full one."""
    import torch

    _check_inputs(model.display_name, [pixels for pixels in block if pixels is not None])
    blank = torch.zeros_like(next(pixels for pixels in block if pixels is not None))
    slots = [pixels if pixels is not None else blank for pixels in block]
    slots += [blank] * (batch_size - len(slots))
    batch = torch.stack(slots)
    try:
        encoded = model.encode(batch)
    except CounterGroundError:
        raise
    except (Exception, SystemExit) as error:
        hint = " Use a smaller --batch-size." if "memory" in str(error).lower() else ""
        own = (type(model).__module__.partition(".")[0],)
        raise CounterGroundError(
            f"{model.display_name}: encoding photos failed: {error_summary(error, own)}; the network was "
            f"given {_described(batch)}.{hint}"
        ) from error
    shape = tuple(getattr(encoded, "shape", ()))
    if not isinstance(encoded, torch.Tensor) or shape != (len(slots), model.dim):
        raise CounterGroundError(
            f"{model.display_name} returned {_described(encoded)} for {counted(len(slots), 'photo')}; "
            f"expected a torch.Tensor ({len(slots)}, {model.dim})."
        )
    return np.asarray(encoded.detach().cpu().float().numpy())[: len(block)]


def _check_inputs(model: str, given: Sequence[Any]) -> None:
    """Check what preprocessing returned for the readable photos of a block."""
    import torch

    for pixels in given:
        if not isinstance(pixels, torch.Tensor) or pixels.ndim not in (2, 3):
            raise CounterGroundError(
                f"{model}: preprocessing returned {_described(pixels)} for a photo; expected a torch.Tensor "
                "(3, height, width) of float32."
            )
    shapes = list(dict.fromkeys(tuple(pixels.shape) for pixels in given))
    if len(shapes) > 1:
        raise CounterGroundError(
            f"{model}: preprocessing returned {shapes[0]} for one photo and {shapes[1]} for another; "
            "expected one shape for all photos: resize and crop them."
        )


def _described(value: Any) -> str:
    """Return type, dtype and shape of what the user's code returned, as ``torch.Tensor (1, 5) float32``."""
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    shape = f" {tuple(value.shape)}" if hasattr(value, "shape") else ""
    dtype = f" {str(value.dtype).removeprefix('torch.')}" if hasattr(value, "dtype") else ""
    return f"{name}{shape}{dtype}"


def _refuse_nan(model: str, rows: np.ndarray) -> None:
    if not np.isfinite(rows).all():
        raise CounterGroundError(
            f"{model} returned features that are not finite. Use --precision fp32, or check its weights."
        )


def _holds_content(path: Path, content: str) -> bool:
    """Whether the file still holds this content: then the content is the reason, which can be stored."""
    try:
        return photo_id(path) == content
    except (OSError, UnreadablePhoto):
        return False


def _in_order(photo_ids: Sequence[str], blocks: Sequence[Sequence[str]], stored: Sequence[Block]) -> Features:
    assert len(blocks) == len(stored), "every block is either stored or encoded"
    row_of = {photo: row for row, photo in enumerate(photo for block in blocks for photo in block)}
    order = np.array([row_of[photo] for photo in photo_ids])
    reasons = [reason for block in stored for reason in block.reasons]
    assert len(reasons) == len(row_of), "every photo arrives exactly once"
    readable = np.array([reason is None for reason in reasons])[order]
    return Features(
        matrix=np.concatenate([block.features for block in stored])[order],
        readable=readable,
        converted=np.concatenate([block.converted for block in stored])[order],
        reasons={row: str(reasons[index]) for row, index in enumerate(order) if reasons[index] is not None},
    )
