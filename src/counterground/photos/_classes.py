"""From class names as folders or rows write them to a label space, without guessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.photos._imagenet import (
    IMAGENET_SIZE,
    find_imagenet_index,
    imagenet_candidates,
    imagenet_names,
    imagenet_wnids,
    split_number,
    suggestions,
)
from counterground.photos._label_space import LabelSpace


@dataclass(frozen=True)
class ClassAssignment:
    """A label space, the index in it of everything that was to be resolved, and what outputs must say."""

    label_space: LabelSpace
    index: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Reading:
    written: str
    name: str
    imagenet: int | None
    problem: str = ""  # why a name that should have had an ImageNet index has none


def assign_classes(written: Sequence[str]) -> ClassAssignment:
    """Resolve class names as written: names, "100 black swan", wnids or bare ImageNet indices.

    Classes stand in ImageNet order where all have an index, else in the order of their names; never in the
    order of numbers sorted as text. Names of no ImageNet class make a benchmark of its own ("benchmark" label
    space only); a few among many ImageNet names are noted.

    Raises:
        CounterGroundError: an index that disagrees with its name or is out of range, two writings of one
            class, or, beside ImageNet's classes, an ambiguous name or a number before an unknown one.
    """
    readings = [_read(text) for text in written]
    matched = [reading for reading in readings if reading.imagenet is not None]
    problems = [reading for reading in readings if reading.problem]
    if matched and problems:
        raise CounterGroundError(f"Class {problems[0].written!r}: {problems[0].problem}")
    _refuse_doubles(readings)
    ordered = _in_order(readings)
    space = LabelSpace(
        "benchmark",
        tuple(reading.name for reading in ordered),
        tuple(reading.imagenet for reading in ordered),
    )
    notes = [_note_unmatched(readings), _note_bare_numbers(readings)]
    return ClassAssignment(
        space,
        {reading.written: index for index, reading in enumerate(ordered)},
        tuple(note for note in notes if note),
    )


def _read(written: str) -> _Reading:
    text = written.strip()
    numbered = split_number(text)
    if text.lower() in imagenet_wnids():
        index = find_imagenet_index(text)
        return _Reading(written, imagenet_names("openai")[index], index)
    if numbered is not None:
        return _read_numbered(written, *numbered)
    found = imagenet_candidates(text)
    if len(found) == 1:
        return _Reading(written, text, min(found))
    if found:
        try:
            find_imagenet_index(text)
        except UsageError as error:
            return _Reading(written, text, None, str(error))
    return _Reading(written, text, None)


def _read_numbered(written: str, number: int, name: str) -> _Reading:
    if not name and number < IMAGENET_SIZE:
        return _Reading(written, imagenet_names("openai")[number], number)
    candidates = imagenet_candidates(name)
    if number in candidates:
        return _Reading(written, name, number)
    if not name or candidates:
        try:
            find_imagenet_index(written)
        except UsageError as error:
            raise CounterGroundError(f"Class {error}") from error
    hint = did_you_mean(name, suggestions())
    problem = f"{name!r} is not a class of ImageNet-1K, although the number suggests one.{hint}"
    return _Reading(written, written.strip(), None, problem if number < IMAGENET_SIZE else "")


def _refuse_doubles(readings: Sequence[_Reading]) -> None:
    seen: dict[int | str, str] = {}
    for reading in readings:
        key = reading.name if reading.imagenet is None else reading.imagenet
        if key in seen:
            raise CounterGroundError(
                f"{seen[key]!r} and {reading.written!r} are the same class; merge the two."
            )
        seen[key] = reading.written


def _in_order(readings: Sequence[_Reading]) -> list[_Reading]:
    if all(reading.imagenet is not None for reading in readings):
        return sorted(readings, key=lambda reading: reading.imagenet or 0)
    return sorted(readings, key=lambda reading: (reading.name.casefold(), reading.name))


def _note_unmatched(readings: Sequence[_Reading]) -> str:
    unmatched = sorted(reading.name for reading in readings if reading.imagenet is None)
    if not unmatched or len(unmatched) == len(readings):
        return ""
    return f"No ImageNet index for {len(unmatched)} of {len(readings)} classes: {', '.join(unmatched)}."


def _note_bare_numbers(readings: Sequence[_Reading]) -> str:
    if any(reading.written.strip().isdigit() for reading in readings):
        return "Classes named by bare numbers were read as ImageNet-1K indices."
    return ""
