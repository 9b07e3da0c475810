"""A queue of many requests to many hosts: which host is next, which one rests, and what is given up."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from counterground.http._client import FetchError, backoff

T = TypeVar("T")

_DEAD_AFTER = 16  # failed requests in a row


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
    fresh: deque[Task[T]] = field(default_factory=deque)
    later: list[tuple[float, int, Task[T]]] = field(default_factory=list)  # a heap by time
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
        per_host: requests to one host at the same time.
        tries: most requests for one address.
        first_pause: seconds before the second try, doubled before each further one.
        longest_pause: seconds; a host that asks for more is given up.
    """

    def __init__(
        self,
        tasks: Iterable[Task[T]],
        *,
        per_host: int = 2,
        tries: int = 4,
        first_pause: float = 2.0,
        longest_pause: float = 300.0,
    ) -> None:
        self._per_host, self._tries = per_host, tries
        self._first_pause, self._longest_pause = first_pause, longest_pause
        self._hosts: dict[str, _Host[T]] = {}
        self._count = 0
        for task in tasks:
            self._hosts.setdefault(task.host, _Host()).fresh.append(task)
        self._turns = deque(self._hosts)

    def take(self, now: float) -> Task[T] | None:
        """Return the next task whose host is ready, counted as running there."""
        for _ in range(len(self._turns)):
            name = self._turns[0]
            self._turns.rotate(-1)
            host = self._hosts[name]
            if not host.fresh and not host.later:
                self._turns.pop()
            elif host.running < self._per_host and now >= host.paused_until:
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
        """Return when the next host with room is ready; None if nothing waits, or none has room."""
        times = [
            max(host.paused_until, 0.0 if host.fresh else host.later[0][0])
            for host in (self._hosts[name] for name in self._turns)
            if (host.fresh or host.later) and host.running < self._per_host
        ]
        return min(times, default=None)

    def put_back(self, task: Task[T], until: float) -> None:
        """Let the host rest until then, and put the task first in its queue, as if it had not been taken."""
        host = self._hosts[task.host]
        host.running -= 1
        host.paused_until = max(host.paused_until, until)
        host.fresh.appendleft(task)

    def finish(self, task: Task[T], *, asked: bool = True) -> None:
        """Note that the task is done, with any result; ``asked``: whether the host answered as it should."""
        host = self._hosts[task.host]
        host.running -= 1
        if asked:
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
        given_up = self._again(task, error, now)
        if pause > self._longest_pause:
            given_up += self._drop(host, f"the server asks for a pause of {pause:,.0f} s")
        elif host.busy > self._tries:
            given_up += self._drop(host, f"{error.reason} again and again")
        return given_up

    def _pause(self, failures: int) -> float:
        return backoff(failures, self._first_pause, self._longest_pause)

    def _again(self, task: Task[T], error: FetchError, at: float) -> list[tuple[Task[T], str]]:
        """Queue the task for another try, or return it with the reason if no tries are left."""
        if task.tries >= self._tries:
            return [(task, f"{error.reason} ({'1 try' if task.tries == 1 else f'{task.tries} tries'})")]
        self._count += 1
        heapq.heappush(self._hosts[task.host].later, (at, self._count, task))
        if task.host not in self._turns:
            self._turns.append(task.host)
        return []

    def _drop(self, host: _Host[T], reason: str) -> list[tuple[Task[T], str]]:
        left = [*(task for _, _, task in sorted(host.later)), *host.fresh]
        host.later.clear()
        host.fresh.clear()
        return [(task, f"{task.host} is skipped: {reason}") for task in left]
