"""Answers that models generate: each is stored as soon as it arrives, so that none is paid for twice."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from rich.console import Console

from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.files import cache_dir, check_writable
from counterground.inference._encode import PhotoSources, require_readable
from counterground.inference._request import Request
from counterground.inference._store import ReadStatus
from counterground.models import own_arithmetic, without_thoughts
from counterground.photos import AnyPhoto, UnreadablePhoto, load_photo
from counterground.progress import progress_bar
from counterground.results import PositionsRecord

if TYPE_CHECKING:
    from counterground.models import Generative


RULE = (
    "Answers and names are split into words: lower case, without accents and punctuation; each "
    "character of a script without spaces (Chinese, Japanese, Korean, Thai, ...) is a word; a name with "
    "commas counts as several. What a model writes between <think> and </think> is no part of its answer. A "
    "class is named where all words of one of its names occur in a row, the last one also in the plural (-s, "
    "-es). The first name in the answer wins, the longer of two that begin at the same word, the lower index "
    "of two with the same text. An answer that names no class is unmatched: it counts as wrong and is "
    "reported separately."
)
# Includes the selectors that turn a character, such as a tick, into an emoji.
_ACCENTS = re.compile("[\u0300-\u036f\u20d0-\u20ff\ufe00-\ufe0f]")
_APOSTROPHES = re.compile("[\u02b0-\u02ff]")  # as in Hawaiian; Unicode counts them as letters
# Scripts in which a text has no spaces, or in which particles follow a noun without one (Korean).
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)
_LIGATURES = str.maketrans({"æ": "ae", "œ": "oe", "ß": "ss", "ø": "o", "ł": "l", "đ": "d", "™": " "})


class Matcher:
    """Finds classes in answers; ``surface_forms`` are the ways each class is written."""

    def __init__(self, surface_forms: Sequence[Sequence[str]]) -> None:
        self._names: dict[tuple[str, ...], list[int]] = {}
        for index, forms in enumerate(surface_forms):
            for name in forms:
                for part in [name, *name.split(",")]:
                    words = split_words(part)
                    if words and index not in self._names.setdefault(words, []):
                        self._names[words].append(index)
        self._longest = max((len(words) for words in self._names), default=0)

    def match(self, answer: str, candidates: set[int]) -> int | None:
        """Return the class among the candidates that an answer names first, None for none."""
        words = split_words(without_thoughts(answer))
        for at in range(len(words)):
            for length in range(min(self._longest, len(words) - at), 0, -1):
                *first, last = words[at : at + length]
                for ending in (last, last.removesuffix("s"), last.removesuffix("es")):
                    named = candidates.intersection(self._names.get((*first, ending), ()))
                    if named:
                        return min(named)
        return None


def says_yes(answer: str) -> bool:
    """Return whether the first word of an answer is yes."""
    return split_words(without_thoughts(answer))[:1] == ("yes",)


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of a text in lower case, without accents and punctuation."""
    apart = unicodedata.normalize("NFKD", text.lower().translate(_LIGATURES))
    # Composed again, since NFKD also splits Korean syllables.
    plain = unicodedata.normalize("NFC", _APOSTROPHES.sub(" ", _ACCENTS.sub("", apart)))
    kept = "".join(letter if unicodedata.category(letter)[0] in "LNM" else " " for letter in plain)
    return tuple(_SPACELESS.sub(r" \g<0> ", kept).split())


Questions = Mapping[str, list[str]]
"""The questions about each photo, by content."""


@dataclass(frozen=True)
class GenerativeOutput:
    """The results of a generative model.

    Attributes:
        predictions: rows of ``predictions.parquet``, one for each prompt and photo that was read.
        read: which photos were read.
        asked: JSON-ready account of each prompt.
        answers: generated answers, None if losses were computed.
        unmatched: number of predictions without a class, because no answer names a candidate; None if losses
            were computed.
        positions: effect of the order of options, by number of options.
    """

    predictions: pl.DataFrame
    read: ReadStatus
    asked: list[dict[str, Any]]
    answers: pl.DataFrame | None = None
    unmatched: int | None = None
    positions: tuple[PositionsRecord, ...] = ()


MAX_NEW_TOKENS = 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    photo_id TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL, converted INTEGER NOT NULL,
    PRIMARY KEY (photo_id, question)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Answer:
    """What a model answered about a photo, and whether the photo had to be converted to RGB."""

    text: str
    converted: bool


Answers = dict[tuple[str, str], Answer]
"""Answers by the content of the photo and the question."""


class AnswerStore:
    """Answers of one model on disk, by the content of the photo and the question.

    Every answer is a transaction of its own: after a crash it is stored as a whole or not at all. If two
    processes ask the same question, both use the answer that came first.

    Raises:
        CounterGroundError: the file cannot be written or is damaged.
    """

    def __init__(self, model: Generative) -> None:
        key = f"{model.fingerprint}\n{model.device}\n{model.convert_rgb_first}\n{MAX_NEW_TOKENS}"
        self._path = cache_dir() / "answers" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.sqlite"
        check_writable(self._path.parent)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            self._path, timeout=60, isolation_level=None, check_same_thread=False
        )
        try:
            self._run("PRAGMA synchronous = FULL")
            self._run(_SCHEMA)
        except CounterGroundError:
            self.close()  # this releases the lock
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, photo_id: str, question: str) -> Answer | None:
        """Return a stored answer."""
        statement = "SELECT answer, converted FROM answers WHERE photo_id = ? AND question = ?"
        row = self._run(statement, photo_id, question)
        return None if row is None else Answer(row[0], bool(row[1]))

    def put(self, photo_id: str, question: str, answer: Answer) -> Answer:
        """Store an answer and return the one that counts: the first."""
        values = (photo_id, question, answer.text, int(answer.converted))
        self._run("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", *values)
        return self.get(photo_id, question) or answer

    def look_up(self, questions: Questions) -> tuple[Answers, dict[str, list[str]]]:
        """Return the answers that are stored, and the questions about each photo without an answer."""
        answers: Answers = {}
        missing: dict[str, list[str]] = {}
        for photo, about in questions.items():
            for question in about:
                if known := self.get(photo, question):
                    answers[photo, question] = known
                else:
                    missing.setdefault(photo, []).append(question)
        return answers, missing

    def _run(self, statement: str, *values: Any) -> Any:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchone()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise CounterGroundError(
                    f"The answers in {self._path} cannot be read or written ({error}). Free some space, or "
                    "move that file away to generate them again."
                ) from error


def generate_answers(request: Request, model: Generative, questions: Questions) -> tuple[Answers, ReadStatus]:
    """Generate the answers that are not stored yet, about as many photos at once as the model allows.

    Standard error says how many calls are to be made.

    After an interrupt or a failed call, calls in flight finish and their answers are stored.

    Returns:
        the answers by content and question, and which photos were read.

    Raises:
        CounterGroundError: the model fails, the answers cannot be stored, or no photo can be read.
    """
    photos, settings = request.benchmark.photos, request.settings
    sources, total = PhotoSources(request.benchmark, photos), photos.height
    failed: dict[str, str] = {}
    with closing(AnswerStore(model)) as kept:
        answers, missing = kept.look_up(questions)
        if settings.show_progress and model.device == "remote":
            calls = sum(map(len, missing.values()))
            Console(stderr=True, highlight=False, markup=False, emoji=False).print(
                f"{model.display_name}: {calls:,} calls to make; {len(answers):,} answers are cached."
            )
        pool = ThreadPoolExecutor(max(1, model.concurrency), thread_name_prefix="ask")
        shown, done = settings.show_progress and len(missing) > 0, total - len(missing)
        try:
            with progress_bar(model.display_name, total=total, done=done, shown=shown, keep=True) as bar:
                asked = {
                    pool.submit(_ask, model, kept, photo, sources[photo], about): photo
                    for photo, about in missing.items()
                }
                for future in as_completed(asked):
                    try:
                        answers.update(future.result())
                    except UnreadablePhoto as error:
                        failed[asked[future]] = error.reason
                    bar.advance()
        except BaseException:
            model.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    contents = photos["photo_id"].to_list()
    # The first answer about each photo says if it was converted to RGB.
    first = [answers.get((photo, questions[photo][0])) for photo in contents]
    reasons = {row: failed[photo] for row, photo in enumerate(contents) if photo in failed}
    read = ReadStatus(np.array([answer is not None and answer.converted for answer in first]), reasons)
    require_readable(read)
    return answers, read


def _ask(model: Generative, kept: AnswerStore, content: str, path: AnyPhoto, questions: list[str]) -> Answers:
    """Return the answers about one photo.

    Raises:
        UnreadablePhoto: it cannot be read.
        CounterGroundError: the model fails.
    """
    photo = load_photo(path, rgb=model.convert_rgb_first, expect_id=content)
    called = path.name if isinstance(path, Path) else str(path)  # without the user's own folders above it
    answers = {}
    for question in questions:
        try:
            with own_arithmetic(model.device):
                # A user's own model may change the image, as by thumbnail().
                text = model.generate(photo.image.copy(), question, max_new_tokens=MAX_NEW_TOKENS)
        except UsageError:
            raise
        except CounterGroundError as error:
            raise CounterGroundError(f"{error} It was asked about {called}.") from error
        except (Exception, SystemExit) as error:
            raise CounterGroundError(
                f"{model.spec}: asking about {called} failed: {error_summary(error)}."
            ) from error
        if not isinstance(text, str):
            raise CounterGroundError(
                f"{model.spec} answered {type(text).__name__}, not text, about {called}."
            )
        answers[content, question] = kept.put(content, question, Answer(_writable(text), photo.converted))
    return answers


def prompt_of(model: Generative, question: str, answer: str | None = None) -> str:
    """Return the text that a model gets for a question and the answer to be scored, for ``run.json``.

    Raises:
        CounterGroundError: the model's own code fails.
    """
    try:
        return _writable(model.prompt(question, answer))
    except CounterGroundError:
        raise
    except (Exception, SystemExit) as error:
        raise CounterGroundError(f"{model.spec}: prompt() failed: {error_summary(error)}.") from error


def _writable(text: str) -> str:
    """Replace half a surrogate pair, as a server may send alone: it cannot be written to a file."""
    return text.encode("utf-8", "replace").decode("utf-8")
