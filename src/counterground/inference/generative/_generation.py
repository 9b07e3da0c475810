"""Answers that models generate: each is stored as soon as it arrives, so that none is paid for twice."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.files import check_writable
from counterground.inference.store import ReadStatus
from counterground.models import own_arithmetic
from counterground.photos import AnyPhoto, UnreadablePhoto, load_photo
from counterground.progress import progress_bar
from counterground.results import PositionsRecord

if TYPE_CHECKING:
    from counterground.models import Generative


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
        several: number of answers that name more than one candidate.
        unclear: number of answers to yes-no questions that begin with neither yes nor no.
        positions: effect of the order of options, by number of options.
    """

    predictions: pl.DataFrame
    read: ReadStatus
    asked: list[dict[str, Any]]
    answers: pl.DataFrame | None = None
    unmatched: int | None = None
    several: int = 0
    unclear: int = 0
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


class AnswerStore:
    """Answers of one model on disk, by the content of the photo and the question.

    Every answer is a transaction of its own: after a crash it is stored as a whole or not at all. If two
    processes ask the same question, both use the answer that came first.

    Raises:
        CounterGroundError: the file cannot be written or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        check_writable(path.parent)
        try:
            self._connection = sqlite3.connect(
                path, timeout=60, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._failed(error) from error
        try:
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_SCHEMA)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._connection.close()  # this releases the lock
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, photo_id: str, question: str) -> Answer | None:
        """Return a stored answer."""
        with self._lock:
            try:
                row = self._connection.execute(
                    "SELECT answer, converted FROM answers WHERE photo_id = ? AND question = ?",
                    (photo_id, question),
                ).fetchone()
            except sqlite3.Error as error:
                raise self._failed(error) from error
        return None if row is None else Answer(row[0], bool(row[1]))

    def put(self, photo_id: str, question: str, answer: Answer) -> Answer:
        """Store an answer and return the one that counts: the first."""
        with self._lock:
            try:
                values = (photo_id, question, answer.text, int(answer.converted))
                self._connection.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", values)
            except sqlite3.Error as error:
                raise self._failed(error) from error
        return self.get(photo_id, question) or answer

    def _failed(self, error: Exception) -> CounterGroundError:
        return CounterGroundError(
            f"The answers in {self._path} cannot be read or written ({error}). Free some space, or move that "
            "file away to generate them again."
        )


def count_missing(store: Path, questions: Mapping[str, Iterable[str]]) -> int:
    """Return how many answers to these questions, by photo, are not stored yet."""
    with closing(AnswerStore(store)) as answers:
        return sum(len(missing) for missing in _look_up(answers, questions)[1].values())


def generate_all(
    model: Generative,
    sources: Mapping[str, AnyPhoto],
    questions: Mapping[str, Iterable[str]],
    store: Path,
    *,
    total: int,
    show_progress: bool,
) -> tuple[dict[tuple[str, str], Answer], dict[str, str]]:
    """Generate the answers that are not stored yet, about as many photos at once as the model allows.

    After an interrupt or a failed call, calls in flight finish and their answers are stored.

    Args:
        model: the model to ask.
        sources: what each photo is read from, by content.
        questions: the questions about each photo, by content.
        store: the file of answers.
        total: how many photos the progress bar counts, copies included.
        show_progress: show a progress bar.

    Returns:
        the answers by content and question, and why photos could not be read, by content.

    Raises:
        CounterGroundError: the model fails, or the answers cannot be stored.
    """
    reasons: dict[str, str] = {}
    with closing(AnswerStore(store)) as kept:
        answers, missing = _look_up(kept, questions)
        pool = ThreadPoolExecutor(max(1, model.concurrency), thread_name_prefix="ask")
        shown, done = show_progress and len(missing) > 0, total - len(missing)
        try:
            with progress_bar(model.display_name, total=total, done=done, shown=shown, keep=True) as bar:
                asked = {
                    pool.submit(_ask, model, kept, photo, sources[photo], about): photo
                    for photo, about in missing.items()
                }
                for future in as_completed(asked):
                    given = future.result()
                    if isinstance(given, str):
                        reasons[asked[future]] = given
                    else:
                        answers.update(given)
                    bar.advance()
        except BaseException:
            model.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return answers, reasons


def _look_up(
    kept: AnswerStore, questions: Mapping[str, Iterable[str]]
) -> tuple[dict[tuple[str, str], Answer], dict[str, list[str]]]:
    """Return the answers that are stored, and the questions about each photo without an answer."""
    answers: dict[tuple[str, str], Answer] = {}
    missing: dict[str, list[str]] = {}
    for photo, about in questions.items():
        for question in about:
            known = kept.get(photo, question)
            if known is None:
                missing.setdefault(photo, []).append(question)
            else:
                answers[photo, question] = known
    return answers, missing


def _ask(
    model: Generative, kept: AnswerStore, content: str, path: AnyPhoto, questions: list[str]
) -> dict[tuple[str, str], Answer] | str:
    """Return the answers about one photo, or why it cannot be read."""
    try:
        photo = load_photo(path, rgb=model.convert_rgb_first, expect_id=content)
    except UnreadablePhoto as error:
        return error.reason
    answers = {}
    for question in questions:
        try:
            with own_arithmetic(model.device):
                # A user's own model may change the image, as by thumbnail().
                text = model.generate(photo.image.copy(), question, max_new_tokens=MAX_NEW_TOKENS)
        except UsageError:
            raise
        except CounterGroundError as error:
            raise CounterGroundError(f"{error} It was asked about {_called(path)}.") from error
        except (Exception, SystemExit) as error:
            raise CounterGroundError(
                f"{model.spec}: asking about {_called(path)} failed: {error_summary(error)}."
            ) from error
        if not isinstance(text, str):
            raise CounterGroundError(
                f"{model.spec} answered {type(text).__name__}, not text, about {_called(path)}."
            )
        answers[content, question] = kept.put(content, question, Answer(_writable(text), photo.converted))
    return answers


def prompt_of(model: Generative, question: str, answer: str | None = None) -> str:
    """Return the text that a model gets for a question and the answer to be scored, for ``run.json``.

    Raises:
        CounterGroundError: the model's own code fails, or returns something else.
    """
    try:
        text = model.prompt(question, answer)
    except CounterGroundError:
        raise
    except (Exception, SystemExit) as error:
        raise CounterGroundError(f"{model.spec}: prompt() failed: {error_summary(error)}.") from error
    if not isinstance(text, str):
        raise CounterGroundError(f"{model.spec}: prompt() returned {type(text).__name__}, not text.")
    return _writable(text)


def _writable(text: str) -> str:
    """Replace half a surrogate pair, as a server may send alone: it cannot be written to a file."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _called(photo: AnyPhoto) -> str:
    """Return what an error calls a photo: without the folders above it, which are the user's own."""
    return photo.name if isinstance(photo, Path) else str(photo)
