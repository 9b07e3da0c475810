"""Collect photos of classes into a pool (paper section 2, step 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from counterground.build.collect._alone import alone
from counterground.build.collect._class import ClassCollection, Collected
from counterground.build.collect._classes import WantedClass
from counterground.build.collect._listing import ListingState, Query, state_for
from counterground.build.collect._options import CollectOptions
from counterground.build.collect._pacer import MediaPacer
from counterground.build.collect._progress import progress_line
from counterground.build.collect._report import (
    CollectReport,
    outcome_notes,
    resolution_notes,
)
from counterground.build.collect._session import (
    Session,
    kept_by_class,
    open_session,
    taxa_kept,
    wanted_classes,
)
from counterground.build.collect._taxa import Choice
from counterground.pool import Pool, open_pool


def collect(
    pool_path: str | Path,
    classes: str | Path | Sequence[str | WantedClass],
    options: CollectOptions | None = None,
) -> CollectReport:
    """Fetch the newest photos of each class from iNaturalist into a pool, which is made where there is none.

    The same call goes on where it was cut off, and does nothing where all is there: candidates and how far
    their listing came are kept in the pool, photos are found by their file. A photo that cannot be got is
    replaced by the next newest.

    Args:
        pool_path: the pool's folder.
        classes: a built-in list or a file (see ``read_classes``), or names of classes.
        options: see ``CollectOptions``.

    Raises:
        UsageError: no class, an unknown name or value.
        UnclearClasses: names that mean several taxa or none; those that are clear are remembered.
        CounterGroundError: another query than the pool's, no connection, a spent budget, a full disk.
    """
    chosen = options or CollectOptions()
    wanted = wanted_classes(classes)
    pool = open_pool(pool_path, create=True)
    try:
        with (
            progress_line(shown=chosen.show_progress) as line,
            alone(pool.root, line.wait),
            open_session(chosen, line) as session,
        ):
            remembered = taxa_kept(pool, wanted)
            resolution = session.resolve(wanted, remembered)
            _remember(pool, [choice for choice in resolution.choices if choice.class_name not in remembered])
            if resolution.unclear:
                raise resolution.unclear
            report = _collect_all(pool, session, resolution.choices)
            notes = (*resolution_notes(resolution), *report.notes)
            return CollectReport(report.classes, notes)
    finally:
        pool.close()


def _remember(pool: Pool, choices: Sequence[Choice]) -> None:
    taxa = kept_by_class(pool, "taxa")
    found = {choice.class_name: choice.to_setting() for choice in choices}
    if any(taxa.get(name) != value for name, value in found.items()):
        pool.set_setting("taxa", taxa | found)


def _collect_all(pool: Pool, session: Session, choices: Sequence[Choice]) -> CollectReport:
    queries = session.queries(choices)
    _sweep(pool)
    collected = Collected(_owners(pool))
    states = _states(pool, queries, add=session.options.add)
    # Only now that the queries are accepted may they, and their taxa, replace others.
    pool.set_setting(
        "queries",
        kept_by_class(pool, "queries") | {name: state.to_setting() for name, state in states.items()},
    )
    _remember(pool, choices)
    source = session.source(choices)
    pacer = MediaPacer(session.budget, session.options.size, session.line.wait)
    reports = []
    for choice in choices:
        name = choice.class_name
        one = ClassCollection(pool, session, source, pacer, choice, queries[name], states[name])
        reports.append(one.collect(collected))
    pool.snapshot()
    names = [choice.class_name for choice in choices]
    licences = pool.photos().filter(pl.col("class_name").is_in(names))["licence"].to_list()
    return CollectReport(tuple(reports), tuple(outcome_notes(reports, Counter(licences))))


def _owners(pool: Pool) -> dict[str, str]:
    photos = pool.photos().filter(pl.col("key").str.starts_with("inaturalist:"))
    return dict(photos.select("key", "class_name").iter_rows())


def _states(pool: Pool, queries: Mapping[str, Query], *, add: bool) -> dict[str, ListingState]:
    """Return where each class's listing goes on; all are checked before any photo is fetched."""
    stored: Mapping[str, Any] = kept_by_class(pool, "queries")
    ends = dict(pool.candidates().group_by("class_name").agg(pl.col("position").max() + 1).iter_rows())
    return {
        name: state_for(name, query, stored.get(name), add=add, next_position=ends.get(name) or 0)
        for name, query in queries.items()
    }


def _sweep(pool: Pool) -> None:
    """Remove what a killed run had not finished writing."""
    for half in pool.files.glob("*/.inaturalist-*.tmp"):
        half.unlink(missing_ok=True)
