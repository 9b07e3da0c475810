"""Label spaces, and how class names as folders or rows write them become one, without guessing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from counterground.errors import CounterGroundError, UsageError, did_you_mean, first_problem
from counterground.files import given_path, read_text, write_text
from counterground.photos.labels._imagenet import (
    IMAGENET_SIZE,
    find_imagenet_index,
    imagenet_candidates,
    imagenet_names,
    imagenet_wnids,
    name_key,
    quoted_ways,
    split_number,
    suggestions,
)

_SIMPLE = ("A photo of {}.",)
_NUMBERED_LINE = re.compile(r"(\d{1,18})[\t ]+(\S.*)")


def prompt_templates(kind: str | Path = "simple") -> tuple[str, ...]:
    """Return prompt templates, each with exactly one ``{}`` for the class name.

    ``simple`` is the paper's "A photo of {}." (section 4); ``openai`` is OpenAI's 80 templates for ImageNet
    (table 10), a pinned copy, so that no library release changes the numbers; anything else is a file with
    one template per line. Fill with ``template.replace("{}", name)``: other braces, and braces in names, are
    then kept.

    Raises:
        UsageError: the kind is unknown and there is no such file.
        CounterGroundError: a line of the file without exactly one ``{}``, or no line at all.
    """
    if kind == "simple":
        return _SIMPLE
    if kind == "openai":
        text = files("counterground.photos").joinpath("data", "openai_templates.txt").read_text("utf-8")
        return tuple(text.splitlines())
    lines = _read_lines(
        given_path(str(kind)), "prompt templates: 'simple', 'openai' or a file, one template a line"
    )
    for number, line in enumerate(lines, 1):
        if line.count("{}") != 1:
            raise CounterGroundError(
                f"{kind}, line {number}: a template needs exactly one {{}}, not {line!r}."
            )
    return tuple(lines)


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return the class names of a file, in class order.

    Lines are names, one per class in order, or all of them ``<index><tab or space><name>`` as in the
    CounterAnimal archive's ``imagenet_names.txt``; the indices then give the order and must be 0 to n - 1.

    Raises:
        UsageError: there is no such file.
        CounterGroundError: an empty line, or a repeated or missing index where all lines have one.
    """
    path = Path(path)
    lines = _read_lines(path, "class names: a file, one name a line")
    numbered = [match for match in map(_NUMBERED_LINE.fullmatch, lines) if match]
    if len(numbered) < len(lines):  # a class may be called "747 jet"
        return tuple(lines)
    named = {int(match[1]): match[2] for match in numbered}
    if set(named) != set(range(len(lines))):
        raise CounterGroundError(
            f"{path}: its lines are numbered, but not from 0 to {len(lines) - 1}, each number once."
        )
    return tuple(named[index] for index in range(len(lines)))


def _read_lines(path: Path, expected: str) -> list[str]:
    try:
        text = read_text(path)
    except OSError as error:
        raise UsageError(
            f"Cannot read {str(path)!r}: {error.strerror or error}. Expected {expected}."
        ) from error
    except UnicodeDecodeError as error:
        raise CounterGroundError(f"{path} is not UTF-8 text: {error.reason}. Save it as UTF-8.") from error
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if lines == [""]:
        raise CounterGroundError(f"{path} is empty; expected {expected}.")
    if "" in lines:
        raise CounterGroundError(f"{path}, line {lines.index('') + 1} is empty; remove it.")
    return lines


@dataclass(frozen=True)
class LabelSpace:
    """Ordered class names of a head.

    Predictions are indices into ``names``, never names: if a name occurs twice (OpenAI's *missile*), its
    texts are equal, the two logits tie exactly, the lower index wins, and a photo of the other class counts
    as wrong and as a tie.

    Attributes:
        name: "imagenet", "benchmark", ...
        names: ordered class names.
        imagenet: ImageNet-1K index of each class, None if it has none; no index twice.
        candidates: for 1 vs. 20 (paper appendix C.1): class -> indices that compete for its photos; both
            index ``names``. None: all compete.
        members: if classes are wider than ImageNet's (the dogs of ImageNet-9 are 116 of its classes), the
            ImageNet-1K indices of each class, none in two; an answer with any of them counts as the class.

    Raises:
        CounterGroundError: lengths, indices or names that do not fit together.
    """

    name: str
    names: tuple[str, ...]
    imagenet: tuple[int | None, ...]
    candidates: Mapping[int, tuple[int, ...]] | None = field(default=None, hash=False)
    members: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        # Of NumPy's integers JSON would hold none.
        known = tuple(None if index is None else int(index) for index in self.imagenet)
        object.__setattr__(self, "imagenet", known)
        if self.members is not None:
            object.__setattr__(self, "members", tuple(tuple(map(int, each)) for each in self.members))
        if problem := self._names_problem() or self._indices_problem():
            raise CounterGroundError(f"Label space {self.name!r}: {problem}.")

    def _names_problem(self) -> str:
        if not self.names:
            return "it has no classes"
        if not all(name.strip() for name in self.names):
            return "a class has an empty name"
        if len(self.names) != len(self.imagenet):
            return f"{len(self.names)} names but {len(self.imagenet)} ImageNet indices"
        if self.members is not None and (len(self.members) != len(self.names) or not all(self.members)):
            return "not each class has members"
        return ""

    def _indices_problem(self) -> str:
        known = [index for index in self.imagenet if index is not None]
        for indices in (known, list(chain.from_iterable(self.members or ()))):
            if wrong := [index for index in indices if not 0 <= index < IMAGENET_SIZE]:
                return f"{wrong[0]} is not an ImageNet-1K index (0 to {IMAGENET_SIZE - 1})"
            if twice := [index for index, count in Counter(indices).items() if count > 1]:
                return f"two classes have ImageNet index {twice[0]}"
        for index, competing in (self.candidates or {}).items():
            named = {index, *competing}
            distinct = len(set(competing)) == len(competing) > 0
            if not distinct or not 0 <= min(named) <= max(named) < len(self.names):
                return f"the candidates of class {index} are not distinct classes of it"
        return ""

    def __len__(self) -> int:
        return len(self.names)

    def index_of(self, name: str) -> int:
        """Return the index of the class with exactly this name.

        Raises:
            UsageError: none or several have it.
        """
        found = [index for index, known in enumerate(self.names) if known == name]
        if len(found) != 1:
            raise UsageError(f"{name!r} is the name of {len(found)} classes of label space {self.name!r}.")
        return found[0]

    def to_json(self) -> str:
        """Return this label space as JSON; the same space gives the same text."""
        candidates = None
        if self.candidates is not None:
            candidates = {str(index): list(self.candidates[index]) for index in sorted(self.candidates)}
        content = {
            "name": self.name,
            "names": self.names,
            "imagenet": self.imagenet,
            "candidates": candidates,
            **({} if self.members is None else {"members": self.members}),
        }
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> LabelSpace:
        """Read what ``to_json`` wrote.

        Raises:
            CounterGroundError: not JSON, a missing field, or fields that do not fit together.
        """
        try:
            return TypeAdapter(cls).validate_json(text, strict=True)
        except ValidationError as error:
            raise CounterGroundError(f"It is not a label space: {first_problem(error)}.") from error

    def save(self, path: Path) -> None:
        """Write this label space to ``path`` as JSON, atomically.

        Raises:
            CounterGroundError: the file cannot be written.
        """
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> LabelSpace:
        """Read a label space from ``path``.

        Raises:
            UsageError: there is no such file.
            CounterGroundError: the file is not a label space.
        """
        try:
            return cls.from_json(read_text(path))
        except OSError as error:
            raise UsageError(f"Cannot read the label space {path}: {error.strerror or error}.") from error
        except (UnicodeDecodeError, CounterGroundError) as error:
            raise CounterGroundError(f"{path}: {error}") from error


def imagenet_classes(names: Literal["openai", "wordnet"] = "openai") -> LabelSpace:
    """Return the 1000 classes of ImageNet-1K under OpenAI's or WordNet's names (see ``imagenet_names``)."""
    return LabelSpace("imagenet", imagenet_names(names), tuple(range(IMAGENET_SIZE)))


@dataclass(frozen=True)
class ClassAssignment:
    """A label space, the index in it of each name to be resolved, and what outputs must say."""

    classes: LabelSpace
    index: dict[str, int]
    notes: tuple[str, ...]


def note_unmatched(space: LabelSpace) -> tuple[str, ...]:
    """Return a note on the classes without an ImageNet index, if others have one."""
    unmatched = sorted(name for name, index in zip(space.names, space.imagenet, strict=True) if index is None)
    if not 0 < len(unmatched) < len(space):
        return ()
    return (f"No ImageNet index for {len(unmatched)} of {len(space)} classes: {', '.join(unmatched)}.",)


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
        CounterGroundError: naming all of them: an index that disagrees with its name or is out of range, or
            two spellings of one class (see ``name_key``). An ambiguous name or a number before an unknown
            name is refused too, unless no name is of an ImageNet class and some are clearly of none.
    """
    readings = [_read(text) for text in written]
    _refuse_problems(readings)
    known = all(reading.imagenet is not None for reading in readings)
    ordered = sorted(
        readings, key=lambda each: (each.imagenet or 0 if known else each.name.casefold(), each.name)
    )
    space = LabelSpace(
        "benchmark",
        tuple(reading.name for reading in ordered),
        tuple(reading.imagenet for reading in ordered),
    )
    notes = note_unmatched(space)
    if any(reading.written.strip().isdigit() for reading in readings):
        notes += ("Classes named by bare numbers were read as ImageNet-1K indices.",)
    return ClassAssignment(space, {each.written: index for index, each in enumerate(ordered)}, notes)


def _read(written: str) -> _Reading:
    text = written.strip()
    wnid = text.lower() in imagenet_wnids()
    number, name = (not wnid and split_number(text)) or (None, text)
    if name and not wnid and not imagenet_candidates(name):
        problem = ""
        if number is not None and number < IMAGENET_SIZE:
            hint = did_you_mean(name, suggestions())
            problem = f"{name!r} is not a class of ImageNet-1K, although the number suggests one.{hint}"
        return _Reading(written, text, None, problem)
    try:
        index = find_imagenet_index(text)
    except UsageError as error:
        return _Reading(written, text, None, str(error), impossible=number is not None)
    return _Reading(written, imagenet_names("openai")[index] if wnid or not name else name, index)


def _refuse_problems(readings: Sequence[_Reading]) -> None:
    problems = [reading for reading in readings if reading.problem]
    if all(reading.imagenet is None for reading in readings) and len(problems) < len(readings):
        problems = [reading for reading in problems if reading.impossible]
    if problems:
        raise CounterGroundError(f"Class {' '.join(reading.problem for reading in problems)}")
    writings: dict[int | str, list[str]] = {}
    for reading in readings:
        key = name_key(reading.name) if reading.imagenet is None else reading.imagenet
        writings.setdefault(key, []).append(reading.written)
    doubles = [" and ".join(quoted_ways(same)) for same in writings.values() if len(same) > 1]
    if doubles:
        raise CounterGroundError(f"{'; '.join(doubles)} are the same class: write it in one way.")
