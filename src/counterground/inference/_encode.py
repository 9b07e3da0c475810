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
from counterground.photos import Benchmark, UnreadablePhoto, load_photo, photo_id
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
    return run_encoding(plan_encoding(model, benchmark, store, batch_size), show_progress)


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
    blocks = zip(job.blocks, job.stored, strict=True)
    missing = (photo for block, stored in blocks if stored is None for photo in block)
    function = encode_fn(model, 1)
    for photo in islice(missing, _TRIED):
        decoded = decode_photo(function, (photo, job.first_path[photo]))
        if decoded.reason is None:
            _encode_block(function, [decoded])
            return


def run_encoding(job: EncodingJob, show_progress: bool) -> Features:
    """Encode what is missing, with a progress bar.

    Raises:
        CounterGroundError: see `encode_photos`.
    """
    shown = show_progress and job.missing > 0
    with progress_bar(job.function.model, total=job.missing, shown=shown, keep=True) as bar:
        features = job.run(bar.advance)
    require_readable(features)
    return features


@dataclass(frozen=True)
class EncodingJob:
    """Some photos to be encoded in blocks; ``stored`` holds, for each block, what the store has of it."""

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
    def missing(self) -> int:
        """How many photos are to be encoded, copies counted once."""
        pairs = zip(self.blocks, self.stored, strict=True)
        return sum(len(block) for block, stored in pairs if stored is None)

    def run(self, advance: Callable[[int], None]) -> Features:
        """Encode what is missing, store it, and return a row for every photo, in their order."""
        missing = [number for number, block in enumerate(self.stored) if block is None]
        named = [[(photo, self.first_path[photo]) for photo in self.blocks[number]] for number in missing]
        blocks = list(self.stored)
        decoded = map_blocks(partial(decode_photo, self.function), named, ahead=_BLOCKS_AHEAD)
        for number, photos in zip(missing, decoded, strict=True):
            blocks[number] = block = _encode_block(self.function, photos)
            if all(photo.permanent for photo in photos):
                self.store.put(self.blocks[number], block)
            advance(len(photos))
        return _in_order(self.photo_ids, self.blocks, [block for block in blocks if block is not None])


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


def decode_photo(function: EncodeFn, photo_and_path: tuple[str, Path]) -> Decoded:
    """Read one photo and prepare it for the model.

    Raises:
        CounterGroundError: the preprocessing fails.
    """
    content, path = photo_and_path
    try:
        photo = load_photo(path, rgb=function.convert_rgb_first, expect_id=content)
    except UnreadablePhoto as error:
        return Decoded(reason=error.reason, permanent=_holds_content(path, content))
    try:
        prepared = function.prepare(photo.image)
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
