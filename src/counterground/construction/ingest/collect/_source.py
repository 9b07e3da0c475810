"""Where candidates come from: the API page by page, or the open-data dump in one scan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from counterground.construction.ingest.collect._client import PER_PAGE, INaturalist
from counterground.construction.ingest.collect._listing import ListingState, Query, Row, list_page
from counterground.construction.ingest.collect._open_data import MEDIA_URL, list_open_data, open_dump
from counterground.construction.ingest.collect._options import CollectOptions
from counterground.construction.ingest.collect._taxa import Choice, Taxon


class Source(Protocol):
    """Lists photos of classes, newest first."""

    def more(self, choice: Choice, query: Query, state: ListingState) -> list[Row]:
        """Return the next candidates of a class, without position, and move ``state`` past them."""


class ApiSource:
    """The API."""

    def __init__(self, api: INaturalist) -> None:
        self._api = api

    def more(self, choice: Choice, query: Query, state: ListingState) -> list[Row]:
        """Return the candidates of the next page."""
        return list_page(self._api, query, state, choice.class_name)


class OpenDataSource:
    """The dump. All classes are listed in one scan, when the first of them is asked for."""

    def __init__(self, folder: Path, options: CollectOptions, choices: Sequence[Choice]) -> None:
        self._folder = folder
        self._options = options
        self._unlisted = list(choices)
        self._rows: dict[str, list[Row]] = {}
        # Some photos will be gone, and others take their place.
        self._limits = {
            choice.class_name: options.per_class + options.per_class // 4 + 20 for choice in choices
        }

    def more(self, choice: Choice, query: Query, state: ListingState) -> list[Row]:
        """Return the next of the class's rows, from a wider scan where those of the last one are used up."""
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
                    int(part) for part in ancestry.split("/") if part.isdigit() and int(part) != number
                ),
            )
            for number, name, rank, active, ancestry in rows
        ]

    def taxon(self, number: int) -> Taxon | None:
        """Return the taxon of an id."""
        return next((taxon for taxon in self._taxa if taxon.id == number), None)

    def search(self, name: str) -> list[Taxon]:
        """Return the active taxa of a scientific name."""
        return [taxon for taxon in self._taxa if taxon.active and taxon.name.lower() == name.lower()]


def _photo_number(row: Row) -> int:
    return int(str(row["key"]).partition(":")[2])
