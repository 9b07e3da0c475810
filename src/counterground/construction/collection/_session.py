"""What a collection and its dry run share: classes, their taxa and queries, and what lists photos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.construction.collection._api import INaturalist
from counterground.construction.collection._classes import WantedClass, check_classes, read_classes
from counterground.construction.collection._listing import (
    Query,
    find_place,
    make_query,
)
from counterground.construction.collection._options import CollectOptions
from counterground.construction.collection._taxa import (
    Choice,
    Resolution,
    Taxon,
    TaxonNames,
    resolve_classes,
)
from counterground.construction.pool import check_class_names
from counterground.errors import CounterGroundError
from counterground.files import cache_dir
from counterground.http import DAY, HOUR, MINUTE, Budget, Limit
from counterground.progress import ProgressBar

if TYPE_CHECKING:
    from counterground.construction.pool import Pool

_BURST = 5.0  # seconds: the requests of a minute must not come in its first second


@dataclass(frozen=True)
class Session:
    """The API in use, and its budgets."""

    options: CollectOptions
    budget: Budget
    api: INaturalist
    bar: ProgressBar

    def resolve(self, wanted: Sequence[WantedClass], remembered: Mapping[str, Any]) -> Resolution:
        """Find the taxa of classes; see ``resolve_classes``."""
        progress = partial(self.bar.update, description="resolving names")
        return resolve_classes(wanted, self.options.taxa, remembered, self.api, progress)

    def retired(self, choices: Sequence[Choice]) -> dict[str, list[Taxon]]:
        """Return the taxa of classes that are no longer in use, as the pool remembers them, by class."""
        found = {
            one.class_name: [taxon for taxon in one.taxa if not _in_use(self.api, taxon)] for one in choices
        }
        return {name: taxa for name, taxa in found.items() if taxa}

    def queries(self, choices: Sequence[Choice]) -> dict[str, Query]:
        """Return the query of each class."""
        place = self.options.place
        number = None if place is None else find_place(self.api, place)
        return {choice.class_name: make_query(choice, self.options, number) for choice in choices}


def _in_use(names: TaxonNames, taxon: Taxon) -> bool:
    now = names.taxon(taxon.id)
    return now is not None and now.active


@contextmanager
def open_session(options: CollectOptions, bar: ProgressBar) -> Iterator[Session]:
    """Yield the service that ``options`` name, and close it at the end."""
    budget = open_budget(options)
    api = INaturalist(options, budget, bar.note)
    try:
        yield Session(options, budget, api, bar)
    finally:
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
