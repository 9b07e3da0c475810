"""One photo over HTTP: its bytes, or why not and whether asking again may help."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from counterground._version import __version__

_CHUNK = 1 << 16
_PASSING = (408, 425)


@dataclass(frozen=True)
class DownloadSettings:
    """How photos are fetched.

    Attributes:
        jobs: photos fetched at the same time, from all hosts.
        per_host: photos fetched at the same time from one host.
        tries: requests for one photo before it is left for another day.
        first_pause: seconds before the second try, doubled before each further one.
        longest_pause: seconds; a host that asks for more is left for another day.
        timeout: seconds without a byte.
        longest: seconds one photo may take.
        most_bytes: size of the largest photo.
        user_agent: how we introduce ourselves.
    """

    jobs: int = 4
    per_host: int = 2
    tries: int = 4
    first_pause: float = 2.0
    longest_pause: float = 300.0
    timeout: float = 30.0
    longest: float = 300.0
    most_bytes: int = 64 * 1024**2
    user_agent: str = f"counterground/{__version__}"


class Refusal(Exception):  # noqa: N818 - a host refuses; most often that is no error of ours
    """Why a photo did not come.

    Attributes:
        reason: a few words for the report.
        again: asking again may help.
        busy: the whole host wants less to do.
        wait: seconds it asks for, where it said so.
        received: bytes that came all the same.
    """

    def __init__(
        self,
        reason: str,
        *,
        again: bool = False,
        busy: bool = False,
        wait: float | None = None,
        received: int = 0,
    ) -> None:
        super().__init__(reason)
        self.reason, self.again, self.busy, self.wait, self.received = reason, again, busy, wait, received


def fetch(session: Any, url: str, settings: DownloadSettings, stop: threading.Event) -> bytes:
    """Return the body of a photo's address; ``session`` is one of requests, ``stop`` ends it early.

    Raises:
        Refusal: anything but a whole body with status 200.
    """
    import requests
    import urllib3

    received = bytearray()
    try:
        with session.get(url, stream=True, timeout=settings.timeout) as response:
            _check_status(response)
            _read_into(received, response, settings, stop)
    except Refusal as refusal:
        refusal.received = len(received)
        raise
    except ValueError as error:  # how requests says that an address is none
        raise Refusal(f"the address cannot be used ({type(error).__name__})") from error
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
        reason = f"no answer in {settings.timeout:g} s"
        raise Refusal(reason, again=True, received=len(received)) from error
    except requests.exceptions.SSLError as error:
        raise Refusal("its certificate is not accepted", again=True) from error
    except requests.TooManyRedirects as error:
        raise Refusal("redirected in a circle") from error
    except (requests.ConnectionError, urllib3.exceptions.HTTPError, OSError) as error:
        reason = "the connection broke off" if received else _connection_reason(error)
        raise Refusal(reason, again=True, received=len(received)) from error
    return bytes(received)


def _check_status(response: Any) -> None:
    status = int(response.status_code)
    if status == 200:
        return
    wait = retry_after(response.headers.get("Retry-After"))
    # Without a time to wait a 503 may concern this photo alone.
    busy = status == 429 or (status == 503 and wait is not None)
    again = busy or status in _PASSING or status >= 500
    raise Refusal(f"the server answered {status}", again=again, busy=busy, wait=wait)


def _read_into(received: bytearray, response: Any, settings: DownloadSettings, stop: threading.Event) -> None:
    until = time.monotonic() + settings.longest
    # read1 returns what is there: a server that drips bytes cannot hold us longer than `longest`.
    while chunk := response.raw.read1(_CHUNK, decode_content=True):
        received += chunk
        if len(received) > settings.most_bytes:
            raise Refusal(f"larger than {settings.most_bytes / 1024**2:g} MiB")
        if stop.is_set():
            raise Refusal("stopped", again=True)
        if time.monotonic() > until:
            raise Refusal(f"it took more than {settings.longest:g} s", again=True)


def retry_after(value: str | None) -> float | None:
    """Return the seconds a Retry-After header asks for, a number or a date; None where it says neither."""
    if value is None:
        return None
    text = value.strip()
    if text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _connection_reason(error: Exception) -> str:
    text = str(error)
    if "NameResolution" in text or "getaddrinfo" in text:
        return "there is no such host"
    if "refused" in text:
        return "the host refuses connections"
    return "no connection"
