"""Losses of answers if every photo has questions of its own: several photos at once, stored by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from counterground.errors import CounterGroundError
from counterground.inference.encoding import PhotoSources, encode_block, prepare_blocks, require_readable
from counterground.inference.generative._answer_losses import (
    block_size,
    checked_losses,
    losses_fn,
    losses_store,
    scoring,
)
from counterground.inference.request import Request
from counterground.inference.store import Block, FeatureStore, ReadStatus
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from PIL import Image

    from counterground.models import Generative

Pairs = Sequence[tuple[str, str]]
"""Questions and answers about one photo."""


def score_pairs(
    request: Request, model: Generative, pairs: Sequence[Pairs]
) -> tuple[list[np.ndarray], ReadStatus]:
    """Return, for each photo of the manifest, summed losses and token counts ``[2, k]`` of its answers.

    Photos with the same number of answers go together, in blocks in manifest order; what a killed run stored
    is read. Rows of unreadable photos hold zeros.

    Raises:
        CounterGroundError: the model fails, or no photo can be read.
    """
    photos = request.benchmark.photos
    keys = [_key(photo, about) for photo, about in zip(photos["photo_id"], pairs, strict=True)]
    first = {key: row for row, key in reversed(list(enumerate(keys)))}
    sizes = {len(about) for about in pairs}
    stores = {size: _store(request, model, size) for size in sizes}
    found: dict[str, tuple[np.ndarray, bool, str | None]] = {}
    missing: list[list[str]] = []
    for block in _blocks(request, first, pairs):
        stored = stores[len(pairs[first[block[0]]])].get(block)
        if stored is None:
            missing.append(block)
        else:
            found.update(_by_key(block, stored))
    new, total = sum(map(len, missing)), len(keys)
    shown = request.settings.show_progress and new > 0
    with progress_bar(model.display_name, total=total, done=total - new, shown=shown, keep=True) as bar:
        for block, scored, permanent in _score_blocks(request, model, missing, first, pairs):
            if permanent:
                stores[len(pairs[first[block[0]]])].put(block, scored)
            found.update(_by_key(block, scored))
            bar.advance(len(block))
    rows = [found[key] for key in keys]
    reasons = {row: reason for row, (_, _, reason) in enumerate(rows) if reason is not None}
    read = ReadStatus(
        np.array([reason is None for _, _, reason in rows]),
        np.array([converted for _, converted, _ in rows]),
        reasons,
    )
    require_readable(read)
    return [losses.reshape(2, -1) for losses, _, _ in rows], read


def _key(photo: str, about: Pairs) -> str:
    """Return what losses are stored by: the photo's content, and what is asked and answered about it."""
    return hashlib.sha256(f"{photo}\n{json.dumps(list(about))}".encode()).hexdigest()


def _store(request: Request, model: Generative, size: int) -> FeatureStore:
    """Open the store of photos with ``size`` answers; other photos in a block may change the last bits."""
    block = block_size(request)
    key = (f"{size} answers by photo", f"{block} at once")
    return losses_store(model, *key, answers=size, batch_size=block)


def _blocks(request: Request, first: dict[str, int], pairs: Sequence[Pairs]) -> Iterator[list[str]]:
    """Yield keys of photos with the same number of answers, in manifest order."""
    in_order = sorted(first, key=first.__getitem__)
    for size in sorted({len(pairs[row]) for row in first.values()}):
        alike = [key for key in in_order if len(pairs[first[key]]) == size]
        step = block_size(request)
        yield from (alike[start : start + step] for start in range(0, len(alike), step))


def _score_blocks(
    request: Request,
    model: Generative,
    blocks: Sequence[list[str]],
    first: dict[str, int],
    pairs: Sequence[Pairs],
) -> Iterator[tuple[list[str], Block, bool]]:
    """Yield blocks with their losses, and whether these may be stored; threads read photos ahead."""
    # Of copies, each is hashed until one is intact.
    file_of = cache(PhotoSources(request.benchmark, request.benchmark.photos).__getitem__)
    photo_ids = request.benchmark.photos["photo_id"]
    inputs = []
    for block in blocks:
        about = [pairs[first[key]] for key in block]
        function = losses_fn(model, len(about[0]), partial(_score, model, about))
        contents = [photo_ids[first[key]] for key in block]
        files = [(content, file_of(content)) for content in contents]
        inputs.append(([function], files))
    prepared = prepare_blocks(inputs, ahead=1)
    for block, ((function,), _), (decoded,) in zip(blocks, inputs, prepared, strict=True):
        yield block, encode_block(function, decoded), all(photo.permanent for photo in decoded)


def _score(model: Generative, pairs: Sequence[Pairs], block: Sequence[Image.Image | None]) -> np.ndarray:
    """Return ``[n, 2k]``: summed losses, then tokens; zeros for unreadable photos."""
    size = len(pairs[0])
    rows = np.zeros((len(block), 2 * size), dtype=np.float32)
    readable = [row for row, image in enumerate(block) if image is not None]
    images = [image for image in block if image is not None]
    questions = [[question for question, _ in pairs[row]] for row in readable]
    answers = [[answer for _, answer in pairs[row]] for row in readable]
    with scoring(model):
        scored = [(sums, tokens) for sums, tokens in model.batch_losses(images, questions, answers)]
    if len(scored) != len(readable):
        raise CounterGroundError(
            f"{model.spec} returned losses of {len(scored)} photos instead of {len(readable)}."
        )
    for row, (sums, tokens) in zip(readable, scored, strict=True):
        rows[row] = np.concatenate(checked_losses(model.spec, sums, tokens, size))
    return rows


def _by_key(block: Sequence[str], scored: Block) -> Iterator[tuple[str, tuple[np.ndarray, bool, str | None]]]:
    for row, key in enumerate(block):
        yield key, (np.array(scored.features[row]), bool(scored.converted[row]), scored.reasons[row])
