"""Multiple choice by losses: the options of each photo, and the losses of all of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from string import ascii_uppercase
from typing import TYPE_CHECKING

import numpy as np

from counterground.errors import CounterGroundError, UsageError
from counterground.inference.encoding import PhotoSources, encode_block, prepare_blocks, require_readable
from counterground.inference.generative._answer_losses import (
    block_size,
    checked_losses,
    losses_fn,
    losses_store,
    scoring,
)
from counterground.inference.request import MAIN_OBJECT, Request
from counterground.inference.store import Block, FeatureStore, ReadStatus
from counterground.models import without_thoughts
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from PIL import Image

    from counterground.models import Generative


INSTRUCTION = "Answer with the option's letter from the given choices directly."
OWN_QUESTIONS = "the benchmark's own questions"
ORDERS = (
    "The options start in an order drawn from photo_id. All cyclic rotations of it are asked, so that each "
    "option stands once at each position; the mean loss over them decides, or the majority of the answers."
)
RULE = (
    "An answer is read where it is the letter of an option, alone or in parentheses, with or without a point "
    "or colon, and nothing after it but the text of that option. What a model writes between <think> and "
    "</think> is no part of its answer. Any other answer is unparsable and counts for no option."
)
_ANSWER = re.compile(r"(?:\(([A-Za-z])\)|([A-Za-z])\)?)[.:]?(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """A question about a photo.

    Attributes:
        question: the question, without its options.
        texts: the options, in the order that is rotated.
        indices: index of each option in the candidate labels.
        true: position of the right option in ``texts``.
    """

    question: str
    texts: tuple[str, ...]
    indices: tuple[int, ...]
    true: int

    def __len__(self) -> int:
        return len(self.texts)

    def shown(self, order: int) -> list[str]:
        """Return the options in one of ``k`` orders: position ``p`` shows option ``(p + order) % k``."""
        return [*self.texts[order:], *self.texts[:order]]

    def prompt(self, order: int) -> str:
        """Return the question with its options in one order, each after its letter."""
        lines = [
            f"{letter}. {text}" for letter, text in zip(ascii_uppercase, self.shown(order), strict=False)
        ]
        return "\n".join([self.question, *lines, INSTRUCTION])

    def letters(self) -> list[tuple[str, str]]:
        """Return prompts and letters: those of the first order, then those of the next."""
        prompts, names = map(self.prompt, range(len(self))), ascii_uppercase[: len(self)]
        return [(prompt, letter) for prompt in prompts for letter in names]

    def answers(self) -> list[tuple[str, str]]:
        """Return the question and each option's text."""
        return [(self.question, text) for text in self.texts]

    def read(self, answer: str, order: int) -> int | None:
        """Return the position in ``texts`` of the option that an answer names by its letter (``RULE``)."""
        found = _ANSWER.fullmatch(without_thoughts(answer).strip())
        if not found:
            return None
        shown, place = self.shown(order), ascii_uppercase.index((found[1] or found[2]).upper())
        if place >= len(self):
            return None
        rest = _plain(found[3] or "")
        return (place + order) % len(self) if rest in ("", _plain(shown[place])) else None


def choices_of(request: Request) -> list[Choice]:
    """Return the question about each photo of the manifest.

    If the benchmark has none, the options are the true class and others: with ``--label-space confusable``
    those closest to the class, else some drawn from the label space by ``photo_id``.

    Raises:
        UsageError: only one name competes.
    """
    return list(_own(request) if request.benchmark.has_questions else _drawn(request))


def question_label(request: Request) -> str:
    """Return the value of the column ``prompts``."""
    return OWN_QUESTIONS if request.benchmark.has_questions else MAIN_OBJECT


def _own(request: Request) -> Iterator[Choice]:
    place = {text: index for index, text in enumerate(request.candidates.texts)}
    columns = ("photo_id", "question", "options", "answer")
    for photo, question, options, answer in request.benchmark.photos.select(columns).iter_rows():
        texts = _shuffled(photo, options)
        yield Choice(question, tuple(texts), tuple(place[text] for text in texts), texts.index(answer))


def _drawn(request: Request) -> Iterator[Choice]:
    labels, count = request.candidates, request.settings.options
    nearest = labels.space.candidates is not None
    competing = {
        index: _competing(request, index) for index in request.benchmark.photos["class_index"].unique()
    }
    for photo, index in request.benchmark.photos.select("photo_id", "class_index").iter_rows():
        true = labels.true_index[index]
        assert true is not None, "a class without a name in the label space was refused"
        others = [other for other in competing[index] if other != true]
        ordered = iter(others) if nearest else _draws(photo, others)
        chosen = {labels.texts[true]: true}
        for other in ordered:
            chosen.setdefault(labels.texts[other], other)
            if len(chosen) == count:
                break
        if len(chosen) < 2:
            raise UsageError(
                f"A question needs at least 2 options, and only {labels.texts[true]!r} competes."
            )
        texts = _shuffled(photo, list(chosen))
        yield Choice(
            MAIN_OBJECT,
            tuple(texts),
            tuple(chosen[text] for text in texts),
            texts.index(labels.texts[true]),
        )


def _competing(request: Request, class_index: int) -> Sequence[int]:
    """Return what the options of a class are taken from.

    For a class none of whose photos the referee could read, these are all names: a question has two options,
    and the photos are listed as unreadable.
    """
    labels, known = request.candidates, request.candidates.space.candidates
    unread = known is not None and labels.true_index[class_index] not in known
    return range(len(labels.space)) if unread else request.candidate_indices(class_index)


def _draws(photo: str, others: Sequence[int]) -> Iterator[int]:
    """Yield all of ``others`` in an order that depends on the photo alone."""
    left = list(others)
    for turn in range(len(left)):
        at = turn + _number(f"{photo} {turn}") % (len(left) - turn)
        left[turn], left[at] = left[at], left[turn]
        yield left[turn]


def _shuffled(photo: str, texts: Sequence[str]) -> list[str]:
    """Return the options in an order drawn from the photo: a tie then favours no position in the manifest."""
    return sorted(texts, key=lambda text: _number(f"{photo} {text}"))


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")


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
