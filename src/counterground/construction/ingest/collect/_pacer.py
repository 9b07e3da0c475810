"""Photos within the budget of bytes."""

from __future__ import annotations

from counterground.construction.ingest.collect._budget import Budget, refuse_long_wait
from counterground.construction.ingest.collect._client import Waiting

# Bytes a photo may have before one of its size was seen; larger than most.
_EXPECTED = {"small": 60_000, "medium": 200_000, "large": 600_000, "original": 4_000_000}


class MediaPacer:
    """Takes room for a photo before it is asked for, and settles what it came to. Used by one thread."""

    def __init__(self, budget: Budget, size: str, waiting: Waiting) -> None:
        self._budget = budget
        self._waiting = waiting
        self._expected = _EXPECTED[size]
        self._taken: dict[str, int] = {}

    def seconds_to_wait(self, url: str) -> float:
        """Return 0 where the photo may be asked for, else the seconds to wait.

        Raises:
            CounterGroundError: the day's budget is spent.
        """
        wait = self._budget.take("bytes", self._expected)
        if wait and self._taken:
            return min(wait, 0.2)  # photos on their way may need less than was taken for them
        refuse_long_wait(wait, "bytes of photos")
        if wait:
            self._waiting(f"waiting {wait:,.0f} s: bytes of photos an hour are limited")
        else:
            self._taken[url] = self._taken.get(url, 0) + self._expected
        return wait

    def received(self, url: str, size: int) -> None:
        """Settle what a photo came to."""
        self._budget.settle("bytes", size - self._taken.pop(url, 0))
        if size:
            # Twice the mean of what comes: the budget must hold for photos larger than the last ones, too.
            self._expected = max(1000, round(0.9 * self._expected + 0.2 * size))

    def give_back(self) -> None:
        """Give back what was taken for photos that turned out to lie in the pool."""
        self._budget.settle("bytes", -sum(self._taken.values()))
        self._taken.clear()
