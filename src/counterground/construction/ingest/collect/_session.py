"""What a collection and its plan have in common: the classes, their taxa, their queries and the source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterground.construction.ingest.collect._budget import Budget, open_budget
from counterground.construction.ingest.collect._classes import WantedClass, check_classes, read_classes
from counterground.construction.ingest.collect._client import INaturalist
from counterground.construction.ingest.collect._listing import Query, find_place, make_query
from counterground.construction.ingest.collect._options import CollectOptions
from counterground.construction.ingest.collect._progress import ProgressLine
from counterground.construction.ingest.collect._source import ApiSource, DumpNames, OpenDataSource, Source
from counterground.construction.ingest.collect._taxa import Choice, Resolution, asked_for, resolve_classes
from counterground.errors import CounterGroundError
from counterground.pool import Pool, check_class_names


@dataclass(frozen=True)
class Session:
    """The service that is asked: the API at one address, or a dump and its photos' host."""

    options: CollectOptions
    budget: Budget
    api: INaturalist | None
    line: ProgressLine

    def resolve(self, wanted: Sequence[WantedClass], remembered: Mapping[str, Any]) -> Resolution:
        """Find the taxa of classes; see ``resolve_classes``."""
        options = self.options
        names = self.api or DumpNames(_dump(options), *asked_for(wanted, options.taxa, remembered))
        return resolve_classes(wanted, options.taxa, remembered, names, self.line.show)

    def queries(self, choices: Sequence[Choice]) -> dict[str, Query]:
        """Return the query of each class."""
        place = self.options.place
        number = None if place is None or self.api is None else find_place(self.api, place)
        return {choice.class_name: make_query(choice, self.options, number) for choice in choices}

    def source(self, choices: Sequence[Choice]) -> Source:
        """Return what lists photos."""
        if self.api is not None:
            return ApiSource(self.api)
        return OpenDataSource(_dump(self.options), self.options, choices)


@contextmanager
def open_session(options: CollectOptions, line: ProgressLine) -> Iterator[Session]:
    """Yield what answers, closed at the end."""
    budget = open_budget(options)
    api = INaturalist(options, budget, line.wait) if options.open_data is None else None
    try:
        yield Session(options, budget, api, line)
    finally:
        if api is not None:
            api.close()
        budget.close()


def wanted_classes(classes: str | Path | Sequence[str | WantedClass]) -> list[WantedClass]:
    """Return the classes of a list (a name or a file), or of names, each once; see ``check_classes``."""
    if isinstance(classes, (str, Path)):
        return check_classes(read_classes(classes))
    return check_classes([WantedClass(one) if isinstance(one, str) else one for one in classes])


def kept_by_class(pool: Pool, name: str) -> dict[str, Any]:
    """Return a setting of the pool that holds something for each class: "taxa" or "queries".

    Raises:
        CounterGroundError: it is nothing that a collection wrote.
    """
    kept = pool.setting(name, {})
    if not isinstance(kept, dict) or not all(isinstance(one, dict) for one in kept.values()):
        raise CounterGroundError(
            f"The setting {name!r} of the pool {pool.root} was not written by a collection: put a copy of "
            "decisions.sqlite in its place."
        )
    return kept


def taxa_kept(pool: Pool, wanted: Sequence[WantedClass]) -> dict[str, Any]:
    """Return the taxa that the pool remembers, by class.

    Raises:
        CounterGroundError: a class is wanted that the pool has under another name.
    """
    remembered = kept_by_class(pool, "taxa")
    check_class_names(pool, (one.name for one in wanted), _as_the_pool_does, also=remembered)
    return remembered


def _as_the_pool_does(_name: str, known: str) -> str:
    if known == "NAME":
        return "Write the class as the pool does, or so that it is clearly another."
    return f"Collect it under that name: -c {known!r}."


def _dump(options: CollectOptions) -> Path:
    assert options.open_data is not None
    return options.open_data
