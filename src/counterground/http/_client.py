"""Polite requests: who sends them, how long one may take, how much is read, and when to retry."""

from __future__ import annotations

import queue
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from counterground._version import __version__
from counterground.errors import CounterGroundError
from counterground.files import atomic_path
from counterground.http._budget import Budget, Waiting, refuse_long_wait
from counterground.http._offline import check_online, is_local, masked, without_query

if TYPE_CHECKING:
    import requests

T = TypeVar("T")

_CHUNK = 1 << 16
_CONNECT_TIMEOUT = 10.0
_MOST_REDIRECTS = 5
_MOST_OF_A_REFUSAL = 1 << 16

TRANSIENT = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Statuses that may change on a retry: too early, too many requests, or a server error."""

_TRIES = 6
_LONGEST_PAUSE = 120.0
_LONGEST_RETRY_AFTER = 900.0
_LONGEST_STATED = 365 * 86400.0  # cap on a pause that a server states: it may write any number


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request.

    Attributes:
        timeout: seconds without a byte.
        longest: seconds in total.
        most_bytes: size of the decompressed body.
    """

    timeout: float = 30.0
    longest: float = 300.0
    most_bytes: int = 64 * 1024**2


@dataclass(frozen=True)
class Answer:
    """A complete answer with status 200; the names in ``headers`` are case-insensitive."""

    headers: Mapping[str, str]
    body: bytes


class FetchError(Exception):
    """Why there is no answer.

    Attributes:
        reason: a few words for a report.
        again: whether a retry may help.
        busy: whether the whole host wants fewer requests.
        wait: seconds that the host asks to wait, if it does.
        status: status of the answer; None if there was none.
        excerpt: beginning of the body of a refusal.
        received: bytes of the body that were read anyway.
    """

    def __init__(
        self,
        reason: str,
        *,
        again: bool = False,
        busy: bool = False,
        wait: float | None = None,
        status: int | None = None,
        excerpt: bytes = b"",
        received: int = 0,
    ) -> None:
        super().__init__(reason)
        self.reason, self.again, self.busy, self.wait = reason, again, busy, wait
        self.status, self.excerpt, self.received = status, excerpt, received


def user_agent(contact: str | None = None) -> str:
    """Return our User-Agent; ``contact`` says how to reach whoever is responsible."""
    return f"counterground/{__version__}" + (f" (+{contact})" if contact else "")


class Client:
    """Send each request once, within ``limits``. Safe in threads: each keeps its own connections open."""

    def __init__(self, agent: str, limits: RequestLimits | None = None) -> None:
        self._agent = agent
        self._limits = limits or RequestLimits()
        self._thread = threading.local()
        self._sessions: list[requests.Session] = []

    def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        follow: bool = True,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        stop: threading.Event | None = None,
    ) -> Answer:
        """Return the answer from an address.

        Args:
            url: the address.
            method: "GET", "HEAD" or "POST".
            follow: whether to follow redirects, a few at most.
            data: what is sent with the request.
            headers: further headers.
            stop: event that ends reading once it is set.

        Raises:
            FetchError: anything but a complete answer with status 200.
            CounterGroundError: ``--offline``, and the address is on another machine.
        """
        body = bytearray()
        # HEAD asks for the size of the file itself, not of a compressed copy.
        more = {"Accept-Encoding": "identity"} if method == "HEAD" else dict(headers or {})
        with self._answer(url, stop, follow=follow, method=method, data=data, headers=more) as (
            response,
            chunks,
        ):
            for chunk in chunks:
                body += chunk
            return Answer(response.headers, bytes(body))

    def save(self, url: str, path: Path, *, stop: threading.Event | None = None) -> int:
        """Write the body of an address to a file, in chunks, and return the number of bytes received.

        Raises:
            FetchError: as for ``fetch``; there is no file then.
            CounterGroundError: the file cannot be written, or ``--offline``.
        """
        came = 0
        # Errors of the file are told from those of the connection, which are of the same kind.
        with (
            atomic_path(path) as draft,
            draft.open("wb") as file,
            self._answer(url, stop, method="GET", headers={"Accept-Encoding": "identity"}) as (_, chunks),
        ):
            for chunk in chunks:
                try:
                    came += file.write(chunk)
                except OSError as error:
                    raise CounterGroundError(f"Cannot write {path}: {error.strerror or error}.") from error
        return came

    @contextmanager
    def _answer(
        self, url: str, stop: threading.Event | None, *, follow: bool = True, **sent: Any
    ) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
        """Yield an answer and the chunks of its body, which can be read as long as the limits allow."""
        import requests
        import urllib3

        body, ends = _Body(self._limits.most_bytes, stop), time.monotonic() + self._limits.longest
        passed = threading.Event()
        try:
            with self._open(url, ends, sent, follow=follow) as response, _shut_down(response, ends, passed):
                self._check_status(response)
                yield response, body.chunks(response)
        except FetchError as error:
            error.received = body.received
            if not passed.is_set():
                raise
        except ValueError as error:  # how requests says that an address cannot be used
            raise FetchError(f"the address cannot be used ({type(error).__name__})") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if not passed.is_set():
                reason = "the connection broke off" if body.received else self._reason(error)
                raise FetchError(reason, again=True, received=body.received) from error
        if passed.is_set():
            raise self._late(body.received)

    def _late(self, received: int = 0) -> FetchError:
        return FetchError(f"it took more than {self._limits.longest:g} s", again=True, received=received)

    def close(self) -> None:
        """Close the connections of all threads."""
        for session in self._sessions:
            session.close()

    def _session(self) -> requests.Session:
        import requests

        if not hasattr(self._thread, "session"):
            session = self._thread.session = requests.Session()
            session.headers["User-Agent"] = self._agent
            session.auth = lambda request: request  # else a .netrc would replace the key of a request
            # To follow a redirect, requests would read its whole body, however long.
            setattr(session, "get_redirect_target", lambda _: None)  # noqa: B010 - mypy forbids assigning it
            self._sessions.append(session)
        found: requests.Session = self._thread.session
        return found

    def _open(self, url: str, ends: float, sent: dict[str, Any], *, follow: bool) -> requests.Response:
        """Send the request, and follow redirects without reading their bodies."""
        for _ in range(1 + _MOST_REDIRECTS):
            if not is_local(url):
                check_online(f"Fetching {without_query(url)}")
            response = self._begin(url, ends, sent)
            if not (follow and response.is_redirect):
                return response
            response.close()
            url = _redirected(url, response.headers["Location"])
        raise FetchError("too many redirects")

    def _begin(self, url: str, ends: float, sent: dict[str, Any]) -> requests.Response:
        """Return an answer whose headers have come; a server that drips them is left at the deadline."""
        session, came = self._session(), queue.SimpleQueue[Any]()

        def ask() -> None:
            try:
                response = session.request(
                    url=url,
                    **sent,
                    stream=True,
                    timeout=(min(_CONNECT_TIMEOUT, self._limits.timeout), self._limits.timeout),
                    # A request to this machine goes to no proxy, which may be another one.
                    proxies={"no_proxy": str(urlsplit(url).hostname)} if is_local(url) else None,
                )
            except Exception as error:  # raised in the thread that waits
                came.put(error)
            else:
                came.put(response)

        threading.Thread(target=ask, daemon=True).start()
        try:
            found = came.get(timeout=max(0.0, ends - time.monotonic()))
        except queue.Empty:
            del self._thread.session  # the other thread still uses it
            raise self._late() from None
        if isinstance(found, Exception):
            raise found
        response: requests.Response = found
        return response

    def _check_status(self, response: requests.Response) -> None:
        import urllib3

        status = response.status_code
        if status == 200:
            return
        reason = f"the server answered {status}"
        if response.is_redirect:
            reason += f", a redirect to {masked(without_query(response.headers['Location']))[:200]}"
        wait = retry_after(response.headers.get("Retry-After"))
        # Without a time to wait, a 503 may concern this address alone.
        busy = status == 429 or (status == 503 and wait is not None)
        excerpt = b""
        with suppress(urllib3.exceptions.HTTPError, OSError):
            excerpt = response.raw.read(_MOST_OF_A_REFUSAL, decode_content=True)
        raise FetchError(
            reason, again=status in TRANSIENT, busy=busy, wait=wait, status=status, excerpt=excerpt
        )

    def _reason(self, error: BaseException) -> str:
        import requests
        import urllib3

        if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
            return f"no answer in {self._limits.timeout:g} s"
        while cause := error.__cause__ or error.__context__:
            error = cause
        return f"no connection ({type(error).__name__})"


@contextmanager
def _shut_down(response: requests.Response, ends: float, passed: threading.Event) -> Iterator[None]:
    """End reads of a body at the deadline: a time-out is per read, so a server that drips would hold us."""

    def end() -> None:
        passed.set()
        with suppress(ValueError, OSError):  # the server may have closed it a moment before
            response.raw.shutdown()

    timer = threading.Timer(max(0.0, ends - time.monotonic()), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _redirected(url: str, location: str) -> str:
    """Return where a redirect leads.

    Raises:
        FetchError: it leads out of TLS, where anybody could read and change the answer, or to this machine.
    """
    target = urljoin(url, location)
    if url.lower().startswith("https:") and target.lower().startswith("http:"):
        raise FetchError("a redirect from https to http, which is not followed")
    if is_local(target) and not is_local(url):
        raise FetchError("a redirect to this machine, which is not followed")
    return target


class _Body:
    """The body of an answer in chunks, at most ``most`` bytes."""

    def __init__(self, most: int, stop: threading.Event | None) -> None:
        self.received = 0
        self._most, self._stop = most, stop

    def chunks(self, response: requests.Response) -> Iterator[bytes]:
        """Yield the chunks.

        Raises:
            FetchError: it is too large, or ``stop`` was set.
        """
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            self.received += len(chunk)
            if self.received > self._most:
                raise FetchError(f"it is larger than {self._most / 1024**2:g} MiB")
            if self._stop is not None and self._stop.is_set():
                raise FetchError("stopped", again=True)
            yield chunk


class PatientClient:
    """Send requests when a budget allows it, and retry when the server was busy or failed.

    Args:
        client: client that sends each request once.
        budget: budget whose ``requests`` count every try.
        first_pause: seconds before the second try, doubled before each further one.
        waiting: called with the reason for each pause.
    """

    def __init__(self, client: Client, budget: Budget, *, first_pause: float, waiting: Waiting) -> None:
        self._client = client
        self._budget = budget
        self._first_pause = first_pause
        self._waiting = waiting

    def fetch(self, url: str, read: Callable[[Answer], T], *, method: str = "GET", follow: bool = True) -> T:
        """Return the result of ``read`` on the answer; ``read`` may also raise ``FetchError``.

        Raises:
            FetchError: a retry does not help, or has not helped.
            CounterGroundError: the daily budget is spent, or the server asks for a long pause.
        """
        for tried in range(1, _TRIES + 1):
            asked_at = self._wait_for_budget()
            try:
                try:
                    answer = self._client.fetch(url, method=method, follow=follow)
                finally:
                    self._budget.arrived("requests", asked_at)
                return read(answer)
            except FetchError as error:
                if not error.again or tried == _TRIES:
                    raise
                if error.wait is not None and error.wait > _LONGEST_RETRY_AFTER:
                    raise CounterGroundError(
                        f"The server asks for a pause of {error.wait / 60:,.0f} minutes. What was fetched is "
                        "kept: run the same command again after that."
                    ) from error
                pause = retry_pause(tried, self._first_pause, _LONGEST_PAUSE, error.wait)
                self._waiting(f"{error.reason}: waiting {pause:,.0f} s")
                time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _wait_for_budget(self) -> float:
        while wait := self._budget.take("requests", 1):
            refuse_long_wait(wait, "requests")
            if wait > 5:
                self._waiting(f"waiting {wait:,.0f} s: requests per minute are limited")
            time.sleep(min(wait, 5.0))
        return self._budget.taken_at


def backoff(failures: int, first: float, longest: float) -> float:
    """Return the seconds to wait after this many failures in a row: ``first``, then doubled each time."""
    return float(min(first * 2.0 ** (failures - 1), longest))


def retry_pause(failures: int, first: float, longest: float, requested: float | None) -> float:
    """Return the seconds to wait before a retry: ``backoff``, or what the server requests if longer."""
    # Jitter keeps clients that were refused together from coming back together.
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
    return max(requested or 0.0, jitter * backoff(failures, first, longest))


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header (number or date) asks for; None if it is neither."""
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return min(float(text), _LONGEST_STATED)
    try:
        date = parsedate_to_datetime(text)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None
