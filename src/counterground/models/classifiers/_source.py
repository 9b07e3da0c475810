"""``NAME[@FILE][?labels=FILE]``: a classifier of a library, its weights and the names of its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from counterground.errors import UsageError
from counterground.models._family import read_options
from counterground.models._labels import read_labels
from counterground.models._weights import split_file


@dataclass(frozen=True)
class ClassifierSource:
    """What a specification names, apart from its library.

    Attributes:
        name: architecture, with a tag or weights if the library has several.
        file: the user's own weights, None for those of the library.
        labels: ``imagenet`` or a file of class names, None if the library knows the names.
    """

    name: str
    file: Path | None
    labels: str | None


def parse_classifier(spec: str) -> ClassifierSource:
    """Return what ``PREFIX:NAME[@FILE][?labels=FILE]`` names.

    Raises:
        UsageError: there is no such file, or an unknown option.
        CounterGroundError: a file of names with an empty line.
    """
    place, _, query = spec.partition("?")
    options = read_options(spec, query, ("labels",))
    labels = options.get("labels")
    if "labels" in options and not labels:
        raise UsageError(f"{spec}: labels= needs a file with one name per line, or imagenet.")
    if labels:
        read_labels(labels)
    name, file = split_file(place)
    return ClassifierSource(name, file, labels)


def refuse_labels(spec: str, source: ClassifierSource) -> None:
    """Refuse names of outputs that a fitted head replaces.

    Raises:
        UsageError: names were given.
    """
    if source.labels is not None:
        raise UsageError(f"{spec}: labels= names outputs that ?head= replaces: leave it out.")


def unnamed(outputs: int) -> tuple[str, ...]:
    """Return placeholder names for outputs without known names."""
    return tuple(f"class {index}" for index in range(outputs))
