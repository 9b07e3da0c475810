"""Turn class names as folders or rows write them into a label space, without guessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.photos.labels._imagenet import (
    IMAGENET_SIZE,
    WRITE_INDEX,
    describe_class,
    find_imagenet_index,
    imagenet_candidates,
    imagenet_names,
    imagenet_wnids,
    name_key,
    quoted_ways,
    respelled,
    split_number,
    suggestions,
)
from counterground.photos.labels._label_space import LabelSpace
from counterground.text import and_more


class UnclearClasses(CounterGroundError):  # noqa: N818 - they are what is wrong
    """Class names that cannot be resolved; ``written`` are those that the message is about."""

    def __init__(self, message: str, written: Sequence[str]) -> None:
        super().__init__(message)
        self.written = tuple(written)


@dataclass(frozen=True)
class ClassAssignment:
    """A label space, the index in it of each name to be resolved, and what outputs must say."""

    label_space: LabelSpace
    index: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Reading:
    written: str
    name: str
    imagenet: int | None
    problem: str = ""  # why a name that should have had an ImageNet index has none
    impossible: bool = False  # the problem remains if no class is ImageNet's


def assign_classes(written: Sequence[str]) -> ClassAssignment:
    """Resolve class names as written: names, "100 black swan", wnids or bare ImageNet indices.

    Classes are in ImageNet order if all have an index, else sorted by name; numbers are never sorted as text.
    Names of no ImageNet class make a benchmark of its own ("benchmark" label space only); a few among many
    ImageNet names are noted.

    Raises:
        UnclearClasses: naming all of them: an index that disagrees with its name or is out of range, or two
            spellings of one class (see ``name_key``). An ambiguous name or a number before an unknown name is
            refused too, unless no name is of an ImageNet class and some are clearly of none.
    """
    readings = [_read(text) for text in written]
    _refuse_problems(readings)
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
    return _Reading(written, text, None, _problem(text) if found else "")


def _read_numbered(written: str, number: int, name: str) -> _Reading:
    if not name and number < IMAGENET_SIZE:
        return _Reading(written, imagenet_names("openai")[number], number)
    if not name or imagenet_candidates(name):
        problem = _problem(written)
        return _Reading(written, name, None if problem else number, problem, impossible=bool(problem))
    hint = did_you_mean(name, suggestions())
    problem = f"{name!r} is not a class of ImageNet-1K, although the number suggests one.{hint}"
    return _Reading(written, written.strip(), None, problem if number < IMAGENET_SIZE else "")


def _problem(text: str) -> str:
    try:
        find_imagenet_index(text)
    except UsageError as error:
        return str(error)
    return ""


def _refuse_problems(readings: Sequence[_Reading]) -> None:
    problems = [reading for reading in readings if reading.problem]
    if all(reading.imagenet is None for reading in readings) and len(problems) < len(readings):
        problems = [reading for reading in problems if reading.impossible]
    written = [reading.written for reading in problems]
    if len(problems) == 1:
        raise UnclearClasses(f"Class {problems[0].problem}", written)
    if problems:
        listed = [reading.problem.removesuffix(WRITE_INDEX) for reading in problems]
        remedy = WRITE_INDEX if any(reading.problem.endswith(WRITE_INDEX) for reading in problems) else ""
        message = f"{len(problems)} classes are not clear: {' '.join(listed)}{remedy}"
        raise UnclearClasses(message, written)


def refuse_same_classes(imagenet: Mapping[str, int | None]) -> None:
    """Refuse two spellings of one class, given the ImageNet index of each name or None.

    With an index each, they are two classes: ImageNet's *Cardigan* is a dog, its *cardigan* a garment.

    Raises:
        UnclearClasses: naming all of them.
    """
    _refuse_ways([same for same in respelled(imagenet) if None in map(imagenet.get, same)])


def note_other_classes(imagenet: Mapping[str, int | None]) -> tuple[str, ...]:
    """Return a note on names that mean other classes than their ImageNet indices say, as by a wrong order."""
    others = [
        f"{name!r} counts as {describe_class(index)}"
        for name, index in imagenet.items()
        if index is not None and _means_another(name.strip(), index)
    ]
    if not others:
        return ()
    return (f"imagenet_index contradicts the names of some classes: {and_more(others, 3)}.",)


def _means_another(name: str, index: int) -> bool:
    if name.lower() in imagenet_wnids():
        return find_imagenet_index(name) != index
    return bool(imagenet_candidates(name) and _problem(f"{index} {name}"))


def _refuse_doubles(readings: Sequence[_Reading]) -> None:
    writings: dict[int | str, list[str]] = {}
    for reading in readings:
        key = name_key(reading.name) if reading.imagenet is None else reading.imagenet
        writings.setdefault(key, []).append(reading.written)
    _refuse_ways([same for same in writings.values() if len(same) > 1])


def _refuse_ways(doubles: Sequence[Sequence[str]]) -> None:
    listed = [" and ".join(quoted_ways(same)) for same in doubles]
    written = [text for same in doubles for text in same]
    if len(doubles) == 1:
        raise UnclearClasses(f"{listed[0]} are the same class; merge the two.", written)
    if doubles:
        message = f"{len(doubles)} classes are written in several ways; merge {'; '.join(listed)}."
        raise UnclearClasses(message, written)


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
