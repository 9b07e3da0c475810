"""Answers in a model's own words: each one kept the moment it is there, so that none is asked for twice."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from counterground.errors import CounterGroundError
from counterground.files import check_writable
from counterground.inference._encode import said
from counterground.inference.generative._protocol import MAX_NEW_TOKENS
from counterground.photos import UnreadablePhoto, load_photo

if TYPE_CHECKING:
    from collections.abc import Callable

    from counterground.models import Generative


_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    photo_id TEXT NOT NULL, question TEXT NOT NULL, answer TEXT NOT NULL, converted INTEGER NOT NULL,
    PRIMARY KEY (photo_id, question)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Answer:
    """What a model said about a photo, and whether the photo had to be converted to RGB."""

    text: str
    converted: bool


class AnswerStore:
    """Answers of one model on disk, by the content of the photo and the question.

    Every answer is a transaction of its own: after a crash it is there as a whole or not at all. Where two
    processes ask the same, the answer that came first is the one both use.

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
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(_SCHEMA)
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def get(self, photo_id: str, question: str) -> Answer | None:
        """Return a kept answer."""
        with self._lock:
            try:
                row = self._connection.execute(
                    "SELECT answer, converted FROM answers WHERE photo_id = ? AND question = ?",
                    (photo_id, question),
                ).fetchone()
            except sqlite3.Error as error:
                raise self._broken(error) from error
        return None if row is None else Answer(str(row[0]), bool(row[1]))

    def keep(self, photo_id: str, question: str, answer: Answer) -> Answer:
        """Keep an answer and return the one that holds: the first."""
        with self._lock:
            try:
                self._connection.execute(
                    "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
                    (photo_id, question, answer.text, int(answer.converted)),
                )
            except sqlite3.Error as error:
                raise self._broken(error) from error
        return self.get(photo_id, question) or answer

    def _broken(self, error: sqlite3.Error) -> CounterGroundError:
        return CounterGroundError(
            f"The answers in {self._path} cannot be read or written ({error}). Free some space, or move that "
            "file away; then they are asked for again."
        )


@dataclass(frozen=True)
class Interview:
    """The answers by content and question, and why photos could not be read, by content."""

    answers: Mapping[tuple[str, str], Answer]
    reasons: Mapping[str, str]


def missing_answers(store: Path, wanted: Mapping[str, Iterable[str]]) -> int:
    """Return how many of the wanted answers, questions by photo, are not kept yet."""
    with closing(AnswerStore(store)) as kept:
        return sum(len(questions) for questions in _looked_up(kept, wanted)[1].values())


def interview(
    model: Generative,
    paths: Mapping[str, Path],
    wanted: Mapping[str, Iterable[str]],
    store: Path,
    advance: Callable[[int], None],
) -> Interview:
    """Ask about photos what is not kept yet, as many at once as the model allows.

    An interrupted or failed call lets the calls under way end and keeps their answers.

    Args:
        model: who is asked.
        paths: where each content lies.
        wanted: the questions about each content.
        store: the file of answers.
        advance: is told when a photo is done.

    Raises:
        CounterGroundError: the model fails, or the answers cannot be kept.
    """
    reasons: dict[str, str] = {}
    with closing(AnswerStore(store)) as kept:
        answers, open_questions = _looked_up(kept, wanted)
        pool = ThreadPoolExecutor(max(1, model.concurrency), thread_name_prefix="ask")
        try:
            asked = {
                pool.submit(_ask, model, kept, photo, paths[photo], questions): photo
                for photo, questions in open_questions.items()
            }
            for future in as_completed(asked):
                found = future.result()
                if isinstance(found, str):
                    reasons[asked[future]] = found
                else:
                    answers.update(found)
                advance(1)
        except BaseException:
            model.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return Interview(answers, reasons)


def _looked_up(
    kept: AnswerStore, wanted: Mapping[str, Iterable[str]]
) -> tuple[dict[tuple[str, str], Answer], dict[str, list[str]]]:
    """Return the answers that are kept, and the questions about each photo that are still open."""
    answers: dict[tuple[str, str], Answer] = {}
    still_open: dict[str, list[str]] = {}
    for photo, questions in wanted.items():
        for question in questions:
            known = kept.get(photo, question)
            if known is None:
                still_open.setdefault(photo, []).append(question)
            else:
                answers[photo, question] = known
    return answers, still_open


def _ask(
    model: Generative, kept: AnswerStore, content: str, path: Path, questions: list[str]
) -> dict[tuple[str, str], Answer] | str:
    """Return the answers about one photo, or why it cannot be read."""
    try:
        photo = load_photo(path, rgb=model.convert_rgb_first, expect_id=content)
    except UnreadablePhoto as error:
        return error.reason
    answers = {}
    for question in questions:
        try:
            text = model.generate(photo.image, question, max_new_tokens=MAX_NEW_TOKENS)
        except CounterGroundError:
            raise
        except (Exception, SystemExit) as error:
            raise CounterGroundError(f"{model.spec}: asking about {path} failed: {said(error)}.") from error
        if not isinstance(text, str):
            raise CounterGroundError(f"{model.spec} answered {type(text).__name__}, not text, about {path}.")
        # Half a character, which no file takes: a server may write one as \ud83d.
        text = text.encode("utf-8", "replace").decode("utf-8")
        answers[content, question] = kept.keep(content, question, Answer(text, photo.converted))
    return answers
