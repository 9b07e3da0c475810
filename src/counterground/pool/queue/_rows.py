"""What the label queue answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QueuedPhoto:
    """A photo on its way to the screen; ``row`` stands for it in addresses, which then hide its source."""

    path: str
    row: int
    class_name: str
    width: int | None
    height: int | None
    postponed: bool


@dataclass(frozen=True)
class Batch:
    """What an annotator gets.

    Attributes:
        photos: the next ones, kept for the annotator for ``LEASE_SECONDS``.
        revoked: those of ``leased`` that the annotator need no longer decide on.
        done: photos the annotator has decided on.
        left: photos that await the annotator, those on screen included.
        pace: median seconds of the annotator's last 101 decisions; null where none was timed.
    """

    photos: list[QueuedPhoto]
    revoked: list[str]
    done: int
    left: int
    pace: float | None


@dataclass(frozen=True)
class Remaining:
    """Photos that are not finished when an annotator has decided on all.

    Attributes:
        waiting: the annotator decided; they await another one.
        elsewhere: others have them on screen now.
        alone: nobody else takes part, so no photo awaits a second annotator.
    """

    waiting: int
    elsewhere: int
    alone: bool


@dataclass(frozen=True)
class Disagreement:
    """A photo on which annotators disagree: the labels of each, by annotator."""

    photo: QueuedPhoto
    votes: dict[str, list[str]]


@dataclass(frozen=True)
class Adjudication:
    """The end of a disagreement: the id of the decision, its labels and its time (ISO, UTC)."""

    photo: QueuedPhoto
    id: int
    labels: list[str]
    at: str


@dataclass(frozen=True)
class Flag:
    """What curation found: a reason to discard, a sentence, and the other photo or class it names."""

    reason: str
    explanation: str
    row: int | None
    related: str | None


@dataclass(frozen=True)
class ClassProgress:
    """How far a task is in one class, in photos.

    Attributes:
        class_name: the class.
        photos: those the task is about (of backgrounds: those that stand in the review).
        complete: as many annotators as they need have decided, or someone has adjudicated.
        begun: decided on, but by fewer annotators than they need.
        disagreed: annotators disagree, and nobody has adjudicated.
    """

    class_name: str
    photos: int
    complete: int
    begun: int
    disagreed: int


@dataclass(frozen=True)
class AnnotatorProgress:
    """How far an annotator is with a task: photos decided on, photos left, and median seconds per photo."""

    name: str
    done: int
    left: int
    pace: float | None
