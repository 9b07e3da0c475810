"""Collect photos of classes into a pool (paper section 2, step 1), or say what would be fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.collection._api import INaturalist, Query, candidate_rows, make_query
from counterground.construction.collection._taxa import (
    Choice,
    Resolution,
    Taxon,
    WantedClass,
    resolve_classes,
    wanted_classes,
)
from counterground.construction.pool import (
    CANDIDATE_SCHEMA,
    PHOTO_SCHEMA,
    KeptPhoto,
    check_class_names,
    class_folder,
    file_stem,
    is_from,
    is_pool,
    keep_photo,
    open_pool,
)
from counterground.construction.settings import ALL_RIGHTS_RESERVED, INATURALIST, CollectOptions
from counterground.errors import CounterGroundError, needs_extra
from counterground.files import cache_dir, file_lock
from counterground.http import (
    Budget,
    DownloadSettings,
    FetchError,
    FetchLoop,
    Pacer,
    Task,
    Waiting,
    refuse_long_wait,
)
from counterground.photos import UnreadablePhoto
from counterground.progress import ProgressBar, progress_bar
from counterground.text import and_more

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


_SHARED = tuple(name for name in CANDIDATE_SCHEMA if name in PHOTO_SCHEMA)


Candidate = dict[str, Any]
"""A row of ``CANDIDATE_SCHEMA``."""


class Download(FetchLoop[Candidate, KeptPhoto]):
    """Fetches the wanted ones among a pool's candidates, and adds each as a photo once it is decoded.

    404, pages in place of photos and photos that arrive damaged twice are *failed*. A fault of the host (429,
    5xx, broken or slow connections, after four tries) leaves the candidate *wanted*: the next run tries it.

    Args:
        pool: the candidates' pool.
        candidates: rows of ``CANDIDATE_SCHEMA``; those that are not "wanted" are left alone.
        settings: see ``DownloadSettings``.
        pacer: a rate or budget of the caller.
        progress: function called with the number of candidates done.

    Attributes:
        fetched: photos that were fetched.
        failed: key -> reason of candidates that a retry would not help; marked "failed".
        postponed: key -> reason of those whose host was busy or down; still "wanted".
        received: bytes received.
    """

    def __init__(
        self,
        pool: Pool,
        candidates: pl.DataFrame,
        settings: DownloadSettings,
        pacer: Pacer | None = None,
        progress: Callable[[int], object] = lambda _: None,
    ) -> None:
        wanted = candidates.filter(pl.col("status") == "wanted").to_dicts()
        super().__init__([Task(row["url"] or "", row) for row in wanted], settings, pacer)
        self.pool, self.progress = pool, progress
        self.failed: dict[str, str] = {}
        self.postponed: dict[str, str] = {}
        self.fetched = 0

    def work(self, task: Task[Candidate]) -> tuple[KeptPhoto, int]:
        """Fetch a photo and keep its file; in a thread."""
        data, row = self.fetch(task), task.payload
        folder = class_folder(row["class_name"])
        try:
            photo = keep_photo(self.pool.root, folder, file_stem(row["key"]), data)
        except UnreadablePhoto as error:
            # The transfer may have done the damage, and a page in place of a photo may be a temporary error.
            raise FetchError(error.reason, again=task.tries == 0, received=len(data)) from error
        return photo, len(data)

    def record(self, task: Task[Candidate], result: KeptPhoto) -> None:
        """Add the row of a photo."""
        row = {name: task.payload[name] for name in _SHARED} | vars(result)
        # Photos of one observer are alike in place, camera and habit.
        by = next((name for name in ("observer", "observation") if row[name]), None)
        self.pool.add_photos([row | {"cluster": by and f"{by}:{row[by]}"}])
        self.fetched += 1
        self._report()

    def give_up(self, task: Task[Candidate], reason: str, *, again: bool) -> None:
        """Note the failure, for the report and for the next run."""
        key, name = task.payload["key"], task.payload["class_name"]
        (self.postponed if again else self.failed)[key] = reason
        self.pool.mark_candidates([(key, name, "wanted" if again else "failed", reason)])
        self._report()

    def _report(self) -> None:
        self.progress(self.fetched + len(self.failed) + len(self.postponed))


_LOCK_FILE = ".collect.lock"
# Bytes reserved for a photo before its fetch; larger than most.
_EXPECTED_BYTES = {"small": 60_000, "medium": 200_000, "large": 600_000, "original": 4_000_000}
_MOST_AT_ONCE = 32
_MOST_FAILURES = 12  # of so many photos, with none that arrived: the host is down, or refuses us


class BytePacer:
    """Takes bytes of the budget for a photo before its fetch, and settles them after."""

    def __init__(self, budget: Budget, size: str, waiting: Waiting) -> None:
        self._budget, self._waiting, self._expected = budget, waiting, _EXPECTED_BYTES[size]

    def seconds_to_wait(self) -> float:
        """Return 0 if a photo may be requested, else the seconds to wait.

        Raises:
            CounterGroundError: the daily budget is spent.
        """
        wait = self._budget.take("bytes", self._expected)
        refuse_long_wait(wait, "photo bytes")
        if wait:
            self._waiting(f"waiting {wait:,.0f} s: photo bytes per hour are limited")
        return wait

    def received(self, size: int) -> None:
        """Settle the bytes of a request that was answered."""
        self._budget.settle("bytes", size - self._expected)


@dataclass(frozen=True, kw_only=True)
class ClassReport:
    """The result of one class; what a dry run foresees, at most, is in the same fields.

    Attributes:
        class_name: the class.
        taxa: scientific names.
        wanted: photos asked for.
        present: iNaturalist photos the pool had before.
        available: observations with photos under the query; None: only a dry run counts them.
        added: photos added now.
        bytes: bytes received now.
        failed: candidates that can never be fetched; others took their place.
        postponed: candidates whose host was busy or down; the next run requests them again.
        exhausted: there is nothing left to list.
    """

    class_name: str
    taxa: tuple[str, ...]
    wanted: int
    present: int
    available: int | None = None
    added: int
    bytes: int
    failed: int = 0
    postponed: int = 0
    exhausted: bool = False

    @property
    def missing(self) -> int:
        """Photos still wanted."""
        return max(0, self.wanted - self.present - self.added)


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
class Session:
    """The API in use, and its budgets."""

    options: CollectOptions
    budget: Budget
    api: INaturalist
    bar: ProgressBar

    def resolve(self, pool: Pool | None, wanted: Sequence[WantedClass]) -> Resolution:
        """Find the taxa of classes, and remember them in the pool; see ``resolve_classes``.

        Raises:
            CounterGroundError: the pool has a wanted class under another name.
        """
        settings: dict[str, Any] = pool.setting("taxa", {}) if pool else {}
        remembered = {
            name: Choice(name, tuple(Taxon(**one) for one in kept)) for name, kept in settings.items()
        }
        if pool:
            names, remedy = [one.name for one in wanted], "Collect it under that name: -c {1!r}."
            check_class_names(pool, names, remedy, also=settings)
        progress = partial(self.bar.update, description="resolving names")
        return resolve_classes(wanted, self.options.taxa, remembered, self.api, progress)

    def queries(self, pool: Pool | None, choices: Sequence[Choice]) -> dict[str, Query]:
        """Return the query of each class.

        Raises:
            CounterGroundError: the pool lists a class under another query, and ``add`` was not asked for.
        """
        stored: dict[str, Query] = pool.setting("queries", {}) if pool else {}
        queries = {choice.class_name: make_query(choice, self.options) for choice in choices}
        for name, query in queries.items():
            before = stored.get(name, query)
            changed = [each for each in query if before.get(each) != query[each]]
            if changed and not self.options.add:
                raise CounterGroundError(
                    f"The pool has {name!r} from another query (other {', '.join(changed)}): repeat that, "
                    "use --add to add what the new one finds, or start another pool."
                )
        return queries


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


class ClassCollection:
    """One class of a collection: candidates of the pool are fetched, newest first; further ones are listed.

    The pool's candidates are the progress: a later run lists what is older than they are. With ``add`` it
    lists from the newest, and skips those.
    """

    def __init__(self, pool: Pool, session: Session, choice: Choice, query: Query) -> None:
        self.pool, self.session, self.choice, self.query = pool, session, choice, query
        known = self._candidates()
        self._known = set(known["key"])
        ids = [] if session.options.add else known["observation"].cast(pl.Int64).to_list()
        self._below: int | None = min(ids, default=None)
        self._exhausted = False
        self._postponed: set[str] = set()

    def _candidates(self) -> pl.DataFrame:
        return self.pool.candidates(self.choice.class_name).filter(is_from(INATURALIST))

    def collect(self) -> ClassReport:
        """Fetch what is missing and report on the class.

        Raises:
            CounterGroundError: the photos' host does not answer, a budget is spent, or the disk is full.
        """
        name, wanted = self.choice.class_name, self.session.options.per_class
        pacer = BytePacer(self.session.budget, self.session.options.size, self.session.bar.note)
        present = len(self._photos().filter(class_name=name))
        added = received = 0
        while present + added < wanted:
            batch = self._next_batch(min(_MOST_AT_ONCE, wanted - present - added))
            if batch.is_empty():
                break
            fetched, size = self._fetch(batch, present + added, pacer)
            added, received = added + fetched, received + size
        return ClassReport(
            class_name=name,
            taxa=self.choice.names,
            wanted=wanted,
            present=present,
            added=added,
            bytes=received,
            failed=int((self._candidates()["status"] == "failed").sum()),
            postponed=len(self._postponed),
            exhausted=self._exhausted,
        )

    def _photos(self) -> pl.DataFrame:
        return self.pool.photos().filter(is_from(INATURALIST))

    def _next_batch(self, number: int) -> pl.DataFrame:
        """Return up to ``number`` candidates to fetch, newest first; list more if there are too few.

        A photo that the pool has in another class is not fetched twice.
        """
        while True:
            skipped = [*self._postponed, *self._photos()["key"]]
            waiting = self._candidates().filter(~pl.col("key").is_in(skipped), status="wanted")
            if len(waiting) >= number or self._exhausted:
                return waiting.head(number)
            self._list()

    def _list(self) -> None:
        """List the next page and keep its candidates, after those listed before."""
        self.session.bar.update(0, 1, f"{self.choice.class_name}: listing")
        page = self.session.api.observations(self.query, self._below)
        ids = [observation.id for observation in page.results]
        # A server that ignores id_below would be asked for the same page for ever.
        if not ids or (self._below is not None and min(ids) >= self._below):
            self._exhausted = True
            return
        rows = [
            row
            for each in page.results
            for row in candidate_rows(each, self.query, self.choice.class_name)
            if row["key"] not in self._known
        ]
        new = {row["key"]: row | {"position": len(self._known) + n} for n, row in enumerate(rows)}
        self.pool.add_candidates(list(new.values()))
        self._known |= new.keys()
        self._below = min(ids)
        self._exhausted = page.total_results is not None and page.total_results <= len(ids)

    def _fetch(self, batch: pl.DataFrame, before: int, pacer: BytePacer) -> tuple[int, int]:
        """Fetch a batch; return the photos that were added, and the bytes received.

        Raises:
            CounterGroundError: the host is down or has blocked us: its photos are not at fault, stay wanted.
        """
        options, bar = self.session.options, self.session.bar
        settings = DownloadSettings(
            jobs=options.jobs,
            per_host=options.jobs,
            first_pause=options.first_pause,
            user_agent=options.user_agent,
        )
        name = self.choice.class_name
        report = Download(
            self.pool,
            batch,
            settings,
            pacer,
            lambda done: bar.update(before + done, options.per_class, name),
        )
        report.run()
        self._postponed |= report.postponed.keys()
        troubles = report.failed | report.postponed
        if not report.fetched and len(troubles) >= _MOST_FAILURES:
            reason = list(troubles.values())[-1]
            self.pool.mark_candidates([(key, name, "wanted", why) for key, why in troubles.items()])
            raise CounterGroundError(
                f"The photo host keeps failing or refuses every photo ({reason}): it may have blocked this "
                "connection. What was fetched is kept, and these photos stay wanted: run the same command "
                "again when a browser shows such photos here."
            )
        return report.fetched, report.received


def collect(
    pool_path: str | Path,
    classes: str | Path | Sequence[str | WantedClass],
    options: CollectOptions | None = None,
) -> CollectReport:
    """Fetch the newest photos of each class from iNaturalist into a pool, which is created if it is missing.

    The same call continues where it was interrupted, and does nothing if all photos are there. A photo that
    cannot be fetched is replaced by the next newest.

    Polars does not survive a fork: start a child process with multiprocessing's "spawn", or the call waits
    for ever.

    Args:
        pool_path: the pool's folder.
        classes: a built-in list or a file (see ``read_classes``), or names of classes.
        options: see ``CollectOptions``.

    Raises:
        UsageError: no class, or an unknown name or value.
        CounterGroundError: names that mean several taxa or none (those that are clear are remembered), a
            query other than the pool's, no connection, a spent budget, or a full disk.
    """
    wanted = wanted_classes(classes)
    with open_pool(pool_path, create=True) as pool, open_session(options or CollectOptions()) as session:
        bar = session.bar
        with file_lock(
            pool.root / _LOCK_FILE, lambda: bar.note("another collect is running: waiting for it")
        ):
            resolution = session.resolve(pool, wanted)
            new = [one for one in resolution.choices if one.class_name not in pool.setting("taxa", {})]
            _remember(pool, new)
            if resolution.unclear:
                raise CounterGroundError(resolution.unclear)
            queries = session.queries(pool, resolution.choices)
            _remember(pool, resolution.choices)  # taxa replace others only once their query is accepted
            _keep_queries(pool, queries)
            reports = [
                ClassCollection(pool, session, choice, queries[choice.class_name]).collect()
                for choice in resolution.choices
            ]
            pool.snapshot()
            return CollectReport(tuple(reports), (*resolution.notes, *_outcome_notes(pool, reports)))


def _remember(pool: Pool, choices: Sequence[Choice]) -> None:
    chosen = {one.class_name: [taxon.model_dump() for taxon in one.taxa] for one in choices}
    pool.set_setting("taxa", pool.setting("taxa", {}) | chosen)


def _keep_queries(pool: Pool, queries: Mapping[str, Query]) -> None:
    """Keep what is listed; what another query left waiting is found again, if it fits this one."""
    stored: dict[str, Query] = pool.setting("queries", {})
    with pool.connect() as connection:
        for name, query in queries.items():
            if stored.get(name, query) != query:
                connection.execute(
                    "DELETE FROM candidate WHERE class_name = ? AND status = 'wanted' AND key GLOB ? || ':*'",
                    (name, INATURALIST),
                )
        pool.set_setting("queries", stored | dict(queries), within=connection)


def _outcome_notes(pool: Pool, classes: Sequence[ClassReport]) -> Iterator[str]:
    """Say which photos are missing, and which may not be shared."""
    short = [
        f"{one.class_name} ({one.wanted - one.missing:,} of {one.wanted:,})"
        for one in classes
        if one.missing and one.exhausted and not one.postponed
    ]
    if short:
        yield f"No more can be found under this query for {and_more(short, 8)}."
    names = [one.class_name for one in classes]
    licences = Counter(pool.photos().filter(pl.col("class_name").is_in(names))["licence"])
    if reserved := licences[ALL_RIGHTS_RESERVED]:
        yield (
            f"{reserved:,} of {licences.total():,} photos are all rights reserved and may not be shared. "
            "--licence cc0 --licence cc-by (and so on) collects licensed photos only."
        )


def plan_collection(
    pool_path: str | Path,
    classes: str | Path | Sequence[str | WantedClass],
    options: CollectOptions | None = None,
) -> CollectReport:
    """Return what ``collect`` would add, at most: counts, and bytes of large photos.

    Nothing is downloaded, nothing is written to the pool, and no pool is created.

    Raises:
        UsageError, CounterGroundError: as ``collect``.
    """
    wanted, chosen = wanted_classes(classes), options or CollectOptions()
    opened = open_pool(pool_path) if is_pool(pool_path) else nullcontext()
    with opened as pool, open_session(chosen) as session:
        resolution = session.resolve(pool, wanted)
        if resolution.unclear:
            raise CounterGroundError(resolution.unclear)
        queries, plans = session.queries(pool, resolution.choices), []
        present = Counter(pool.photos().filter(is_from(INATURALIST))["class_name"]) if pool else Counter()
        for number, choice in enumerate(resolution.choices):
            session.bar.update(number, len(queries), "counting")
            name = choice.class_name
            available = session.api.observations(queries[name], None, per_page=1).total_results or 0
            most = available * chosen.per_observation
            added = max(0, min(chosen.per_class - present[name], most))
            plans.append(
                ClassReport(
                    class_name=name,
                    taxa=choice.names,
                    wanted=chosen.per_class,
                    present=present[name],
                    available=available,
                    added=added,
                    bytes=added * _EXPECTED_BYTES[chosen.size],
                )
            )
        return CollectReport(tuple(plans), resolution.notes)
