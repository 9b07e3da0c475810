"""Fetch many addresses in threads: one thread decides, workers only fetch."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from counterground.http._client import Client, FetchError, RequestLimits, user_agent
from counterground.http._hosts import HostQueue, Task

_SECONDS_BETWEEN_PAUSES = 2.0


@dataclass(frozen=True)
class DownloadSettings:
    """Settings for fetching many addresses.

    Attributes:
        jobs: addresses fetched at the same time, from all hosts.
        per_host: addresses fetched at the same time from one host.
        tries: requests for one address before it is given up.
        first_pause: seconds before the second try, doubled before each further one.
        longest_pause: seconds; a host that asks for more is skipped.
        timeout: seconds without a byte.
        longest: seconds one address may take.
        most_bytes: size of the largest body.
        user_agent: the User-Agent that is sent.
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


class Pacer(Protocol):
    """Keep a rate or a budget beyond what hosts themselves ask for."""

    def seconds_to_wait(self, url: str) -> float:
        """Return 0 and count the request if it may be sent now, else the seconds to wait before asking again.

        Raises:
            CounterGroundError: to end the download; the rest is still to be fetched.
        """

    def received(self, url: str, size: int) -> None:
        """Count received bytes, even if they were of no use."""


class Received(Protocol):
    """What a worker returns: its result for an address, and how much was received."""

    @property
    def received(self) -> int | None:
        """Bytes received; None if no request was made."""


T = TypeVar("T")
R = TypeVar("R", bound=Received)


class FetchLoop(ABC, Generic[T, R]):
    """Fetch tasks in threads. All state belongs to the calling thread; only ``work`` runs in others.

    Attributes:
        requests: number of requests made, each try included.
        received: bytes received.
        stop: event set when the loop ends, however it ends; ``work`` passes it to ``Client``.
    """

    def __init__(
        self, tasks: Iterable[Task[T]], settings: DownloadSettings, pacer: Pacer | None = None
    ) -> None:
        self.settings = settings
        self.client = Client(
            settings.user_agent, RequestLimits(settings.timeout, settings.longest, settings.most_bytes)
        )
        self.stop = threading.Event()
        self.requests = self.received = 0
        self._pacer = pacer
        self._hosts = HostQueue(
            tasks,
            per_host=settings.per_host,
            tries=settings.tries,
            first_pause=settings.first_pause,
            longest_pause=settings.longest_pause,
        )
        self._running: dict[Future[R], Task[T]] = {}
        self._workers = ThreadPoolExecutor(settings.jobs, thread_name_prefix="download")

    @abstractmethod
    def work(self, task: Task[T]) -> R:
        """In a thread: fetch an address.

        Raises:
            FetchError: there is no answer, or no usable one.
        """

    @abstractmethod
    def record(self, task: Task[T], result: R) -> None:
        """Record what ``work`` returned."""

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
            pause = self._pacer.seconds_to_wait(task.url) if self._pacer else 0.0
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
                self._record(task, future.result())
            elif isinstance(error, FetchError):
                self._record_failure(task, error)
            else:
                raise error

    def _record(self, task: Task[T], result: R) -> None:
        self._hosts.finish(task, asked=result.received is not None)
        if result.received is not None:
            self._count(task, result.received)
        self.record(task, result)

    def _record_failure(self, task: Task[T], error: FetchError) -> None:
        """Record why there is nothing, or queue the task for a retry."""
        if self.stop.is_set():
            return
        self._count(task, error.received)
        if not error.again:
            self._hosts.finish(task)
            self.give_up(task, error.reason, again=False)
            return
        for left, reason in self._hosts.fail(task, error, time.monotonic()):
            self.give_up(left, reason, again=True)

    def _count(self, task: Task[T], received: int) -> None:
        """Count one request and its bytes."""
        self.requests += 1
        self.received += received
        if self._pacer:
            self._pacer.received(task.url, received)
