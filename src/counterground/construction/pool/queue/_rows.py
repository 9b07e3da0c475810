"""Records that the label queue returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class QueuedPhoto:
    """A photo to show on screen; ``row`` stands for it in addresses, which hides its source."""

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
        photos: the next photos, reserved for ``LEASE_SECONDS``.
        revoked: photos of ``leased`` that the annotator need no longer decide on.
        done: photos the annotator has decided on.
        left: photos that await the annotator, including those on screen.
        pace: median seconds of the annotator's last 101 decisions that stand, without postponed photos; None
            if none was timed.
    """

    photos: list[QueuedPhoto]
    revoked: list[str]
    done: int
    left: int
    pace: float | None


@dataclass(frozen=True)
class Remaining:
    """Photos still unfinished when an annotator has decided on everything.

    Attributes:
        waiting: photos that the annotator decided on and that await another annotator.
        elsewhere: photos that others have on screen now.
        alone: whether nobody else takes part, so that no photo awaits a second annotator.
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
    """The progress of a task in one class, in photos.

    Attributes:
        class_name: the class.
        photos: photos of the task (for backgrounds, those that stand in the review).
        complete: photos on which enough annotators decided, or someone adjudicated.
        begun: photos decided on by fewer annotators than they need.
        disagreed: photos on which annotators disagree and nobody adjudicated.
    """

    class_name: str
    photos: int
    complete: int
    begun: int
    disagreed: int


@dataclass(frozen=True)
class AnnotatorProgress:
    """An annotator's progress with a task: photos decided on, photos left, and median seconds per photo."""

    name: str
    done: int
    left: int
    pace: float | None
