"""Which classes to collect: names as given, lines of a file, or a built-in list."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from counterground.construction.collection._options import taxon_id
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
        UsageError: there is no such list or file, it has no class, or a line has more than two fields.
    """
    if str(source) in LISTS:
        return _built_in(str(source))
    try:
        lines = read_text(source).splitlines()
    except FileNotFoundError as error:
        hint = did_you_mean(str(source), LISTS)
        raise UsageError(f"{source} is neither a file nor one of {', '.join(LISTS)}.{hint}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read classes from {source}: it must be a text file in UTF-8.") from error
    found = []
    for number, line in enumerate(lines, start=1):
        fields = [part.strip() for part in line.split("\t")]
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if len(fields) > 2 or not fields[0]:
            raise UsageError(
                f"{source}, line {number}: expected a class name, or a class name, a tab and a taxon."
            )
        found.append(WantedClass(fields[0], fields[1] if len(fields) == 2 and fields[1] else None))
    if not found:
        raise UsageError(f"{source} has no class names.")
    return found


def _built_in(name: str) -> list[WantedClass]:
    wanted = None
    if name == "counteranimal":
        from counterground.published import load_table

        wanted = set(load_table("classes")["imagenet_index"])
    return [
        WantedClass(animal.class_name, left_out="" if animal.names else animal.note)
        for animal in animals()
        if wanted is None or animal.index in wanted
    ]


def check_classes(wanted: Sequence[WantedClass]) -> list[WantedClass]:
    """Return the classes, each once.

    Raises:
        UsageError: there is no class, or one is given twice with different taxa.
        CounterGroundError: two names mean one class of ImageNet-1K, or no benchmark could hold a name.
    """
    if not wanted:
        raise UsageError("Name at least one class: -c CLASS, or --classes FILE.")
    by_name: dict[str, WantedClass] = {}
    for one in wanted:
        if not one.name.strip():
            raise UsageError("A class has an empty name.")
        known = by_name.setdefault(one.name, one)
        if known.taxon != one.taxon and None not in (known.taxon, one.taxon):
            raise UsageError(f"Class {one.name!r} is given twice: as {known.taxon} and as {one.taxon}.")
        if one.taxon is not None and one.taxon.isdecimal():
            taxon_id(one.taxon, one.name)
        if known.taxon is None:
            by_name[one.name] = one
    assign_classes(list(by_name))
    return list(by_name.values())
