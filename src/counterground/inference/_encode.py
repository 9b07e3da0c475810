"""Encode the photos a store does not hold yet, in fixed blocks, decoding ahead of the forward pass."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError
from counterground.inference._progress import photo_progress
from counterground.inference._store import Block, FeatureStore
from counterground.photos import Benchmark, UnreadablePhoto, load_photo, photo_id

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from counterground.models import Encoder

_BLOCKS_AHEAD = 3


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
class Task:
    """What turns photos into rows of ``dim`` numbers; ``spec`` names the model in messages.

    ``prepare`` is called in threads, ``run`` gets a block of what it returned, None for unreadable photos,
    and gives ``[n, dim]`` float32.
    """

    spec: str
    dim: int
    convert_rgb_first: bool
    prepare: Callable[[Image.Image], Any]
    run: Callable[[Sequence[Any]], np.ndarray]


@dataclass(frozen=True)
class _Decoded:
    prepared: Any = None
    converted: bool = False
    reason: str | None = None
    lasting: bool = True


def encode_photos(
    model: Encoder, benchmark: Benchmark, store_root: Path, *, batch_size: int, show_progress: bool
) -> Features:
    """Return the model's features of every photo of the benchmark, reading what is stored.

    Photos with the same content are encoded once. Blocks hold ``batch_size`` contents in manifest order; the
    last one is padded, since features change in the seventh digit with the size of a batch.

    Raises:
        CounterGroundError: not one photo can be read.
    """
    store = FeatureStore.open(
        store_root, model.fingerprint, model.device, str(batch_size), f"rgb first: {model.convert_rgb_first}"
    )
    run = partial(_forward, model, batch_size)
    task = Task(model.spec, model.dim, model.convert_rgb_first, model.preprocess, run)
    work = Work.plan(task, benchmark, benchmark.photos, store, batch_size)
    with photo_progress(model.spec, work.missing, shown=show_progress and work.missing > 0) as advance:
        features = work.finish(advance)
    require_readable(features)
    return features


@dataclass(frozen=True)
class Work:
    """A task on some photos, of which the store may hold a part; ``found`` stands beside ``blocks``."""

    task: Task
    store: FeatureStore
    photo_ids: list[str]
    first_path: dict[str, Path]
    blocks: list[list[str]]
    found: list[Block | None]

    @classmethod
    def plan(
        cls, task: Task, benchmark: Benchmark, photos: pl.DataFrame, store: FeatureStore, batch_size: int
    ) -> Work:
        """Look up what the store holds of ``photos``, rows of the benchmark's manifest."""
        photo_ids = photos["photo_id"].to_list()
        first_path: dict[str, Path] = {}
        for photo, path in zip(photo_ids, photos["path"], strict=True):
            first_path.setdefault(photo, benchmark.photo_path(path))
        unique = list(first_path)
        blocks = [unique[start : start + batch_size] for start in range(0, len(unique), batch_size)]
        return cls(task, store, photo_ids, first_path, blocks, [store.get(block) for block in blocks])

    @property
    def missing(self) -> int:
        """How many contents the store lacks."""
        return sum(len(block) for block, found in zip(self.blocks, self.found, strict=True) if found is None)

    def finish(self, advance: Callable[[int], None]) -> Features:
        """Do what is missing, keep it, and return a row for every photo, in their order."""
        missing = [number for number, block in enumerate(self.found) if block is None]
        named = [[(photo, self.first_path[photo]) for photo in self.blocks[number]] for number in missing]
        blocks = list(self.found)
        for number, photos in zip(missing, _decode_ahead(self.task, named), strict=True):
            blocks[number] = block = _run_block(self.task, photos)
            if all(photo.lasting for photo in photos):
                self.store.put(self.blocks[number], block)
            advance(len(photos))
        return _in_order(self.photo_ids, self.blocks, [block for block in blocks if block is not None])


def require_readable(features: Features) -> None:
    """Fail if no photo could be read.

    Raises:
        CounterGroundError: there is not one.
    """
    if not features.readable.any():
        raise CounterGroundError(
            f"Not one of the {len(features.readable)} photos can be read; the first: {features.reasons[0]}. "
            "Check that they are image files and still where the manifest says."
        )


def _decode_ahead(task: Task, blocks: Sequence[Sequence[tuple[str, Path]]]) -> Iterator[list[_Decoded]]:
    """Yield decoded blocks in order, while the next few are being decoded by threads."""
    workers = min(32, (os.cpu_count() or 1) + 1)
    waiting: deque[list[Future[_Decoded]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for block in blocks:
                waiting.append([pool.submit(_decode, task, photo, path) for photo, path in block])
                if len(waiting) > _BLOCKS_AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _decode(task: Task, content: str, path: Path) -> _Decoded:
    try:
        photo = load_photo(path, rgb=task.convert_rgb_first, expect_id=content)
    except UnreadablePhoto as error:
        return _Decoded(reason=error.reason, lasting=holds_content(path, content))
    try:
        prepared = task.prepare(photo.image)
    except (Exception, SystemExit) as error:
        raise CounterGroundError(f"{task.spec}: preprocessing {path} failed: {said(error)}.") from error
    return _Decoded(prepared, converted=photo.converted)


def _run_block(task: Task, photos: Sequence[_Decoded]) -> Block:
    rows = np.zeros((len(photos), task.dim), dtype=np.float32)
    reasons = tuple(photo.reason for photo in photos)
    readable = np.array([reason is None for reason in reasons])
    if readable.any():
        given = task.run([photo.prepared for photo in photos])
        rows[readable] = given[readable]
        _refuse_nan(task, rows)
    converted = np.array([photo.converted for photo in photos], dtype=bool)
    return Block(rows, converted, reasons)


def _forward(model: Encoder, batch_size: int, block: Sequence[torch.Tensor | None]) -> np.ndarray:
    """Encode a block with blanks for what is unreadable and for what is missing to a full one."""
    import torch

    blank = torch.zeros_like(next(pixels for pixels in block if pixels is not None))
    slots = [pixels if pixels is not None else blank for pixels in block]
    slots += [blank] * (batch_size - len(slots))
    try:
        encoded = model.encode(torch.stack(slots))
    except (Exception, SystemExit) as error:
        hint = " Use a smaller --batch-size." if "memory" in str(error).lower() else ""
        raise CounterGroundError(f"{model.spec}: encoding photos failed: {said(error)}.{hint}") from error
    shape = tuple(getattr(encoded, "shape", ()))
    if shape != (len(slots), model.dim):
        raise CounterGroundError(
            f"{model.spec} gave features {shape} for {len(slots)} photos, not {model.dim} each."
        )
    return np.asarray(encoded.numpy())[: len(block)]


def said(error: BaseException) -> str:
    """Return the kind of an error and its words in one line, without a final stop."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(".")


def _refuse_nan(task: Task, rows: np.ndarray) -> None:
    if not np.isfinite(rows).all():
        raise CounterGroundError(
            f"{task.spec} gave features that are not numbers. Use --precision fp32, or check its weights."
        )


def holds_content(path: Path, content: str) -> bool:
    """Whether the file still holds this content: a reason that lies in the content itself can be kept."""
    try:
        return photo_id(path) == content
    except (OSError, UnreadablePhoto):
        return False


def _in_order(photo_ids: Sequence[str], blocks: Sequence[Sequence[str]], found: Sequence[Block]) -> Features:
    assert len(blocks) == len(found), "every block is either stored or encoded"
    row_of = {photo: row for row, photo in enumerate(photo for block in blocks for photo in block)}
    order = np.array([row_of[photo] for photo in photo_ids])
    reasons = [reason for block in found for reason in block.reasons]
    assert len(reasons) == len(row_of), "every photo arrives exactly once"
    readable = np.array([reason is None for reason in reasons])[order]
    return Features(
        matrix=np.concatenate([block.features for block in found])[order],
        readable=readable,
        converted=np.concatenate([block.converted for block in found])[order],
        reasons={row: str(reasons[index]) for row, index in enumerate(order) if reasons[index] is not None},
    )
