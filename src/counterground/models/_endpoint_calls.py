"""One call to a chat endpoint: time limits, retries with growing waits, and answers that are none."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError

if TYPE_CHECKING:
    from email.message import Message

FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_LARGEST_ANSWER = 4 * 2**20
# Too early, too many, or a fault of the server's: the same call may succeed later.
_PASSING = {408, 409, 425, 429, *range(500, 600)}
_KEPT = "Answers so far are kept; the same command goes on from there"


class _Passing(Exception):  # noqa: N818 - a reason to try again, not an error yet
    """The call failed in a way that may pass; ``wait`` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        """A redirected call would carry the key to another host."""


class Caller:
    """Posts chat requests to one address; safe to use from several threads.

    Args:
        spec: names the model in messages.
        url: the address of chat completions.
        key: sent as a bearer token; never part of a message.
        timeout: seconds for one call in all.
        retries: how often a call that failed in a passing way is repeated.
    """

    def __init__(self, spec: str, url: str, *, key: str | None, timeout: float, retries: int) -> None:
        self._spec, self._url, self._timeout, self._retries = spec, url, timeout, retries
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._stopped = threading.Event()

    def ask(self, body: dict[str, Any]) -> str:
        """Return the text of the answer.

        Raises:
            CounterGroundError: the server refuses the call, or keeps failing.
        """
        data = json.dumps(body).encode()
        for attempt in range(self._retries + 1):
            if self._stopped.is_set():
                break
            try:
                return _text(self._post(data))
            except _Passing as error:
                reason = str(error)
                if attempt < self._retries:
                    self._stopped.wait(error.wait if error.wait is not None else _backoff(attempt))
        if self._stopped.is_set():
            raise CounterGroundError(f"{self._spec}: stopped. {_KEPT}.")
        raise CounterGroundError(
            f"{self._spec}: {reason}, {self._retries + 1} times in a row. {_KEPT}, or raise retries=."
        )

    def stop(self) -> None:
        """Let calls that wait for another attempt give up."""
        self._stopped.set()

    def _post(self, data: bytes) -> bytes:
        request = urllib.request.Request(self._url, data=data, headers=self._headers, method="POST")  # noqa: S310 - the scheme is http or https
        deadline = time.monotonic() + self._timeout
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return _read(response, deadline)
        except urllib.error.HTTPError as error:
            with error:
                said = _excerpt(_read_quietly(error, deadline))
            if error.code in _PASSING:
                raise _Passing(f"the server said {error.code}{said}", _asked_wait(error.headers)) from error
            raise CounterGroundError(self._refused(error.code, said, error.headers)) from error
        except TimeoutError as error:
            raise _Passing(f"no answer within {self._timeout:g} s") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _Passing(f"no answer within {self._timeout:g} s") from error
            raise _Passing(f"it cannot be reached ({error.reason})") from error
        except (OSError, http.client.HTTPException) as error:
            raise _Passing(f"the connection broke ({type(error).__name__})") from error

    def _refused(self, code: int, said: str, headers: Message) -> str:
        remedy = {
            401: " Set COUNTERGROUND_API_KEY.",
            403: " Check COUNTERGROUND_API_KEY and what it may use.",
            404: " Check the address and the model's name.",
        }.get(code, "")
        if 300 <= code < 400:
            remedy = f" It points to {headers.get('Location')}; give that address if you trust it."
        return f"{self._spec}: the server refused with {code}{said}.{remedy} {_KEPT}."


def _read(response: Any, deadline: float) -> bytes:
    """Read a body; a server that trickles it must not hold the call beyond its time."""
    parts: list[bytes] = []
    size = 0
    while part := response.read1(65536):
        parts.append(part)
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise _Passing(f"an answer of more than {_LARGEST_ANSWER} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


def _read_quietly(response: Any, deadline: float) -> bytes:
    try:
        return _read(response, deadline)
    except (OSError, http.client.HTTPException, _Passing):
        return b""


def _text(body: bytes) -> str:
    """Return the words in a chat completion; a body that holds none may be a passing fault."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise _Passing(f"an answer that is no chat completion{_excerpt(body)}") from error
    if isinstance(content, list):  # some servers answer in parts
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise _Passing(f"a chat completion without text{_excerpt(body)}")
    return content.strip()


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:400].decode("utf-8", errors="replace").split())
    return f" ({text[:160]})" if text else ""


def _asked_wait(headers: Message) -> float | None:
    asked = headers.get("Retry-After", "")
    return min(float(asked), _LONGEST_WAIT) if asked.replace(".", "", 1).isdigit() else None


def _backoff(attempt: int) -> float:
    return min(_LONGEST_WAIT, FIRST_WAIT * 2.0**attempt) * (0.5 + random.random() / 2)  # noqa: S311 - spread, not secrecy
