"""The results of a collection, and of its dry run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from counterground.construction.collection._options import ALL_RIGHTS_RESERVED
from counterground.construction.collection._taxa import Choice, Resolution, Taxon


@dataclass(frozen=True)
class ClassReport:
    """The result of one class.

    Attributes:
        class_name: the class.
        taxa: scientific names.
        wanted: photos asked for.
        present: iNaturalist photos the pool had before.
        added: photos added now.
        failed: candidates that can never be fetched; others took their place.
        missing: photos still wanted.
        postponed: candidates whose host was busy or down; the next run requests them again.
        bytes: bytes received now.
        exhausted: there is nothing left to list.
    """

    class_name: str
    taxa: tuple[str, ...]
    wanted: int
    present: int
    added: int
    failed: int
    missing: int
    postponed: int
    bytes: int
    exhausted: bool


@dataclass(frozen=True)
class CollectReport:
    """The results of all classes; ``notes`` are sentences the reader must know."""

    classes: tuple[ClassReport, ...]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether a second run would have nothing to do: all photos are there, or there are no more."""
        return all(not one.missing or (one.exhausted and not one.postponed) for one in self.classes)


@dataclass(frozen=True)
class ClassPlan:
    """The dry run of one class.

    Attributes:
        class_name: the class.
        taxa: scientific names.
        wanted: photos asked for.
        present: iNaturalist photos the pool has.
        available: observations with photos under the query.
        listed: candidates that wait in the pool.
        to_fetch: photos that would be fetched.
        bytes: estimate of their size; None: the size of no photo is known.
    """

    class_name: str
    taxa: tuple[str, ...]
    wanted: int
    present: int
    available: int
    listed: int
    to_fetch: int
    bytes: int | None


@dataclass(frozen=True)
class CollectionPlan:
    """The dry run of all classes; sizes are estimated from ``sampled`` photos."""

    classes: tuple[ClassPlan, ...]
    sampled: int
    notes: tuple[str, ...]


def resolution_notes(resolution: Resolution, earlier: Sequence[Choice]) -> list[str]:
    """Return notes on which classes are left out, which share a taxon, and which contain that of another.

    ``earlier`` are choices for classes that the pool has, of which only other classes than now count.
    """
    notes = list(resolution.notes)
    by_reason: dict[str, list[str]] = {}
    for one in resolution.left_out:
        by_reason.setdefault(one.left_out.rstrip("."), []).append(one.name)
    if by_reason:
        listed = "; ".join(
            f"{_few(names)} ({reason[0].lower()}{reason[1:]})" for reason, names in by_reason.items()
        )
        count = len(resolution.left_out)
        notes.append(
            f"{count} {'class has no taxon and is' if count == 1 else 'classes have no taxon and are'} left "
            f"out: {listed}. --taxon 'CLASS=ID' sets one."
        )
    names = {choice.class_name for choice in resolution.choices}
    others = [choice for choice in earlier if choice.class_name not in names]
    return notes + _shared_taxa(resolution.choices) + _nested_taxa(resolution.choices, others)


def _shared_taxa(choices: Sequence[Choice]) -> list[str]:
    users: dict[int, list[Choice]] = {}
    for choice in choices:
        for number in choice.ids:
            users.setdefault(number, []).append(choice)
    return [
        f"{' and '.join(repr(choice.class_name) for choice in sharing)} share a taxon ({number}): "
        "its photos go to the class that comes first."
        for number, sharing in users.items()
        if len(sharing) > 1
    ]


def _nested_taxa(choices: Sequence[Choice], others: Sequence[Choice]) -> list[str]:
    """Note which classes also get photos of another class; at least one of the two is in ``choices``."""
    now = {choice.class_name for choice in choices}
    within: dict[str, dict[str, None]] = {}
    outer: dict[int, list[str]] = {}
    for choice in (*choices, *others):
        for number in choice.ids:
            outer.setdefault(number, []).append(choice.class_name)
    for inner in (*choices, *others):
        own = set(inner.ids)
        above = {number for taxon in inner.taxa for number in taxon.ancestors} - own
        for name in (name for number in sorted(above & set(outer)) for name in outer[number]):
            if name != inner.class_name and now & {name, inner.class_name}:
                within.setdefault(name, {})[inner.class_name] = None
    return [
        f"The taxa of {name!r} contain those of {_few([repr(one) for one in inside])}: {name!r} also gets "
        f"photos of that. Give it narrower taxa with --taxon '{name}=ID,ID', unless this is meant."
        for name, inside in within.items()
    ]


def retired_notes(retired: Mapping[str, Sequence[Taxon]]) -> list[str]:
    """Return notes on taxa that iNaturalist has replaced since the pool chose them, by class."""
    return [
        f"iNaturalist no longer uses a taxon of {name!r} "
        f"({', '.join(f'{one.id} {one.name}' for one in taxa)}): its photos are under another one now. "
        f"Look up what replaced it, and collect with --taxon '{name}=ID' --add."
        for name, taxa in retired.items()
    ]


def full_notes(classes: Sequence[ClassReport | ClassPlan]) -> list[str]:
    """Return a note on the classes to which ``--add`` adds nothing, since they have as many as wanted."""
    full = [one for one in classes if one.present >= one.wanted]
    if not full:
        return []
    shown = _few([f"{one.class_name} ({one.present:,} photos)" for one in full])
    note = (
        f"Nothing is added to {shown}: --per-class {full[0].wanted:,} counts the photos that the pool "
        "already has from iNaturalist. Give a larger number."
    )
    return [note]


def outcome_notes(classes: Sequence[ClassReport], licences: Counter[str | None]) -> list[str]:
    """Return notes on which photos are missing and why, and which may not be shared."""
    notes = []
    if short := [one for one in classes if one.missing and one.exhausted and not one.postponed]:
        notes.append(f"No more can be found under this query for {_listed(short)}.")
    if waiting := [one for one in classes if one.missing and not (one.exhausted and not one.postponed)]:
        notes.append(
            f"Photos are missing for {_listed(waiting)} because their host was busy or down: run the same "
            "command again later."
        )
    if reserved := licences[ALL_RIGHTS_RESERVED]:
        notes.append(
            f"{reserved:,} of {licences.total():,} photos are all rights reserved and may not be shared. "
            "--licence cc0 --licence cc-by (and so on) collects licensed photos only."
        )
    return notes


def _listed(classes: Sequence[ClassReport]) -> str:
    shown = [f"{one.class_name} ({one.wanted - one.missing:,} of {one.wanted:,})" for one in classes[:8]]
    more = [f"{len(classes) - 8} more"] if len(classes) > 8 else []
    return ", ".join(shown + more)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} classes"
