"""The dry run of a collection: counts from the API, sizes from the headers of a few photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from counterground.construction.collection._api import INaturalist
from counterground.construction.collection._classes import WantedClass
from counterground.construction.collection._listing import (
    ListingState,
    Query,
    Row,
    api_parameters,
    candidate_rows,
    state_for,
)
from counterground.construction.collection._options import INATURALIST, CollectOptions
from counterground.construction.collection._report import (
    ClassPlan,
    CollectionPlan,
    full_notes,
    resolution_notes,
    retired_notes,
)
from counterground.construction.collection._session import (
    Session,
    known_choices,
    open_session,
    remembered_taxa,
    setting_by_class,
    wanted_classes,
)
from counterground.construction.collection._taxa import Choice
from counterground.construction.pool import is_from, is_pool, open_pool
from counterground.errors import CounterGroundError
from counterground.http import Answer, Client, FetchError, PatientClient
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from counterground.construction.pool import Pool

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
            remembered = remembered_taxa(pool, wanted) if pool else {}
            resolution = session.resolve(wanted, remembered)
            if resolution.unclear:
                raise resolution.unclear
            queries = session.queries(resolution.choices)
            plans, samples = [], {}
            for number, choice in enumerate(resolution.choices):
                bar.update(number, len(resolution.choices), "counting")
                query = queries[choice.class_name]
                plan, rows = _plan_class(choice, query, session, pool)
                plans.append(plan)
                samples[choice.class_name] = rows
            sizes = _sample_sizes(session, samples)
            empty = {one.class_name for one in plans if not one.available}
            old = [one for one in resolution.choices if one.class_name in empty & remembered.keys()]
            retired = session.retired(old) if old else {}
    finally:
        if pool:
            pool.close()
    notes = [*resolution_notes(resolution, known_choices(remembered)), *retired_notes(retired)]
    notes += full_notes(plans) if chosen.add else []
    return CollectionPlan(
        tuple(_with_size(plan, sizes) for plan in plans), sum(map(len, sizes.values())), tuple(notes)
    )


def _plan_class(
    choice: Choice, query: Query, session: Session, pool: Pool | None
) -> tuple[ClassPlan, list[Row]]:
    had = _in_pool(choice.class_name, query, pool, add=session.options.add)
    available, rows = _count(session.api, query, choice.class_name)
    missing = max(0, session.options.per_class - had.present)
    most = had.listed
    if not had.exhausted:
        fresh = available * query.per_observation - had.settled
        most = max(most, fresh)
    plan = ClassPlan(
        choice.class_name,
        choice.names,
        wanted=session.options.per_class,
        present=had.present,
        available=available,
        listed=had.listed,
        to_fetch=min(missing, max(0, most)),
        bytes=None,
    )
    return plan, rows


class _InPool(NamedTuple):
    """What the pool has of a class.

    Attributes:
        present: photos from iNaturalist.
        listed: candidates of the query that wait.
        settled: photos that the query finds, or may find, and that would not be fetched again.
        exhausted: there is nothing left to list.
    """

    present: int = 0
    listed: int = 0
    settled: int = 0
    exhausted: bool = False


def _in_pool(name: str, query: Query, pool: Pool | None, *, add: bool) -> _InPool:
    if pool is None:
        return _InPool()
    everywhere, candidates = (
        frame.filter(is_from(INATURALIST)) for frame in (pool.photos(), pool.candidates(name))
    )
    photos = everywhere.filter(class_name=name)
    stored: Mapping[str, Any] = setting_by_class(pool, "queries")
    end = 1 + max(pool.candidates(name)["position"], default=-1)
    state = state_for(name, query, stored.get(name), add=add, next_position=end)
    ours = candidates.filter((pl.col("position") >= state.start) | pl.col("key").is_in(state.again))
    if ours.is_empty() and not state.exhausted:  # nothing was listed yet: it may find photos of other queries
        earlier = ListingState.from_setting(stored[name]).query if name in stored else {}
        return _InPool(len(photos), 0, len(photos.filter(_fits(query, earlier))))
    listed = int((ours["status"] == "wanted").sum())
    return _InPool(len(photos), listed, len(ours) - listed, state.exhausted)


def _fits(query: Query, earlier: Mapping[str, Any]) -> pl.Expr:
    """Return the expression that is true for photos that a query may find, as far as the pool knows.

    Place and quality are known of the ``earlier`` query only, not of photos: those of another one are not
    taken to be found again.
    """
    wanted = {"place": query.place, "quality": query.quality}
    same = (value in (None, "any", earlier.get(name)) for name, value in wanted.items())
    fits = pl.lit(value=all(same))
    if query.licences:
        fits &= pl.col("licence").is_in(query.licences)
    if query.since:
        fits &= pl.col("observed_on") >= query.since
    if query.until:
        fits &= pl.col("observed_on") <= query.until
    return fits.fill_null(value=False)


def _count(api: INaturalist, query: Query, name: str) -> tuple[int, list[Row]]:
    page = api.observations(api_parameters(query), None, per_page=_PER_CLASS)
    rows = [row for one in page.results for row in candidate_rows(one, query, name)]
    return page.total_results or 0, rows


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
