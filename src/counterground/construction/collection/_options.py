"""What to collect: the classes as names, lines of a file, or a built-in list."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from counterground.errors import UsageError, did_you_mean
from counterground.files import read_text
from counterground.photos import assign_classes, find_imagenet_index

LISTS = ("imagenet-animals", "counteranimal")
"""The animal classes of ImageNet-1K, and the paper's 45 among them."""

_JOINED = " + "


@dataclass(frozen=True)
class Animal:
    """An animal class of ImageNet-1K; ``names`` and ``ranks`` of its taxa are empty if it has none."""

    index: int
    class_name: str
    names: tuple[str, ...]
    ranks: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class WantedClass:
    """A class to collect.

    Attributes:
        name: what the pool calls it.
        taxon: scientific name or id from its list; None: the name decides.
        left_out: why a built-in list has no taxon for it; empty: it has one.
    """

    name: str
    taxon: str | None = None
    left_out: str = ""


@cache
def animals() -> tuple[Animal, ...]:
    """Return the 398 animal classes of ImageNet-1K by index."""
    text = (
        files("counterground.construction.collection")
        .joinpath("data", "animals.csv")
        .read_text(encoding="utf-8")
    )
    return tuple(_animal(row) for row in csv.DictReader(text.splitlines()))


def _animal(row: dict[str, str]) -> Animal:
    names = tuple(row["scientific_name"].split(_JOINED)) if row["scientific_name"] else ()
    ranks = tuple(row["rank"].split(_JOINED)) if row["rank"] else ()
    if len(ranks) == 1:
        ranks *= len(names)
    return Animal(int(row["imagenet_index"]), row["class_name"], names, ranks, row["note"])


def find_animal(class_name: str) -> Animal | None:
    """Return the animal class of ImageNet-1K that a name means; None: another class, or none."""
    try:
        index = find_imagenet_index(class_name)
    except UsageError:
        return None
    return animals()[index] if index < len(animals()) else None


def read_classes(source: str | Path) -> list[WantedClass]:
    """Return the classes of a built-in list (see ``LISTS``) or of a text file.

    A line of a file has a class name and may have, after a tab, its taxon: a scientific name or an id. Empty
    lines and those that begin with # are skipped.

    Raises:
        UsageError: there is no such list or file.
    """
    if str(source) in LISTS:
        return _built_in(str(source))
    try:
        lines = read_text(source).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        hint = did_you_mean(str(source), LISTS)
        raise UsageError(
            f"{source} is neither a text file in UTF-8 nor one of {', '.join(LISTS)}.{hint}"
        ) from error
    found = []
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            name, _, taxon = (part.strip() for part in line.partition("\t"))
            found.append(WantedClass(name, taxon or None))
    return found


def _built_in(name: str) -> list[WantedClass]:
    wanted = set(range(len(animals())))
    if name == "counteranimal":
        from counterground.published import load_table

        wanted = set(load_table("classes")["imagenet_index"])
    return [
        WantedClass(animal.class_name, left_out="" if animal.names else animal.note)
        for animal in animals()
        if animal.index in wanted
    ]


def wanted_classes(classes: str | Path | Sequence[str | WantedClass]) -> list[WantedClass]:
    """Return the classes of a list (a name or a file), or of names, each once.

    Raises:
        UsageError: there is no class.
        CounterGroundError: two names mean one class of ImageNet-1K, or no benchmark could hold a name.
    """
    given = read_classes(classes) if isinstance(classes, (str, Path)) else classes
    by_name: dict[str, WantedClass] = {}
    for each in given:
        one = WantedClass(each) if isinstance(each, str) else each
        if by_name.setdefault(one.name, one).taxon is None:
            by_name[one.name] = one
    if not by_name:
        raise UsageError("Name at least one class: -c CLASS, or --classes FILE.")
    assign_classes(list(by_name))
    return list(by_name.values())
