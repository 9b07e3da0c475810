"""Whose turn it is: no host is asked more than it can bear, and none holds up the others.

Nothing here sleeps or reads a clock: the time is an argument, in seconds.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from counterground.build.download._fetch import DownloadSettings, Refusal

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
