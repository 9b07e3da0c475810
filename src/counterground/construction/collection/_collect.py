"""Collect photos of classes into a pool (paper section 2, step 1), or say what would be fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.collection._api import (
    INaturalist,
    ListingState,
    Query,
    Row,
    api_parameters,
    find_place,
    list_page,
    make_query,
    state_for,
)
from counterground.construction.collection._options import WantedClass, wanted_classes
from counterground.construction.collection._taxa import Choice, Resolution, resolve_classes
from counterground.construction.download import (
    DownloadReport,
    cluster_of,
    download_photos,
)
from counterground.construction.pool import (
    CANDIDATE_SCHEMA,
    check_class_names,
    is_from,
    is_pool,
    open_pool,
)
from counterground.construction.settings import ALL_RIGHTS_RESERVED, INATURALIST, CollectOptions
from counterground.errors import CounterGroundError, needs_extra
from counterground.files import cache_dir, file_lock
from counterground.http import Budget, DownloadSettings, Waiting, refuse_long_wait
from counterground.progress import ProgressBar, progress_bar
from counterground.text import and_more

if TYPE_CHECKING:
    from counterground.construction.pool import Pool

_LOCK_FILE = ".collect.lock"


# Bytes assumed for a photo before one of its size was seen; larger than most.
_EXPECTED_BYTES = {"small": 60_000, "medium": 200_000, "large": 600_000, "original": 4_000_000}


class BytePacer:
    """Reserves bytes of the budget for a photo before its fetch and settles them after; for one thread."""

    def __init__(self, budget: Budget, size: str, waiting: Waiting) -> None:
        self._budget = budget
        self._waiting = waiting
        self._expected = _EXPECTED_BYTES[size]
        self._reserved: dict[str, int] = {}

    def seconds_to_wait(self, url: str) -> float:
        """Return 0 if the photo may be requested, else the seconds to wait.

        Raises:
            CounterGroundError: the daily budget is spent.
        """
        wait = self._budget.take("bytes", self._expected)
        if wait and self._reserved:
            return min(wait, 0.2)  # photos on their way may need less than their reserve
        refuse_long_wait(wait, "photo bytes")
        if wait:
            self._waiting(f"waiting {wait:,.0f} s: photo bytes per hour are limited")
        else:
            self._reserved[url] = self._reserved.get(url, 0) + self._expected
        return wait

    def received(self, url: str, size: int) -> None:
        """Settle the bytes of a photo that arrived."""
        self._budget.settle("bytes", size - self._reserved.pop(url, 0))
        if size:
            # Twice the mean of what arrives: the budget must also hold for photos larger than the last ones.
            self._expected = max(1000, round(0.9 * self._expected + 0.2 * size))

    def release(self) -> None:
        """Release what was reserved for photos that were already in the pool."""
        self._budget.settle("bytes", -sum(self._reserved.values()))
        self._reserved.clear()


_MOST_AT_ONCE = 32
_MOST_FAILURES = 12  # of so many photos, with none that arrived: the host is down, or refuses us


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
        to_fetch: photos that would be fetched, at most.
        bytes: their size, at most.
    """

    class_name: str
    taxa: tuple[str, ...]
    wanted: int
    present: int
    available: int
    to_fetch: int
    bytes: int


@dataclass(frozen=True)
class CollectionPlan:
    """The dry run of all classes."""

    classes: tuple[ClassPlan, ...]
    notes: tuple[str, ...]


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

    def queries(self, choices: Sequence[Choice]) -> dict[str, Query]:
        """Return the query of each class."""
        place = self.options.place
        number = None if place is None else find_place(self.api, place)
        return {choice.class_name: make_query(choice, self.options, number) for choice in choices}


@contextmanager
def open_session(options: CollectOptions) -> Iterator[Session]:
    """Yield the service that ``options`` name, and close it at the end."""
    with needs_extra("data"), progress_bar("", shown=options.show_progress) as bar:
        budget = open_budget(options)
        api = INaturalist(options, budget, bar.note)
        try:
            yield Session(options, budget, api, bar)
        finally:
            api.close()
            budget.close()


def open_budget(options: CollectOptions) -> Budget:
    """Return the budgets of the service that ``options`` name: "requests", and "bytes" of photos."""
    return Budget(options.account, options.limits, cache_dir() / "inaturalist" / "budget.sqlite")


@dataclass
class ClassCollection:
    """One class of a collection."""

    pool: Pool
    session: Session
    pacer: BytePacer
    choice: Choice
    query: Query
    state: ListingState
    rows: dict[str, Row] = field(default_factory=dict)
    postponed: set[str] = field(default_factory=set)
    added: int = 0
    received: int = 0

    def collect(self, class_of: dict[str, str]) -> ClassReport:
        """Fetch what is missing and report on the class.

        Raises:
            CounterGroundError: the photos' host does not answer, a budget is spent, or the disk is full.
        """
        name, wanted = self.choice.class_name, self.session.options.per_class
        present = sum(other == name for other in class_of.values())
        ours = self.pool.candidates(name).filter(is_from(INATURALIST))
        self.rows = {row["key"]: row for row in ours.to_dicts()}
        self._mark_known(class_of)
        while present + self.added < wanted:
            number = min(_MOST_AT_ONCE, wanted - present - self.added)
            batch = self._next_batch(number, class_of)
            if not batch:
                break
            self._fetch(batch, present, class_of)
        return ClassReport(
            name,
            self.choice.names,
            wanted=wanted,
            present=present,
            added=self.added,
            failed=sum(row["status"] == "failed" for row in self.rows.values()),
            missing=max(0, wanted - present - self.added),
            postponed=len(self.postponed),
            bytes=self.received,
            exhausted=self.state.exhausted,
        )

    def _next_batch(self, number: int, class_of: Mapping[str, str]) -> list[Row]:
        """Return up to ``number`` candidates to fetch, newest first; list more if there are too few."""
        while True:
            waiting = [
                row
                for row in self.rows.values()
                if row["status"] == "wanted" and row["key"] not in self.postponed
            ]
            if len(waiting) >= number or self.state.exhausted:
                return sorted(waiting, key=lambda row: int(row["position"]))[:number]
            self._list()
            self._mark_known(class_of)

    def _list(self) -> None:
        """List the next page; its candidates and the progress of the listing are stored together."""
        self.session.bar.update(0, 1, f"{self.choice.class_name}: listing")
        listed = list_page(self.session.api, self.choice, self.query, self.state)
        position = 1 + max((int(row["position"]) for row in self.rows.values()), default=-1)
        new = {row["key"]: row for row in listed if row["key"] not in self.rows}
        for place, row in enumerate(new.values(), start=position):
            row["position"] = place
        self.rows |= new
        with self.pool.connect() as connection:
            self.pool.add_candidates(list(new.values()), within=connection)
            states = self.pool.setting("queries", {}) | {self.choice.class_name: asdict(self.state)}
            self.pool.set_setting("queries", states, within=connection)

    def _mark_known(self, class_of: Mapping[str, str]) -> None:
        """Mark candidates whose photo the pool has: in this class after a kill, or in another class."""
        marks: list[tuple[str, str, str, str | None]] = []
        for key, row in self.rows.items():
            if row["status"] == "wanted" and (holder := class_of.get(key)):
                got = holder == self.choice.class_name
                row["status"] = "got" if got else "failed"
                reason = None if got else f"the pool has it as {holder!r}"
                marks.append((key, self.choice.class_name, row["status"], reason))
        self.pool.mark_candidates(marks)

    def _fetch(self, batch: list[Row], present: int, class_of: dict[str, str]) -> None:
        name, options, bar = self.choice.class_name, self.session.options, self.session.bar
        before = present + self.added
        try:
            report = download_photos(
                self.pool,
                pl.DataFrame(batch, schema=CANDIDATE_SCHEMA),
                DownloadSettings(
                    jobs=options.jobs,
                    per_host=options.jobs,
                    first_pause=options.first_pause,
                    user_agent=options.user_agent,
                ),
                fields=lambda candidate: {"cluster": cluster_of(candidate)},
                pacer=self.pacer,
                progress=lambda done, _all: bar.update(before + done, options.per_class, name),
            )
        finally:
            self.pacer.release()
        failed = {one.key for one in report.failed}
        postponed = {one.key for one in report.postponed}
        for row in batch:
            if row["key"] in failed:
                row["status"] = "failed"
            elif row["key"] not in postponed:
                row["status"] = "got"
                class_of[row["key"]] = name
        self.postponed |= postponed
        self.added += report.fetched + report.found
        self.received += report.received
        self._refuse_silence(report)

    def _refuse_silence(self, report: DownloadReport) -> None:
        """End the run if the host is down or has blocked us: its photos are not at fault, and stay wanted."""
        troubles = [one for one in (*report.failed, *report.postponed) if not one.gone]
        if report.fetched or len(troubles) < _MOST_FAILURES:
            return
        reason = troubles[-1].reason
        self.pool.mark_candidates([(one.key, one.class_name, "wanted", reason) for one in troubles])
        raise CounterGroundError(
            f"The photo host keeps failing or refuses every photo ({reason}): it may have blocked this "
            "connection. What was fetched is kept, and these photos stay wanted: run the same command again "
            "when a browser shows such photos here."
        )


def collect(
    pool_path: str | Path,
    classes: str | Path | Sequence[str | WantedClass],
    options: CollectOptions | None = None,
) -> CollectReport:
    """Fetch the newest photos of each class from iNaturalist into a pool, which is created if it is missing.

    The same call continues where it was interrupted, and does nothing if all photos are there: candidates and
    the progress of their listing are kept in the pool, and photos are found by their files. A photo that
    cannot be fetched is replaced by the next newest.

    Polars does not survive a fork: start a child process with multiprocessing's "spawn", or the call waits
    for ever.

    Args:
        pool_path: the pool's folder.
        classes: a built-in list or a file (see ``read_classes``), or names of classes.
        options: see ``CollectOptions``.

    Raises:
        UsageError: no class, or an unknown name or value.
        UnclearClasses: names that mean several taxa or none; those that are clear are remembered.
        CounterGroundError: a query other than the pool's, no connection, a spent budget, or a full disk.
    """
    wanted = wanted_classes(classes)
    with open_pool(pool_path, create=True) as pool, open_session(options or CollectOptions()) as session:
        bar = session.bar
        with file_lock(
            pool.root / _LOCK_FILE, lambda: bar.note("another collect is running: waiting for it")
        ):
            remembered = _remembered_taxa(pool, wanted)
            resolution = session.resolve(wanted, remembered)
            _remember(pool, [choice for choice in resolution.choices if choice.class_name not in remembered])
            if resolution.unclear:
                raise resolution.unclear
            report = _collect_all(pool, session, resolution.choices)
            return CollectReport(report.classes, (*resolution.notes, *report.notes))


def _remembered_taxa(pool: Pool, wanted: Sequence[WantedClass]) -> dict[str, Any]:
    """Return the taxa that the pool remembers, by class.

    Raises:
        CounterGroundError: the pool has a wanted class under another name.
    """
    remembered: dict[str, Any] = pool.setting("taxa", {})
    check_class_names(
        pool,
        (one.name for one in wanted),
        lambda _, known: f"Collect it under that name: -c {known!r}.",
        also=remembered,
    )
    return remembered


def _remember(pool: Pool, choices: Sequence[Choice]) -> None:
    if choices:
        found = {choice.class_name: choice.to_setting() for choice in choices}
        pool.set_setting("taxa", pool.setting("taxa", {}) | found)


def _collect_all(pool: Pool, session: Session, choices: Sequence[Choice]) -> CollectReport:
    queries = session.queries(choices)
    states = _states(pool, queries, add=session.options.add)
    _remember(pool, choices)  # taxa may replace others only once their query is accepted
    photos = pool.photos().filter(is_from(INATURALIST))
    class_of = dict(photos.select("key", "class_name").iter_rows())
    pacer = BytePacer(session.budget, session.options.size, session.bar.note)
    reports = []
    for choice in choices:
        name = choice.class_name
        one = ClassCollection(pool, session, pacer, choice, queries[name], states[name])
        reports.append(one.collect(class_of))
    pool.snapshot()
    return CollectReport(tuple(reports), tuple(_outcome_notes(pool, reports)))


def _states(pool: Pool, queries: Mapping[str, Query], *, add: bool) -> dict[str, ListingState]:
    """Return where the listing of each class continues; all are checked before any photo is fetched."""
    stored: dict[str, Any] = pool.setting("queries", {})
    states = {name: state_for(name, query, stored.get(name), add=add) for name, query in queries.items()}
    with pool.connect() as connection:
        for name, state in states.items():
            if state.below is None and not state.exhausted:  # what still waits is found again, if it fits
                pool.forget_waiting(name, INATURALIST, within=connection)
        kept = stored | {name: asdict(state) for name, state in states.items()}
        pool.set_setting("queries", kept, within=connection)
    return states


def _outcome_notes(pool: Pool, classes: Sequence[ClassReport]) -> list[str]:
    """Return notes on which photos are missing, and which may not be shared."""
    notes = []
    short = [
        f"{one.class_name} ({one.wanted - one.missing:,} of {one.wanted:,})"
        for one in classes
        if one.missing and one.exhausted and not one.postponed
    ]
    if short:
        notes.append(f"No more can be found under this query for {and_more(short, 8)}.")
    names = [one.class_name for one in classes]
    licences = Counter(pool.photos().filter(pl.col("class_name").is_in(names))["licence"])
    if reserved := licences[ALL_RIGHTS_RESERVED]:
        notes.append(
            f"{reserved:,} of {licences.total():,} photos are all rights reserved and may not be shared. "
            "--licence cc0 --licence cc-by (and so on) collects licensed photos only."
        )
    return notes


def plan_collection(
    pool_path: str | Path,
    classes: str | Path | Sequence[str | WantedClass],
    options: CollectOptions | None = None,
) -> CollectionPlan:
    """Return what ``collect`` would fetch, at most: counts, and bytes of large photos.

    Nothing is downloaded, nothing is written to the pool, and no pool is created.

    Raises:
        UsageError, UnclearClasses, CounterGroundError: as ``collect``.
    """
    wanted = wanted_classes(classes)
    opened = open_pool(pool_path) if is_pool(pool_path) else nullcontext()
    with opened as pool, open_session(options or CollectOptions()) as session:
        resolution = session.resolve(wanted, _remembered_taxa(pool, wanted) if pool else {})
        if resolution.unclear:
            raise resolution.unclear
        queries = session.queries(resolution.choices)
        plans = []
        for number, choice in enumerate(resolution.choices):
            session.bar.update(number, len(queries), "counting")
            plans.append(_plan_class(choice, queries[choice.class_name], session, pool))
        return CollectionPlan(tuple(plans), resolution.notes)


def _plan_class(choice: Choice, query: Query, session: Session, pool: Pool | None) -> ClassPlan:
    name, options = choice.class_name, session.options
    available = session.api.observations(api_parameters(query), None, per_page=1).total_results or 0
    present, most = 0, available * query.per_observation
    if pool:
        ours = is_from(INATURALIST) & (pl.col("class_name") == name)
        present = len(pool.photos().filter(ours))
        state = state_for(name, query, pool.setting("queries", {}).get(name), add=options.add)
        candidates = pool.candidates(name).filter(ours)
        waiting = int((candidates["status"] == "wanted").sum())
        if state.exhausted:
            most = waiting
        elif state.below is not None:
            most -= len(candidates) - waiting
    to_fetch = min(max(0, options.per_class - present), max(0, most))
    return ClassPlan(
        name,
        choice.names,
        wanted=options.per_class,
        present=present,
        available=available,
        to_fetch=to_fetch,
        bytes=to_fetch * _EXPECTED_BYTES[options.size],
    )
