"""HTTP as iNaturalist asks for it: within the budget, patient with a busy server, and with a name.

One adapter does it for http and https, below the response cache, so that every request that leaves this
machine is counted, a second try included. The library's own retries (https only, not for 429, not counted)
are left unused.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from counterground._version import __version__
from counterground.build.collect._budget import Budget, refuse_long_wait
from counterground.build.collect._options import CollectOptions
from counterground.build.download import retry_after
from counterground.errors import CounterGroundError

READ_TIMEOUT = 60  # seconds; the library gives connecting 5
_TRIES = 6
_LONGEST_PAUSE = 120.0
_LONGEST_RETRY_AFTER = 900.0
_PASSING = (429, 500, 502, 503, 504)

Waiting = Callable[[str], None]
"""Told why there is a pause, for the person at the screen."""


class PoliteAdapter(HTTPAdapter):
    """Sends a request when the budget allows it, and again when the server was busy or broken.

    The last answer is returned as it is, the last broken connection is raised as requests raises it.
    """

    def __init__(self, budget: Budget, *, first_pause: float, waiting: Waiting) -> None:
        super().__init__(max_retries=0)
        self._budget = budget
        self._first_pause = first_pause
        self._waiting = waiting

    def send(self, request: requests.PreparedRequest, *arguments: Any, **named: Any) -> requests.Response:
        """Send ``request``.

        Raises:
            CounterGroundError: the day's budget is spent, or the server wants to be left in peace for long.
        """
        for tries in range(1, _TRIES + 1):
            self._wait_for_budget()
            try:
                response: requests.Response = super().send(request, *arguments, **named)
                if not named.get("stream"):
                    _ = response.content  # a body that breaks off is a reason to ask again, too
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                if tries == _TRIES:
                    raise
                self._pause(tries, None, f"no answer ({type(error).__name__})")
                continue
            if response.status_code not in _PASSING or tries == _TRIES:
                return response
            wait = retry_after(response.headers.get("Retry-After"))
            response.close()
            self._pause(tries, wait, f"the server answered {response.status_code}")
        raise AssertionError("the last try returns or raises")

    def _wait_for_budget(self) -> None:
        while wait := self._budget.take("requests", 1):
            refuse_long_wait(wait, "requests")
            if wait > 5:
                self._waiting(f"waiting {wait:,.0f} s: requests a minute are limited")
            time.sleep(min(wait, 5.0))

    def _pause(self, tries: int, wanted: float | None, why: str) -> None:
        if wanted is not None and wanted > _LONGEST_RETRY_AFTER:
            raise CounterGroundError(
                f"The server asks to be left alone for {wanted / 60:,.0f} minutes. What came is kept: "
                "run the same command again after that."
            )
        backoff = min(self._first_pause * 2 ** (tries - 1), _LONGEST_PAUSE)
        # Jitter keeps those who were refused together from coming back together.
        pause = max(wanted or 0.0, backoff * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
        self._waiting(f"{why}: waiting {pause:,.0f} s")
        time.sleep(pause)


def user_agent(options: CollectOptions) -> str:
    """Return how we introduce ourselves, with whom to write to where one was named."""
    contact = (options.contact or os.environ.get("COUNTERGROUND_CONTACT") or "").strip()
    return f"counterground/{__version__}" + (f" (+{contact})" if contact else "")
