"""Fetch many addresses in threads: one thread decides, workers only fetch."""

from __future__ import annotations

import heapq
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlsplit

from counterground.http._client import Client, FetchError, RequestLimits, backoff, user_agent

T = TypeVar("T")

_DEAD_AFTER = 16  # failed requests in a row


@dataclass(frozen=True)
class DownloadSettings(RequestLimits):
    """Settings for fetching many addresses, and the limits of each request.

    Attributes:
        jobs: addresses fetched at the same time, from all hosts.
        per_host: addresses fetched at the same time from one host.
        tries: requests for one address before it is given up.
        first_pause: seconds before the second try, doubled before each further one.
        longest_pause: seconds; a host that asks for more is skipped.
        user_agent: the User-Agent that is sent.
    """

    jobs: int = 4
    per_host: int = 2
    tries: int = 4
    first_pause: float = 2.0
    longest_pause: float = 300.0
    user_agent: str = user_agent()


@dataclass(eq=False)
class Task(Generic[T]):
    """An address to fetch, and what for."""

    url: str
    payload: T
    tries: int = 0
    started: float = 0.0

    @property
    def host(self) -> str:
        """Name and port of the host."""
        try:
            return urlsplit(self.url).netloc.rpartition("@")[2].lower()
        except ValueError:
            return ""


@dataclass
class _Host(Generic[T]):
    waiting: list[tuple[float, int, Task[T]]] = field(default_factory=list)  # a heap by time and turn
    running: int = 0
    paused_at: float = -1.0
    paused_until: float = 0.0
    busy: int = 0  # pauses in a row without an answer between them
    failures: int = 0  # in a row


class HostQueue(Generic[T]):
    """Waiting tasks by host, in the order they were given; hosts take turns.

    It keeps no clock: the time, in seconds, is an argument.

    Args:
        tasks: all tasks that there will be.
        settings: how many requests to one host at a time, how often, and how long to pause.
    """

    def __init__(self, tasks: Iterable[Task[T]], settings: DownloadSettings) -> None:
        self._settings = settings
        self._hosts: dict[str, _Host[T]] = {}
        self._count = 0
        for self._count, task in enumerate(tasks):
            self._hosts.setdefault(task.host, _Host()).waiting.append((0.0, self._count, task))
        self._turns = deque(self._hosts)

    def take(self, now: float) -> Task[T] | None:
        """Return the next task whose host is ready, counted as running there."""
        for _ in range(len(self._turns)):
            name = self._turns[0]
            self._turns.rotate(-1)
            host = self._hosts[name]
            if not host.waiting:
                self._turns.pop()
            elif host.running < self._settings.per_host and now >= max(host.paused_until, host.waiting[0][0]):
                task = heapq.heappop(host.waiting)[2]
                host.running += 1
                task.started = now
                return task
        return None

    def ready_at(self) -> float | None:
        """Return when the next host with room is ready; None if nothing waits, or none has room."""
        times = [
            max(host.paused_until, host.waiting[0][0])
            for host in (self._hosts[name] for name in self._turns)
            if host.waiting and host.running < self._settings.per_host
        ]
        return min(times, default=None)

    def put_back(self, task: Task[T], until: float) -> None:
        """Let the host rest until then, and put the task first in its queue, as if it had not been taken."""
        host = self._hosts[task.host]
        host.running -= 1
        host.paused_until = max(host.paused_until, until)
        heapq.heappush(host.waiting, (-1.0, 0, task))

    def finish(self, task: Task[T]) -> None:
        """Note that the host answered as it should."""
        host = self._hosts[task.host]
        host.running -= 1
        host.busy = host.failures = 0

    def fail(self, task: Task[T], error: FetchError, now: float) -> list[tuple[Task[T], str]]:
        """Note a failure that may be temporary; return the tasks that are given up, with reasons."""
        host = self._hosts[task.host]
        host.running -= 1
        task.tries += 1
        if error.busy:
            return self._rest(host, task, error, now)
        host.failures += 1
        given_up = self._again(task, error, now + self._pause(task.tries))
        if host.failures >= _DEAD_AFTER:
            given_up += self._drop(host, f"{_DEAD_AFTER} consecutive failures ({error.reason})")
        return given_up

    def _rest(
        self, host: _Host[T], task: Task[T], error: FetchError, now: float
    ) -> list[tuple[Task[T], str]]:
        """Let the host rest. It may be busy only for this address, which is given up before the host."""
        host.busy += task.started > host.paused_at  # refusals of one round count once
        pause = self._pause(host.busy) if error.wait is None else error.wait
        host.paused_at, host.paused_until = now, max(host.paused_until, now + pause)
        given_up = self._again(task, error, -1.0)  # before all others, once the host has rested
        if pause > self._settings.longest_pause:
            given_up += self._drop(host, f"the server asks for a pause of {pause:,.0f} s")
        elif host.busy > self._settings.tries:
            given_up += self._drop(host, f"{error.reason} again and again")
        return given_up

    def _pause(self, failures: int) -> float:
        return backoff(failures, self._settings.first_pause, self._settings.longest_pause)

    def _again(self, task: Task[T], error: FetchError, at: float) -> list[tuple[Task[T], str]]:
        """Queue the task for another try, or return it with the reason if no tries are left."""
        if task.tries >= self._settings.tries:
            return [(task, f"{error.reason} ({'1 try' if task.tries == 1 else f'{task.tries} tries'})")]
        self._count += 1
        heapq.heappush(self._hosts[task.host].waiting, (at, self._count, task))
        if task.host not in self._turns:
            self._turns.append(task.host)
        return []

    def _drop(self, host: _Host[T], reason: str) -> list[tuple[Task[T], str]]:
        left = [task for _, _, task in sorted(host.waiting)]
        host.waiting.clear()
        return [(task, f"{task.host} is skipped: {reason}") for task in left]


_SECONDS_BETWEEN_PAUSES = 2.0


class Pacer(Protocol):
    """Keep a rate or a budget beyond what hosts themselves ask for."""

    def seconds_to_wait(self) -> float:
        """Return 0 and count the request if it may be sent now, else the seconds to wait before asking again.

        Raises:
            CounterGroundError: to end the download; the rest is still to be fetched.
        """

    def received(self, size: int) -> None:
        """Count the bytes received for one address, even if they were of no use."""


R = TypeVar("R")


class FetchLoop(ABC, Generic[T, R]):
    """Fetch tasks in threads. All state belongs to the calling thread; only ``work`` runs in others.

    Attributes:
        received: bytes received.
        stop: event set when the loop ends, however it ends; ``work`` passes it to ``Client``.
    """

    def __init__(
        self, tasks: Iterable[Task[T]], settings: DownloadSettings, pacer: Pacer | None = None
    ) -> None:
        self.settings = settings
        self.client = Client(settings.user_agent, settings)
        self.stop = threading.Event()
        self.received = 0
        self._pacer = pacer
        self._hosts = HostQueue(tasks, settings)
        self._running: dict[Future[tuple[R, int]], Task[T]] = {}
        self._workers = ThreadPoolExecutor(settings.jobs, thread_name_prefix="download")

    @abstractmethod
    def work(self, task: Task[T]) -> tuple[R, int]:
        """In a thread: fetch an address; return what becomes of it, and the number of bytes received.

        Raises:
            FetchError: there is no answer, or no usable one.
        """

    @abstractmethod
    def record(self, task: Task[T], result: R) -> None:
        """Record what became of an address."""

    @abstractmethod
    def give_up(self, task: Task[T], reason: str, *, again: bool) -> None:
        """Record that an address is given up; ``again``: whether it may be there another time."""

    def fetch(self, task: Task[T]) -> bytes:
        """In a thread: return the body of a task's address."""
        return self.client.fetch(task.url, stop=self.stop).body

    def pause(self) -> None:
        """Hook that is called at least every two seconds."""

    def run(self) -> None:
        """Fetch until nothing waits or runs; however that ends, finished results are recorded."""
        try:
            self._loop()
        finally:
            self.stop.set()
            self._workers.shutdown(wait=True, cancel_futures=True)
            self._collect_finished()
            self.client.close()

    def _loop(self) -> None:
        while True:
            self._hand_out()
            now, ready = time.monotonic(), self._hosts.ready_at()
            if not self._running and ready is None:
                return
            idle = len(self._running) < self.settings.jobs and ready is not None
            pause = max(0.0, ready - now) if idle and ready is not None else _SECONDS_BETWEEN_PAUSES
            pause = min(pause, _SECONDS_BETWEEN_PAUSES)
            if self._running:
                wait(self._running, timeout=pause, return_when=FIRST_COMPLETED)
            else:
                time.sleep(pause)
            self._collect_finished()
            self.pause()

    def _hand_out(self) -> None:
        """Start tasks while there are free workers and ready hosts, and the pacer allows it."""
        while len(self._running) < self.settings.jobs:
            now = time.monotonic()
            task = self._hosts.take(now)
            if task is None:
                return
            pause = self._pacer.seconds_to_wait() if self._pacer else 0.0
            if pause > 0:
                self._hosts.put_back(task, now + pause)
            else:
                self._running[self._workers.submit(self.work, task)] = task

    def _collect_finished(self) -> None:
        """Record the results of the workers."""
        for future in [future for future in self._running if future.done()]:
            task = self._running.pop(future)
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                result, received = future.result()
                self._hosts.finish(task)
                self._count(received)
                self.record(task, result)
            elif isinstance(error, FetchError):
                self._record_failure(task, error)
            else:
                raise error

    def _record_failure(self, task: Task[T], error: FetchError) -> None:
        """Record why there is nothing, or queue the task for a retry."""
        if self.stop.is_set():
            return
        self._count(error.received)
        if not error.again:
            self._hosts.finish(task)
            self.give_up(task, error.reason, again=False)
            return
        for left, reason in self._hosts.fail(task, error, time.monotonic()):
            self.give_up(left, reason, again=True)

    def _count(self, received: int) -> None:
        self.received += received
        if self._pacer:
            self._pacer.received(received)
