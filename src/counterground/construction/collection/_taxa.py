"""From class names to taxa: what was chosen, remembered or built in, else one exact match, never a guess."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from counterground.errors import UsageError, did_you_mean
from counterground.files import read_text
from counterground.photos import assign_classes, find_imagenet_index
from counterground.text import and_more, in_utf8

if TYPE_CHECKING:
    from counterground.construction.collection._api import INaturalist


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


ANIMALS = 1  # id of the kingdom
_Text = Annotated[str, AfterValidator(in_utf8)]


class Taxon(BaseModel):
    """One taxon of iNaturalist, as the API describes it; what is None is unknown."""

    model_config = ConfigDict(frozen=True)
    id: Annotated[int, Field(ge=0, lt=2**63)]
    name: _Text | None = None
    rank: _Text | None = None
    preferred_common_name: _Text | None = None
    matched_term: _Text | None = None  # the name that found it, which may be a synonym
    observations_count: int | None = None
    is_active: bool | None = None  # False: curators have replaced it
    ancestor_ids: tuple[int, ...] | None = None

    @property
    def ancestors(self) -> set[int]:
        """Ids of the taxa above it; empty: unknown."""
        return set(self.ancestor_ids or ()) - {self.id}

    @property
    def may_be_animal(self) -> bool:
        """False if the taxon is known not to be an animal."""
        return not self.ancestors or ANIMALS in self.ancestors


_MOST_CHOICES = 6


@dataclass(frozen=True)
class Choice:
    """The taxa whose photos a class takes."""

    class_name: str
    taxa: tuple[Taxon, ...]

    @property
    def ids(self) -> set[int]:
        """The ids of the taxa."""
        return {taxon.id for taxon in self.taxa}

    @property
    def names(self) -> tuple[str, ...]:
        """The scientific names."""
        return tuple(taxon.name or "" for taxon in self.taxa)


class _Unclear(Exception):  # noqa: N818 - the class is unclear, the work has not failed yet
    """A name that means several taxa or none: why, and the taxa it may mean."""

    def __init__(self, why: str, choices: Sequence[Taxon]) -> None:
        named = [f"{one.id} {one.name} ({one.rank}, {one.preferred_common_name})" for one in choices]
        super().__init__(f"{why} ({and_more(named, _MOST_CHOICES)})" if named else why)
        self.choices = choices


@dataclass(frozen=True)
class Resolution:
    """The taxa of the classes; ``unclear`` is why some are undecided, and may be empty."""

    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
    unclear: str


def resolve_classes(
    wanted: Sequence[WantedClass],
    chosen: Mapping[str, tuple[int, ...]],
    remembered: Mapping[str, Choice],
    api: INaturalist,
    progress: Callable[[int, int], object],
) -> Resolution:
    """Find the taxa of classes.

    In this order: the ids in ``chosen``; what the class's file says; what the pool remembers; for animal
    classes of ImageNet-1K, the built-in scientific names; the one taxon whose scientific or preferred common
    name is the class's name or, if there is none, the one that has the name as a synonym.

    Raises:
        UsageError: ``chosen`` names another class, or an id that does not exist or is no longer in use.
    """
    known = [one.name for one in wanted]
    for name in chosen:
        if name not in known:
            raise UsageError(
                f"--taxon names {name!r}, which is not one of the classes.{did_you_mean(name, known)}"
            )
    choices: list[Choice] = []
    undecided: dict[str, str] = {}
    left_out: list[str] = []
    notes: list[str] = []
    for number, one in enumerate(wanted):
        progress(number, len(wanted))
        try:
            if one.name in chosen:
                taxa = tuple(_by_id(one.name, id_, api) for id_ in chosen[one.name])
                choices.append(Choice(one.name, taxa))
            elif one.taxon is None and one.name in remembered:
                choices.append(remembered[one.name])
            elif one.left_out:
                left_out.append(f"{one.name} ({one.left_out.rstrip('.')})")
            else:
                choices.append(_by_name(one, api, notes))
        except _Unclear as error:
            undecided[one.name] = str(error)
    if left_out:
        notes.append(
            f"Left out, since they have no taxon (--taxon 'CLASS=ID' sets one): {and_more(left_out, 6)}."
        )
    unclear = ""
    if undecided:
        why = and_more(list(undecided.values()), 5)
        unclear = f"Unclear classes: {why}. Choose with --taxon, as in --taxon '{next(iter(undecided))}=ID'."
    return Resolution(tuple(choices), tuple(notes), unclear)


def _by_name(one: WantedClass, api: INaturalist, notes: list[str]) -> Choice:
    if one.taxon is not None:
        if one.taxon.isdecimal():
            return Choice(one.name, (_by_id(one.name, int(one.taxon), api),))
        return Choice(one.name, (_exact(api.search(one.taxon), one.taxon, one.name),))
    animal = find_animal(one.name)
    taxa, absent = [], []
    for name, rank in zip(animal.names, animal.ranks, strict=True) if animal else ():
        found = [taxon for taxon in api.search(name) if taxon.may_be_animal]
        try:
            taxa.append(_exact(found, name, one.name, rank))
        except _Unclear as unclear:
            if _named(unclear.choices, name):
                raise
            absent.append(name)
    if not taxa:
        plain = one.name.replace("_", " ")
        return Choice(one.name, (_exact(api.search(plain), plain, one.name),))
    if absent:
        notes.append(f"{one.name}: these of its taxa were not found and are left out: {', '.join(absent)}.")
    return Choice(one.name, tuple(taxa))


def _by_id(class_name: str, number: int, api: INaturalist) -> Taxon:
    taxon = api.taxon(number)
    if taxon is None or taxon.is_active is False:
        raise UsageError(f"There is no taxon {number} in use, given for {class_name!r}: look up its id.")
    return taxon


def _exact(found: Sequence[Taxon], name: str, class_name: str, rank: str = "") -> Taxon:
    """Return the one taxon called ``name``; ``rank`` decides between several.

    If a genus and its own subgenus have that name, the genus is meant.
    """
    exact = _named(found, name) or [taxon for taxon in found if _fold(taxon.matched_term) == _fold(name)]
    ids = {taxon.id for taxon in exact}
    exact = [taxon for taxon in exact if not ids & taxon.ancestors]
    if len(exact) > 1 and rank:
        exact = [taxon for taxon in exact if taxon.rank == rank] or exact
    if len(exact) == 1:
        return exact[0]
    if exact:
        raise _Unclear(f"{class_name!r} means {len(exact)} taxa", exact)
    raise _Unclear(f"no taxon is called {name!r}", found)


def _named(found: Sequence[Taxon], name: str) -> list[Taxon]:
    wanted = _fold(name)
    return [taxon for taxon in found if wanted in (_fold(taxon.name), _fold(taxon.preferred_common_name))]


def _fold(text: str | None) -> str:
    return " ".join(re.sub(r"[\s_-]+", " ", (text or "").replace("’", "'")).casefold().split())
