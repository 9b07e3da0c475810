"""The dry run of a collection: counts from the API, sizes from the headers of a few photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.ingest.collect._api import INaturalist
from counterground.construction.ingest.collect._classes import WantedClass
from counterground.construction.ingest.collect._listing import (
    ListingState,
    Query,
    Row,
    api_parameters,
    candidate_rows,
    state_for,
)
from counterground.construction.ingest.collect._options import INATURALIST, CollectOptions
from counterground.construction.ingest.collect._report import ClassPlan, CollectionPlan, resolution_notes
from counterground.construction.ingest.collect._session import (
    Lister,
    Session,
    open_session,
    remembered_taxa,
    setting_by_class,
    wanted_classes,
)
from counterground.construction.ingest.collect._taxa import Choice
from counterground.errors import CounterGroundError
from counterground.http import Answer, Client, FetchError, PatientClient
from counterground.pool import is_from, is_pool, open_pool
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from counterground.pool import Pool

_PER_CLASS, _IN_ALL = 3, 30  # photos whose size is requested


def plan_collection(
    pool_path: str | Path,
    classes: str | Path | Sequence[str | WantedClass],
    options: CollectOptions | None = None,
) -> CollectionPlan:
    """Return what ``collect`` would fetch: counts, and sizes estimated from the headers of a few photos.

    Nothing is downloaded, nothing is written to the pool, and no pool is created. Sizes are bytes.

    Raises:
        UsageError, UnclearClasses, CounterGroundError: as ``collect``.
    """
    chosen = options or CollectOptions()
    wanted = wanted_classes(classes)
    pool = open_pool(pool_path) if is_pool(pool_path) else None
    try:
        with progress_bar("", shown=chosen.show_progress) as bar, open_session(chosen, bar) as session:
            resolution = session.resolve(wanted, remembered_taxa(pool, wanted) if pool else {})
            if resolution.unclear:
                raise resolution.unclear
            queries = session.queries(resolution.choices)
            lister = session.lister(resolution.choices)
            plans, samples = [], {}
            for number, choice in enumerate(resolution.choices):
                bar.update(number, len(resolution.choices), "counting")
                query = queries[choice.class_name]
                plan, rows = _plan_class(choice, query, session, lister, pool)
                plans.append(plan)
                samples[choice.class_name] = rows
            sizes = _sample_sizes(session, samples)
    finally:
        if pool:
            pool.close()
    notes = resolution_notes(resolution)
    return CollectionPlan(
        tuple(_with_size(plan, sizes) for plan in plans), sum(map(len, sizes.values())), tuple(notes)
    )


def _plan_class(
    choice: Choice, query: Query, session: Session, lister: Lister, pool: Pool | None
) -> tuple[ClassPlan, list[Row]]:
    present, listed, exhausted = _in_pool(choice.class_name, query, pool, add=session.options.add)
    if session.api is not None:
        available, rows = _count(session.api, query, choice.class_name)
    else:
        rows, state = [], ListingState(query.to_setting())
        while not state.exhausted and len(rows) < session.options.per_class:
            rows += lister(choice, query, state)
        available = len(rows)
    missing = max(0, session.options.per_class - present)
    most = listed if exhausted else max(listed, available * query.per_observation - present)
    plan = ClassPlan(
        choice.class_name,
        choice.names,
        wanted=session.options.per_class,
        present=present,
        available=available,
        listed=listed,
        to_fetch=min(missing, max(0, most)),
        bytes=None,
    )
    return plan, rows


def _in_pool(name: str, query: Query, pool: Pool | None, *, add: bool) -> tuple[int, int, bool]:
    """Return how many photos of a class the pool has, how many candidates wait, and whether these are all."""
    if pool is None:
        return 0, 0, False
    ours = (pl.col("class_name") == name) & is_from(INATURALIST)
    stored: Mapping[str, Any] = setting_by_class(pool, "queries")
    state = state_for(name, query, stored.get(name), add=add, next_position=0)
    waiting = pool.candidates(name).filter(ours & (pl.col("status") == "wanted"))
    return len(pool.photos().filter(ours)), len(waiting), state.exhausted


def _count(api: INaturalist, query: Query, name: str) -> tuple[int, list[Row]]:
    page = api.observations(api_parameters(query), None, per_page=_PER_CLASS)
    return page.total, [row for one in page.observations for row in candidate_rows(one, query, name)]


def _sample_sizes(session: Session, samples: Mapping[str, Sequence[Row]]) -> dict[str, list[int]]:
    """Request the headers of a few photos; return the sizes they state, by class."""
    sizes: dict[str, list[int]] = {name: [] for name in samples}
    left = _IN_ALL
    options = session.options
    client = PatientClient(
        Client(options.user_agent), session.budget, first_pause=options.first_pause, waiting=session.bar.note
    )
    try:
        for name, rows in samples.items():
            urls = [row["url"] for row in rows if row["url"]][: min(_PER_CLASS, left)]
            left -= len(urls)
            sizes[name] = [size for size in (_size(client, url) for url in urls) if size]
    finally:
        client.close()
    return sizes


def _size(client: PatientClient, url: str) -> int | None:
    try:
        return client.fetch(url, _stated_size, method="HEAD", follow=False)
    except FetchError as error:
        if error.status is not None:
            return None
        host = url.split("/")[2]
        raise CounterGroundError(
            f"The host of the photos, {host}, cannot be reached: try again later."
        ) from error


def _stated_size(answer: Answer) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < 16 else None


def _with_size(plan: ClassPlan, sizes: Mapping[str, Sequence[int]]) -> ClassPlan:
    everyone = [size for some in sizes.values() for size in some]
    known = sizes[plan.class_name] or everyone
    estimate = round(plan.to_fetch * sum(known) / len(known)) if known else None
    return ClassPlan(**{**vars(plan), "bytes": estimate if plan.to_fetch else 0})
