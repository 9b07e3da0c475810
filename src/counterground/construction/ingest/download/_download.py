"""Candidates of a pool become photos of it, or keep the reason why not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from counterground.construction.ingest.download._keep import KeptPhoto, file_stem, find_photo, keep_photo
from counterground.http import Client, FetchError, HostQueue, RequestLimits, Task, user_agent
from counterground.photos import UnreadablePhoto
from counterground.pool import CANDIDATE_SCHEMA, PHOTO_SCHEMA

if TYPE_CHECKING:
    from counterground.pool import Pool


@dataclass(frozen=True)
class DownloadSettings:
    """How photos are fetched.

    Attributes:
        jobs: photos fetched at the same time, from all hosts.
        per_host: photos fetched at the same time from one host.
        tries: requests for one photo before it is postponed.
        first_pause: seconds before the second try, doubled before each further one.
        longest_pause: seconds; a host that asks for more is skipped.
        timeout: seconds without a byte.
        longest: seconds one photo may take.
        most_bytes: size of the largest photo.
        user_agent: how we introduce ourselves.
    """

    jobs: int = 4
    per_host: int = 2
    tries: int = 4
    first_pause: float = 2.0
    longest_pause: float = 300.0
    timeout: float = 30.0
    longest: float = 300.0
    most_bytes: int = 64 * 1024**2
    user_agent: str = user_agent()


_SHARED = tuple(name for name in CANDIDATE_SCHEMA if name in PHOTO_SCHEMA)
_BATCH = 32
_SECONDS_BETWEEN_WRITES = 2.0


class Pacer(Protocol):
    """Keeps a rate or a budget beyond what hosts ask for themselves."""

    def seconds_to_wait(self, url: str) -> float:
        """Return 0, and count the request, if it may go now; else the seconds to wait before asking again.

        Raises:
            CounterGroundError: to end the download; what is left stays wanted.
        """

    def received(self, url: str, size: int) -> None:
        """Note bytes that came, even if they were no photo."""


PhotoFields = Callable[[Mapping[str, Any]], Mapping[str, object]]
"""From a candidate to further columns of its photo, e.g. ``cluster``."""


@dataclass(frozen=True)
class FailedDownload:
    """A candidate that did not become a photo."""

    key: str
    class_name: str
    url: str
    reason: str


@dataclass(frozen=True)
class DownloadReport:
    """The outcome of each candidate, counted once.

    Attributes:
        fetched: photos that were fetched now.
        found: photos whose file was in the pool already: of an interrupted run, or of another class.
        failed: asking again would not help; marked "failed".
        postponed: the host was busy or down; still "wanted", so the next run asks again.
        requests: photos asked for, tries included.
        received: bytes.
    """

    fetched: int
    found: int
    failed: tuple[FailedDownload, ...]
    postponed: tuple[FailedDownload, ...]
    requests: int
    received: int


@dataclass(frozen=True)
class _Kept:
    """The result of a worker: files in the pool by row, and the bytes that were received."""

    photos: list[tuple[dict[str, Any], KeptPhoto]]
    received: int | None  # None: nothing was asked for


@dataclass
class _Candidates:
    """The candidates (rows of ``CANDIDATE_SCHEMA``) that wait for the photo of one address."""

    rows: list[dict[str, Any]]
    damaged: bool = False  # it came once, and could not be decoded


_Task = Task[_Candidates]


def download_photos(
    pool: Pool,
    candidates: pl.DataFrame,
    settings: DownloadSettings | None = None,
    *,
    fields: PhotoFields | None = None,
    pacer: Pacer | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DownloadReport:
    """Fetch the wanted ones among a pool's candidates and add them as photos.

    A photo is decoded before it is kept, its file is named after its key (``file_stem``) and appears in one
    rename: after kill -9 the next call finds it and asks only for the missing ones. A key that several
    classes want is fetched once. Hosts are asked in turns, each no more than ``per_host`` at a time; 429, and
    503 with Retry-After, make the whole host rest, other 5xx and broken connections only the photo.

    Args:
        pool: the candidates' pool.
        candidates: rows of ``CANDIDATE_SCHEMA``; those that are not "wanted" are left alone.
        settings: see ``DownloadSettings``.
        fields: further columns of the photos.
        pacer: a rate or budget of the caller's.
        progress: called with (candidates done, candidates in all).

    Raises:
        CounterGroundError: the pool cannot be written, or the pacer ends it; what was fetched is kept.
    """
    wanted = candidates.filter(pl.col("status") == "wanted")
    chosen = settings or DownloadSettings()
    run = _Run(pool, wanted, chosen, fields=fields, pacer=pacer, progress=progress)
    try:
        run.loop()
    finally:
        run.stop.set()
        run.workers.shutdown(wait=True, cancel_futures=True)
        run.collect_finished()
        run.write()
        run.client.close()
    return DownloadReport(
        run.fetched, run.found, tuple(run.failed), tuple(run.postponed), run.requests, run.received
    )


class _Run:
    """One call of ``download_photos``. All state is the calling thread's; workers only return values."""

    def __init__(
        self,
        pool: Pool,
        wanted: pl.DataFrame,
        settings: DownloadSettings,
        *,
        fields: PhotoFields | None,
        pacer: Pacer | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.pool, self.settings, self.fields, self.pacer = pool, settings, fields, pacer
        self.progress, self.total, self.done = progress, len(wanted), 0
        self.hosts = HostQueue(
            _tasks(wanted),
            per_host=settings.per_host,
            tries=settings.tries,
            first_pause=settings.first_pause,
            longest_pause=settings.longest_pause,
        )
        limits = RequestLimits(settings.timeout, settings.longest, settings.most_bytes)
        self.client = Client(settings.user_agent, limits)
        self.running: dict[Future[_Kept], _Task] = {}
        self.workers = ThreadPoolExecutor(settings.jobs, thread_name_prefix="download")
        self.stop = threading.Event()
        self.rows: list[dict[str, object]] = []
        self.marks: list[tuple[str, str, str, str | None]] = []
        self.written_at = time.monotonic()
        self.failed: list[FailedDownload] = []
        self.postponed: list[FailedDownload] = []
        self.fetched = self.found = self.requests = self.received = 0

    def loop(self) -> None:
        """Hand out tasks and record their results, until nothing waits and nothing runs."""
        while True:
            self.hand_out()
            now, ready = time.monotonic(), self.hosts.ready_at()
            if not self.running and ready is None:
                return
            idle = len(self.running) < self.settings.jobs and ready is not None
            pause = max(0.0, ready - now) if idle and ready is not None else _SECONDS_BETWEEN_WRITES
            pause = min(pause, _SECONDS_BETWEEN_WRITES)
            if self.running:
                wait(self.running, timeout=pause, return_when=FIRST_COMPLETED)
            else:
                time.sleep(pause)
            self.collect_finished()
            if len(self.marks) >= _BATCH or time.monotonic() - self.written_at > _SECONDS_BETWEEN_WRITES:
                self.write()

    def hand_out(self) -> None:
        """Start tasks while there are free workers and ready hosts, and the pacer allows it."""
        while len(self.running) < self.settings.jobs:
            now = time.monotonic()
            task = self.hosts.take(now)
            if task is None:
                return
            pause = self.pacer.seconds_to_wait(task.url) if self.pacer else 0.0
            if pause > 0:
                self.hosts.put_back(task, now + pause)
            else:
                self.running[self.workers.submit(self.work, task)] = task

    def work(self, task: _Task) -> _Kept:
        """In a thread: find the photo in the pool, or fetch it, and keep it for each class that wants it."""
        places = [
            (row, self.pool.class_folder(row["class_name"]), file_stem(row["key"], _last_part(task.url)))
            for row in task.payload.rows
        ]
        there = [(row, find_photo(self.pool.root, folder, stem)) for row, folder, stem in places]
        kept = [(row, photo) for row, photo in there if photo is not None]
        if len(kept) == len(places):
            return _Kept(kept, None)
        if kept:
            data, received = (self.pool.root / kept[0][1].path).read_bytes(), None
        else:
            data = self.client.fetch(task.url, stop=self.stop).body
            received = len(data)
        have = {id(row) for row, _ in kept}
        try:
            kept += [
                (row, keep_photo(self.pool.root, folder, stem, data))
                for row, folder, stem in places
                if id(row) not in have
            ]
        except UnreadablePhoto as error:
            # Damage may have happened on the way, and a page in place of a photo may be a temporary apology.
            again, task.payload.damaged = not task.payload.damaged, True
            raise FetchError(error.reason, again=again, received=len(data)) from error
        return _Kept(kept, received)

    def collect_finished(self) -> None:
        """Record the results of the workers."""
        for future in [future for future in self.running if future.done()]:
            task = self.running.pop(future)
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                self.record(task, future.result())
            elif isinstance(error, FetchError):
                self.record_failure(task, error)
            else:
                raise error

    def record(self, task: _Task, kept: _Kept) -> None:
        """Note the photos of a task."""
        asked = kept.received is not None
        self.hosts.finish(task, asked=asked)
        if kept.received is not None:
            self.count(task, kept.received)
        self.fetched += asked
        self.found += len(kept.photos) - asked
        for row, photo in kept.photos:
            further = self.fields(row) if self.fields else {}
            self.rows.append({name: row[name] for name in _SHARED} | vars(photo) | dict(further))
            self.marks.append((row["key"], row["class_name"], "got", None))
        self.report_done(len(kept.photos))

    def record_failure(self, task: _Task, error: FetchError) -> None:
        """Note why there is no photo, or let it be asked for again."""
        if self.stop.is_set():
            return
        self.count(task, error.received)
        if not error.again:
            self.hosts.finish(task)
            self.give_up(task, error.reason, "failed")
            return
        for left, reason in self.hosts.fail(task, error, time.monotonic()):
            self.give_up(left, reason, "wanted")

    def count(self, task: _Task, received: int) -> None:
        """Count one request and its bytes."""
        self.requests += 1
        self.received += received
        if self.pacer:
            self.pacer.received(task.url, received)

    def give_up(self, task: _Task, reason: str, status: str) -> None:
        """Note the failure, for the report and for the next run."""
        rows = task.payload.rows
        given_up = [FailedDownload(row["key"], row["class_name"], task.url, reason) for row in rows]
        (self.failed if status == "failed" else self.postponed).extend(given_up)
        self.marks += [(one.key, one.class_name, status, reason) for one in given_up]
        self.report_done(len(given_up))

    def report_done(self, number: int) -> None:
        """Report progress."""
        self.done += number
        if self.progress:
            self.progress(self.done, self.total)

    def write(self) -> None:
        """Write to the pool: photos first, so that a candidate marked "got" has its photo."""
        rows, marks = self.rows, self.marks
        self.rows, self.marks, self.written_at = [], [], time.monotonic()
        self.pool.add_photos(rows)
        self.pool.mark_candidates(marks)


def _tasks(wanted: pl.DataFrame) -> list[_Task]:
    by_key: dict[tuple[str, str], _Task] = {}
    for row in wanted.iter_rows(named=True):
        url = row["url"] or ""
        by_key.setdefault((row["key"], url), Task(url, _Candidates([]))).payload.rows.append(row)
    return list(by_key.values())


def _last_part(url: str) -> str:
    path = url.split("?", 1)[0].split("#", 1)[0].rstrip("/")
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
