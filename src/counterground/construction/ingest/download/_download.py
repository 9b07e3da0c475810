"""Candidates of a pool become photos of it, or keep the reason why not."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import polars as pl

from counterground.construction.ingest.download._fetch import DownloadSettings, Refusal, fetch
from counterground.construction.ingest.download._keep import KeptPhoto, file_stem, find_photo, keep_photo
from counterground.photos import UnreadablePhoto
from counterground.pool import CANDIDATE_SCHEMA, PHOTO_SCHEMA

if TYPE_CHECKING:
    from counterground.pool import Pool


_DEAD_AFTER = 16  # requests in a row that brought nothing


@dataclass(eq=False)
class Task:
    """One address, and the candidates (rows of ``CANDIDATE_SCHEMA``) that are waiting for its photo."""

    url: str
    rows: list[dict[str, Any]]
    tries: int = 0
    damaged: bool = False  # it came once, and could not be decoded
    started: float = 0.0

    @property
    def host(self) -> str:
        """Name and port of the host."""
        try:
            return urlsplit(self.url).netloc.lower()
        except ValueError:
            return ""


@dataclass
class _Host:
    fresh: deque[Task] = field(default_factory=deque)
    later: list[tuple[float, int, Task]] = field(default_factory=list)  # a heap by time
    running: int = 0
    paused_at: float = -1.0
    paused_until: float = 0.0
    busy: int = 0  # pauses in a row without a photo between them
    fruitless: int = 0  # requests in a row that brought nothing


class Hosts:
    """The tasks that wait, by host; in the order they were given, hosts taking turns."""

    def __init__(self, tasks: Iterable[Task], settings: DownloadSettings) -> None:
        self._settings = settings
        self._hosts: dict[str, _Host] = {}
        self._count = 0
        for task in tasks:
            self._hosts.setdefault(task.host, _Host()).fresh.append(task)
        self._turns = deque(self._hosts)

    def take(self, now: float) -> Task | None:
        """Return the next task whose host is ready, counted as running there."""
        for _ in range(len(self._turns)):
            name = self._turns[0]
            self._turns.rotate(-1)
            host = self._hosts[name]
            if not host.fresh and not host.later:
                self._turns.pop()
            elif host.running < self._settings.per_host and now >= host.paused_until:
                if host.later and host.later[0][0] <= now:
                    task = heapq.heappop(host.later)[2]
                elif host.fresh:
                    task = host.fresh.popleft()
                else:
                    continue
                host.running += 1
                task.started = now
                return task
        return None

    def ready_at(self) -> float | None:
        """Return when the next host with room is ready; None where nothing waits, or none has room."""
        times = [
            max(host.paused_until, 0.0 if host.fresh else host.later[0][0])
            for host in (self._hosts[name] for name in self._turns)
            if (host.fresh or host.later) and host.running < self._settings.per_host
        ]
        return min(times, default=None)

    def put_back(self, task: Task, until: float) -> None:
        """Let the host rest until then, and the task be its next one, as if it had not been taken."""
        host = self._hosts[task.host]
        host.running -= 1
        host.paused_until = max(host.paused_until, until)
        host.fresh.appendleft(task)

    def finish(self, task: Task, *, asked: bool = True) -> None:
        """Note that the task is done, whatever came; ``asked`` where the host answered as it should."""
        host = self._hosts[task.host]
        host.running -= 1
        if asked:
            host.busy = host.fruitless = 0

    def refused(self, task: Task, refusal: Refusal, now: float) -> list[tuple[Task, str]]:
        """Decide what follows from a refusal that may pass; return the tasks that are left, each with why."""
        host = self._hosts[task.host]
        host.running -= 1
        task.tries += 1
        if refusal.busy:
            return self._rest(host, task, refusal, now)
        host.fruitless += 1
        given = self._again(host, task, refusal, now + self._pause(task.tries))
        if host.fruitless >= _DEAD_AFTER:
            given += self._drop(
                host, f"is left in peace: {_DEAD_AFTER} requests brought nothing ({refusal.reason})"
            )
        return given

    def _rest(self, host: _Host, task: Task, refusal: Refusal, now: float) -> list[tuple[Task, str]]:
        """Let the host rest; it may be busy with this photo alone, so that is given up before the host."""
        host.busy += task.started > host.paused_at  # refusals of one round count once
        pause = self._pause(host.busy) if refusal.wait is None else refusal.wait
        host.paused_at, host.paused_until = now, max(host.paused_until, now + pause)
        given = self._again(host, task, refusal, now)
        if pause > self._settings.longest_pause:
            given += self._drop(host, f"is left in peace: it said to wait {pause:,.0f} s")
        elif host.busy > self._settings.tries:
            given += self._drop(host, f"is left in peace: {refusal.reason} again and again")
        return given

    def _pause(self, times: int) -> float:
        return float(min(self._settings.first_pause * 2 ** (times - 1), self._settings.longest_pause))

    def _again(self, host: _Host, task: Task, refusal: Refusal, at: float) -> list[tuple[Task, str]]:
        """Let the task wait for another try, or return it with the reason where it had them all."""
        if task.tries >= self._settings.tries:
            return [(task, f"{refusal.reason} ({task.tries} tries)")]
        self._count += 1
        heapq.heappush(host.later, (at, self._count, task))
        if task.host not in self._turns:
            self._turns.append(task.host)
        return []

    def _drop(self, host: _Host, reason: str) -> list[tuple[Task, str]]:
        left = [*(task for _, _, task in sorted(host.later)), *host.fresh]
        host.later.clear()
        host.fresh.clear()
        return [(task, f"{task.host} {reason}") for task in left]


_SHARED = tuple(name for name in CANDIDATE_SCHEMA if name in PHOTO_SCHEMA)
_BATCH = 32
_SECONDS_BETWEEN_WRITES = 2.0


class Pacer(Protocol):
    """Keeps a rate or a budget beyond what hosts ask for themselves."""

    def seconds_to_wait(self, url: str) -> float:
        """Return 0, and count the request, where it may go now; else the seconds to wait before asking again.

        Raises:
            CounterGroundError: to end the download; what is left stays wanted.
        """

    def received(self, url: str, size: int) -> None:
        """Note bytes that came, also of a photo that was then refused."""


PhotoFields = Callable[[Mapping[str, Any]], Mapping[str, object]]
"""From a candidate to further columns of its photo, e.g. ``cluster``."""


@dataclass(frozen=True)
class Missed:
    """A candidate that did not become a photo."""

    key: str
    class_name: str
    url: str
    reason: str


@dataclass(frozen=True)
class DownloadReport:
    """What became of the candidates; every one is counted once.

    Attributes:
        fetched: photos that came now.
        found: photos whose file lay in the pool already: of a run that was cut off, or of another class.
        failed: asking again would not help; marked "failed".
        postponed: the host was busy or down; still "wanted", so the next run asks again.
        requests: photos asked for, tries included.
        received: bytes.
    """

    fetched: int
    found: int
    failed: tuple[Missed, ...]
    postponed: tuple[Missed, ...]
    requests: int
    received: int


@dataclass(frozen=True)
class _Came:
    """What a worker brings back: files in the pool by row, and the bytes that were received."""

    photos: list[tuple[dict[str, Any], KeptPhoto]]
    received: int | None  # None: nothing was asked for


def download_photos(
    pool: Pool,
    candidates: pl.DataFrame,
    settings: DownloadSettings | None = None,
    *,
    fields: PhotoFields | None = None,
    pacer: Pacer | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DownloadReport:
    """Fetch the wanted ones among a pool's candidates and take them in as photos.

    A photo is decoded before it is kept, its file is named after its key (``file_stem``) and appears in one
    rename: after kill -9 the next call finds it and asks only for what is not there. A key that several
    classes want is fetched once. Hosts are asked in turns, each no more than ``per_host`` at a time; 429, and
    503 with Retry-After, make the whole host rest, other 5xx and broken connections the photo.

    Args:
        pool: the candidates' pool.
        candidates: rows of ``CANDIDATE_SCHEMA``; those that are not "wanted" are left alone.
        settings: see ``DownloadSettings``.
        fields: further columns of the photos.
        pacer: a rate or budget of the caller's.
        progress: called with (candidates settled, candidates in all).

    Raises:
        CounterGroundError: the pool cannot be written, or the pacer ends it; what came is kept.
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
        self.progress, self.total, self.settled = progress, len(wanted), 0
        self.hosts = Hosts(_tasks(wanted), settings)
        self.running: dict[Future[_Came], Task] = {}
        self.workers = ThreadPoolExecutor(settings.jobs, thread_name_prefix="download")
        self.stop = threading.Event()
        self.sessions = threading.local()
        self.rows: list[dict[str, object]] = []
        self.marks: list[tuple[str, str, str, str | None]] = []
        self.written_at = time.monotonic()
        self.failed: list[Missed] = []
        self.postponed: list[Missed] = []
        self.fetched = self.found = self.requests = self.received = 0

    def loop(self) -> None:
        """Hand out tasks and take in what comes, until nothing waits and nothing runs."""
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
        """Start tasks while there are workers, hosts that are ready, and leave of the pacer."""
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

    def work(self, task: Task) -> _Came:
        """In a thread: find the photo in the pool, or fetch it, and keep it for each class that wants it."""
        places = [
            (row, self.pool.class_folder(row["class_name"]), file_stem(row["key"], _last_part(task.url)))
            for row in task.rows
        ]
        there = [(row, find_photo(self.pool.root, folder, stem)) for row, folder, stem in places]
        kept = [(row, photo) for row, photo in there if photo is not None]
        if len(kept) == len(places):
            return _Came(kept, None)
        if kept:
            data, received = (self.pool.root / kept[0][1].path).read_bytes(), None
        else:
            data = fetch(self.session(), task.url, self.settings, self.stop)
            received = len(data)
        have = {id(row) for row, _ in kept}
        try:
            kept += [
                (row, keep_photo(self.pool.root, folder, stem, data))
                for row, folder, stem in places
                if id(row) not in have
            ]
        except UnreadablePhoto as error:
            # Damage may have happened on the way, and a page in place of a photo may be a passing apology.
            again, task.damaged = not task.damaged, True
            raise Refusal(error.reason, again=again, received=len(data)) from error
        return _Came(kept, received)

    def session(self) -> Any:
        """Return this thread's session, which keeps connections open."""
        import requests

        if not hasattr(self.sessions, "session"):
            self.sessions.session = requests.Session()
            self.sessions.session.headers["User-Agent"] = self.settings.user_agent
        return self.sessions.session

    def collect_finished(self) -> None:
        """Take in what the workers brought."""
        for future in [future for future in self.running if future.done()]:
            task = self.running.pop(future)
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                self.take_in(task, future.result())
            elif isinstance(error, Refusal):
                self.take_refusal(task, error)
            else:
                raise error

    def take_in(self, task: Task, came: _Came) -> None:
        """Note the photos of a task."""
        self.hosts.finish(task, asked=came.received is not None)
        if came.received is not None:
            self.count(task, came.received)
            self.fetched += 1
        self.found += len(came.photos) - (came.received is not None)
        for row, photo in came.photos:
            further = self.fields(row) if self.fields else {}
            self.rows.append({name: row[name] for name in _SHARED} | vars(photo) | dict(further))
            self.marks.append((row["key"], row["class_name"], "got", None))
        self.settle(len(came.photos))

    def take_refusal(self, task: Task, refusal: Refusal) -> None:
        """Note why a photo did not come, or let it be asked for again."""
        if self.stop.is_set():
            return
        self.count(task, refusal.received)
        if not refusal.again:
            self.hosts.finish(task)
            self.leave(task, refusal.reason, "failed")
            return
        for left, reason in self.hosts.refused(task, refusal, time.monotonic()):
            self.leave(left, reason, "wanted")

    def count(self, task: Task, received: int) -> None:
        """Count one request and its bytes."""
        self.requests += 1
        self.received += received
        if self.pacer:
            self.pacer.received(task.url, received)

    def leave(self, task: Task, reason: str, status: str) -> None:
        """Note what did not come, for its report and for the next run."""
        missed = [Missed(row["key"], row["class_name"], task.url, reason) for row in task.rows]
        (self.failed if status == "failed" else self.postponed).extend(missed)
        self.marks += [(one.key, one.class_name, status, reason) for one in missed]
        self.settle(len(missed))

    def settle(self, number: int) -> None:
        """Report progress."""
        self.settled += number
        if self.progress:
            self.progress(self.settled, self.total)

    def write(self) -> None:
        """Put what came into the pool: photos first, so that a candidate marked "got" has its photo."""
        rows, marks = self.rows, self.marks
        self.rows, self.marks, self.written_at = [], [], time.monotonic()
        self.pool.add_photos(rows)
        self.pool.mark_candidates(marks)


def _tasks(wanted: pl.DataFrame) -> list[Task]:
    by_key: dict[tuple[str, str], Task] = {}
    for row in wanted.iter_rows(named=True):
        url = row["url"] or ""
        by_key.setdefault((row["key"], url), Task(url, [])).rows.append(row)
    return list(by_key.values())


def _last_part(url: str) -> str:
    path = url.split("?", 1)[0].split("#", 1)[0].rstrip("/")
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
