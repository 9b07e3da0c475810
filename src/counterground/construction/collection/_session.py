"""What a collection and its dry run share: classes, their taxa and queries, and what lists photos."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.construction.collection._api import PER_PAGE, INaturalist
from counterground.construction.collection._classes import WantedClass, check_classes, read_classes
from counterground.construction.collection._listing import (
    ListingState,
    Query,
    Row,
    find_place,
    list_page,
    make_query,
)
from counterground.construction.collection._open_data import MEDIA_URL, list_open_data, open_dump
from counterground.construction.collection._options import CollectOptions
from counterground.construction.collection._taxa import (
    Choice,
    Resolution,
    Taxon,
    TaxonNames,
    names_to_look_up,
    resolve_classes,
)
from counterground.construction.pool import PhotoKey, check_class_names
from counterground.errors import CounterGroundError
from counterground.files import cache_dir
from counterground.http import DAY, HOUR, MINUTE, Budget, Limit
from counterground.progress import ProgressBar

if TYPE_CHECKING:
    from counterground.construction.pool import Pool

_BURST = 5.0  # seconds: the requests of a minute must not come in its first second


Lister = Callable[[Choice, Query, ListingState], list[Row]]
"""Returns the next candidates of a class, newest first, without position, and moves the state past them."""


class DumpLister:
    """Lists the dump: all classes in one scan, when the first of them is requested."""

    def __init__(self, folder: Path, options: CollectOptions, choices: Sequence[Choice]) -> None:
        self._folder = folder
        self._options = options
        self._unlisted = list(choices)
        self._rows: dict[str, list[Row]] = {}
        # Some photos will be gone, and others take their place.
        self._limits = {
            choice.class_name: options.per_class + options.per_class // 4 + 20 for choice in choices
        }

    def __call__(self, choice: Choice, query: Query, state: ListingState) -> list[Row]:
        """Return the class's next rows, from a wider scan once those of the last one are used up."""
        name = choice.class_name
        if name not in self._rows:
            self._scan(self._unlisted, query)
        rest = self._below(name, state)
        while not rest and len(self._rows[name]) == self._limits[name]:
            self._limits[name] *= 2
            self._scan([choice], query)
            rest = self._below(name, state)
        state.exhausted = len(rest) <= PER_PAGE and len(self._rows[name]) < self._limits[name]
        if rest:
            state.below = _photo_number(rest[:PER_PAGE][-1])
        return rest[:PER_PAGE]

    def _below(self, name: str, state: ListingState) -> list[Row]:
        return [row for row in self._rows[name] if state.below is None or _photo_number(row) < state.below]

    def _scan(self, choices: Sequence[Choice], query: Query) -> None:
        frame = list_open_data(
            self._folder,
            {choice.class_name: choice.ids for choice in choices},
            per_class=max(self._limits[choice.class_name] for choice in choices),
            quality=query.quality,
            licences=query.licences,
            since=query.since,
            until=query.until,
            per_observation=query.per_observation,
            size=query.size,
            media_url=self._options.media_url or MEDIA_URL,
        )
        rows: dict[str, list[Row]] = {choice.class_name: [] for choice in choices}
        rows |= {
            str(key[0]): part.drop("position", "status", "tries", "reason").to_dicts()
            for key, part in frame.group_by("class_name", maintain_order=True)
        }
        self._rows |= rows
        self._unlisted = [choice for choice in self._unlisted if choice.class_name not in rows]


def _photo_number(row: Row) -> int:
    return int(PhotoKey.parse(str(row["key"])).name)


class DumpNames:
    """Scientific names and ids of the dump, which holds no common names and no synonyms."""

    def __init__(self, folder: Path, names: Iterable[str], numbers: Iterable[int]) -> None:
        with open_dump(folder) as dump:
            dump.ask("CREATE TEMP TABLE asked (name VARCHAR, taxon_id INTEGER)")
            dump.fill("asked", [(name.lower(), None) for name in set(names)])
            dump.fill("asked", [(None, number) for number in set(numbers)])
            rows = dump.ask(
                "SELECT DISTINCT t.taxon_id, t.name, coalesce(t.rank, ''), coalesce(t.active, false),"
                " coalesce(t.ancestry, '') FROM {dump} t"
                " JOIN asked a ON lower(t.name) = a.name OR t.taxon_id = a.taxon_id ORDER BY t.taxon_id",
                "taxa",
            )
        self._taxa = [
            Taxon(
                number,
                name or "",
                rank,
                active=active,
                ancestors=tuple(
                    int(part)
                    for part in ancestry.split("/")
                    if re.fullmatch(r"[0-9]{1,9}", part) and int(part) != number
                ),
            )
            for number, name, rank, active, ancestry in rows
        ]

    def taxon(self, number: int) -> Taxon | None:
        """Return the taxon with an id."""
        return next((taxon for taxon in self._taxa if taxon.id == number), None)

    def search(self, name: str) -> list[Taxon]:
        """Return the active taxa with a scientific name."""
        return [taxon for taxon in self._taxa if taxon.active and taxon.name.lower() == name.lower()]


@dataclass(frozen=True)
class Session:
    """The service in use: the API at one address, or a dump and the host of its photos."""

    options: CollectOptions
    budget: Budget
    api: INaturalist | None
    bar: ProgressBar

    def resolve(self, wanted: Sequence[WantedClass], remembered: Mapping[str, Any]) -> Resolution:
        """Find the taxa of classes; see ``resolve_classes``."""
        options = self.options
        names = self.api or DumpNames(_dump(options), *names_to_look_up(wanted, options.taxa, remembered))
        progress = partial(self.bar.update, description="resolving names")
        return resolve_classes(wanted, options.taxa, remembered, names, progress)

    def retired(self, choices: Sequence[Choice]) -> dict[str, list[Taxon]]:
        """Return the taxa of classes that are no longer in use, as the pool remembers them, by class."""
        names = self.api or DumpNames(_dump(self.options), (), {id_ for one in choices for id_ in one.ids})
        found = {
            one.class_name: [taxon for taxon in one.taxa if not _in_use(names, taxon)] for one in choices
        }
        return {name: taxa for name, taxa in found.items() if taxa}

    def queries(self, choices: Sequence[Choice]) -> dict[str, Query]:
        """Return the query of each class."""
        place = self.options.place
        number = None if place is None or self.api is None else find_place(self.api, place)
        return {choice.class_name: make_query(choice, self.options, number) for choice in choices}

    def lister(self, choices: Sequence[Choice]) -> Lister:
        """Return what lists photos: the API page by page, or the dump."""
        if self.api is not None:
            return partial(list_page, self.api)
        return DumpLister(_dump(self.options), self.options, choices)


def _in_use(names: TaxonNames, taxon: Taxon) -> bool:
    now = names.taxon(taxon.id)
    return now is not None and now.active


@contextmanager
def open_session(options: CollectOptions, bar: ProgressBar) -> Iterator[Session]:
    """Yield the service that ``options`` name, and close it at the end."""
    budget = open_budget(options)
    api = INaturalist(options, budget, bar.note) if options.open_data is None else None
    try:
        yield Session(options, budget, api, bar)
    finally:
        if api is not None:
            api.close()
        budget.close()


def open_budget(options: CollectOptions) -> Budget:
    """Return the budgets of the service that ``options`` name: "requests", and "bytes" of photos."""
    burst = max(1, round(options.requests_per_minute * _BURST / MINUTE))
    limits = {
        "requests": (
            Limit(_BURST, burst),
            Limit(MINUTE, options.requests_per_minute),
            Limit(DAY, options.requests_per_day),
        ),
        "bytes": (Limit(HOUR, options.bytes_per_hour), Limit(DAY, options.bytes_per_day)),
    }
    return Budget(options.host, limits, cache_dir() / "inaturalist" / "budget.sqlite")


def wanted_classes(classes: str | Path | Sequence[str | WantedClass]) -> list[WantedClass]:
    """Return the classes of a list (a name or a file), or of names, each once; see ``check_classes``."""
    if isinstance(classes, (str, Path)):
        return check_classes(read_classes(classes))
    return check_classes([WantedClass(one) if isinstance(one, str) else one for one in classes])


def setting_by_class(pool: Pool, name: str) -> dict[str, Any]:
    """Return a setting of the pool with an entry per class: "taxa" or "queries".

    Raises:
        CounterGroundError: the setting was not written by a collection.
    """
    kept = pool.setting(name, {})
    if not isinstance(kept, dict) or not all(isinstance(one, dict) for one in kept.values()):
        raise CounterGroundError(
            f"The setting {name!r} of the pool {pool.root} was not written by a collection: replace "
            "decisions.sqlite with a backup."
        )
    return kept


def remembered_taxa(pool: Pool, wanted: Sequence[WantedClass]) -> dict[str, Any]:
    """Return the taxa that the pool remembers, by class.

    Raises:
        CounterGroundError: the pool has a wanted class under another name.
    """
    remembered = setting_by_class(pool, "taxa")
    check_class_names(pool, (one.name for one in wanted), _how_the_pool_writes_it, also=remembered)
    return remembered


def known_choices(remembered: Mapping[str, Any]) -> list[Choice]:
    """Return the choices that a pool remembers, except damaged ones, which are reported when needed."""
    choices = []
    for name, setting in remembered.items():
        with suppress(CounterGroundError):
            choices.append(Choice.from_setting(name, setting))
    return choices


def _how_the_pool_writes_it(_name: str, known: str) -> str:
    if known == "NAME":
        return "Write the class as the pool does, or give it a clearly different name."
    return f"Collect it under that name: -c {known!r}."


def _dump(options: CollectOptions) -> Path:
    assert options.open_data is not None
    return options.open_data
