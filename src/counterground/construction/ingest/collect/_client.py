"""The part of the iNaturalist API that collecting needs, through pyinaturalist's session.

The library hard-codes the API's address in its functions, so only its session is used (cache, timeouts,
checks of the JSON), with addresses of our own.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any, NamedTuple
from urllib.parse import urlencode

import requests
import urllib3
from pyinaturalist.session import ClientSession
from pyrate_limiter import MemoryListBucket
from requests.adapters import HTTPAdapter

from counterground._version import __version__
from counterground.construction.ingest.collect._budget import Budget, refuse_long_wait
from counterground.construction.ingest.collect._options import API_URL, CollectOptions
from counterground.construction.ingest.collect._taxa import Taxon
from counterground.construction.ingest.download import retry_after
from counterground.errors import CounterGroundError
from counterground.files import cache_dir, check_writable

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


PER_PAGE = 200
_FOUND_PER_NAME = 30
_BUSY_MS = 30_000
_NO_LIMIT = 10**9  # the session wants a rate; ours is kept by the adapter, across processes


class Page(NamedTuple):
    """Some observations, as the API describes them, and how many the query has in all."""

    total: int
    observations: list[dict[str, Any]]


class INaturalist:
    """Taxa, places and observations at one address; answers are cached on this machine for a while.

    Every method raises ``CounterGroundError`` where the server cannot be reached, refuses, or is no such API.
    """

    def __init__(self, options: CollectOptions, budget: Budget, waiting: Waiting) -> None:
        self._address = options.address
        with _clear_errors(self._address):
            self._session = _session(options)
        adapter = PoliteAdapter(budget, first_pause=options.first_pause, waiting=waiting)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def close(self) -> None:
        """Close connections and the cache."""
        self._session.close()

    def taxon(self, number: int) -> Taxon | None:
        """Return the taxon of an id, active or not; None where there is none."""
        results = self._results(f"taxa/{number}", {}, missing=True)
        return Taxon.from_json(results[0]) if results else None

    def search(self, name: str) -> list[Taxon]:
        """Return active taxa that a name finds, best first, as iNaturalist orders them."""
        asked = {"q": name, "is_active": "true", "per_page": _FOUND_PER_NAME}
        return [Taxon.from_json(row) for row in self._results("taxa", asked)]

    def places(self, name: str) -> list[dict[str, Any]]:
        """Return the places whose name begins so."""
        return self._results("places/autocomplete", {"q": name, "per_page": _FOUND_PER_NAME})

    def observations(self, query: Mapping[str, Any], below: int | None, per_page: int = PER_PAGE) -> Page:
        """Return a page of observations, newest first, with ids below ``below``.

        Pages go by id: page numbers end at 10,000 observations, and shift while new ones come in.
        """
        asked = {**query, "order_by": "id", "order": "desc", "per_page": per_page}
        answer = self._get("observations", asked | ({"id_below": below} if below is not None else {}))
        return Page(int(answer.get("total_results") or 0), answer["results"])

    def _results(self, path: str, asked: Mapping[str, Any], *, missing: bool = False) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = self._get(path, asked, missing=missing)["results"]
        return results

    def _get(self, path: str, asked: Mapping[str, Any], *, missing: bool = False) -> dict[str, Any]:
        url = f"{self._address}/{path}" + (f"?{urlencode(asked)}" if asked else "")
        with _clear_errors(self._address):
            response = self._session.request("GET", url, raise_for_status=False, allow_redirects=True)
            if missing and response.status_code in (404, 422):
                return {"results": []}
            if response.status_code != 200:
                raise CounterGroundError(self._refused(response))
            answer = response.json()
        if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
            raise CounterGroundError(f"{self._address} does not answer as the API of iNaturalist does.")
        return answer

    def _refused(self, response: requests.Response) -> str:
        said = f"{self._address} answered {response.status_code}"
        with suppress(ValueError, KeyError, TypeError):
            said += f" ({str(response.json()['error'])[:100]})"
        if response.status_code == 404 and self._address != API_URL:
            return f"{said}: is that the address of the API? It ends in /v1."
        if response.status_code in (429, *range(500, 600)):
            return f"{said} again and again. What came is kept: run the same command again later."
        return f"{said}."


def _session(options: CollectOptions) -> Any:
    folder = cache_dir() / "inaturalist"
    check_writable(folder)
    session = ClientSession(
        cache_file=folder / "responses.sqlite",
        per_second=0,
        per_minute=0,
        per_day=_NO_LIMIT,
        burst=1,
        bucket_class=MemoryListBucket,
        ratelimit_path=None,
        lock_path=None,
        limit_statuses=(),
        filter_fn=_is_json,
        serializer="json",  # the default is pickle, and a cache folder may come from anywhere
        timeout=READ_TIMEOUT,
        busy_timeout=_BUSY_MS,
    )
    # An old page in place of an error would end a listing early and in silence.
    session.settings.stale_if_error = False
    session.cache.delete(expired=True)
    session.headers["User-Agent"] = f"{user_agent(options)} pyinaturalist/{version('pyinaturalist')}"
    return session


def _is_json(response: requests.Response) -> bool:
    """Tell what may be cached: a page that a network puts in place of an answer may not."""
    return str(response.headers.get("Content-Type", "")).startswith("application/json")


@contextmanager
def _clear_errors(address: str) -> Iterator[None]:
    try:
        yield
    except (requests.JSONDecodeError, urllib3.exceptions.MaxRetryError) as error:
        raise CounterGroundError(
            f"{address} sends pages or broken answers in place of JSON: is that the address of the API, "
            "and does this network let you out?"
        ) from error
    except requests.RequestException as error:
        raise CounterGroundError(
            f"{address} cannot be reached ({_short(error)}). What came is kept: "
            "run the same command again when the connection is back."
        ) from error
    except sqlite3.Error as error:
        folder = cache_dir() / "inaturalist"
        raise CounterGroundError(
            f"The cache of answers in {folder} cannot be used ({error}): free some space, or delete it."
        ) from error


def _short(error: requests.RequestException) -> str:
    text = str(error)
    if "NameResolution" in text or "getaddrinfo" in text:
        return "there is no such host"
    if "refused" in text:
        return "it refuses connections"
    return "no answer in time" if isinstance(error, requests.Timeout) else type(error).__name__
