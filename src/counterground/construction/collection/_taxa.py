"""From class names to taxa: what was chosen, remembered or built in, else one exact match, never a guess."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from counterground.construction.collection._options import WantedClass, find_animal
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.text import and_more, in_utf8

if TYPE_CHECKING:
    from counterground.construction.collection._api import INaturalist

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


_MOST_CHOICES = 12


@dataclass(frozen=True)
class Choice:
    """The taxa whose photos a class takes."""

    class_name: str
    taxa: tuple[Taxon, ...]

    @property
    def ids(self) -> set[int]:
        """The ids of the taxa."""
        return {taxon.id for taxon in self.taxa}


class UnclearClasses(CounterGroundError):  # noqa: N818 - the classes are unclear, the work has not failed yet
    """Names that match several taxa or none; ``choices`` are the taxa each may mean."""

    def __init__(self, message: str, choices: Mapping[str, tuple[Taxon, ...]]) -> None:
        super().__init__(message)
        self.choices = dict(choices)


class _Unclear(Exception):  # noqa: N818
    def __init__(self, why: str, choices: tuple[Taxon, ...]) -> None:
        super().__init__(why)
        self.choices = choices


@dataclass(frozen=True)
class Resolution:
    """The taxa of the classes; ``unclear`` is the error to raise if some are undecided."""

    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
    unclear: UnclearClasses | None


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
    undecided: dict[str, _Unclear] = {}
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
        except _Unclear as unclear:
            undecided[one.name] = unclear
    if left_out:
        notes.append(
            f"Left out, since they have no taxon (--taxon 'CLASS=ID' sets one): {and_more(left_out, 6)}."
        )
    return Resolution(tuple(choices), (*notes, *_nested_taxa(choices)), _unclear(undecided))


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
        raise _Unclear(f"{class_name!r} means {len(exact)} taxa", tuple(exact[:_MOST_CHOICES]))
    raise _Unclear(f"no taxon is called {name!r}", tuple(found[:_MOST_CHOICES]))


def _named(found: Sequence[Taxon], name: str) -> list[Taxon]:
    wanted = _fold(name)
    return [taxon for taxon in found if wanted in (_fold(taxon.name), _fold(taxon.preferred_common_name))]


def _fold(text: str | None) -> str:
    return " ".join(re.sub(r"[\s_-]+", " ", (text or "").replace("’", "'")).casefold().split())


def _nested_taxa(choices: Sequence[Choice]) -> list[str]:
    """Note which classes also get photos of another class."""
    notes = []
    for outer in choices:
        inside = [
            inner.class_name
            for inner in choices
            if inner != outer and outer.ids & inner.ids.union(*(taxon.ancestors for taxon in inner.taxa))
        ]
        if inside:
            notes.append(
                f"The taxa of {outer.class_name!r} contain those of {and_more(inside, 6)}: it also gets "
                "photos of that. Unless this is meant, give it narrower taxa with "
                f"--taxon '{outer.class_name}=ID,ID'."
            )
    return notes


def _unclear(undecided: Mapping[str, _Unclear]) -> UnclearClasses | None:
    if not undecided:
        return None
    why = and_more([str(one) for one in undecided.values()], 5)
    return UnclearClasses(
        f"Unclear classes: {why}. Choose for each with --taxon, as in --taxon '{next(iter(undecided))}=ID'.",
        {name: one.choices for name, one in undecided.items()},
    )
