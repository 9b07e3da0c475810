"""Whether the network may be used: ``--offline``, anywhere in a command, forbids it."""

from __future__ import annotations

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit, urlunsplit

from counterground.errors import CounterGroundError

OFFLINE = "COUNTERGROUND_OFFLINE"
"""The variable that forbids it, for this process and those that it starts."""

_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
# The variables of other libraries for the same purpose; huggingface_hub and datasets read them when imported.
_OTHERS = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")

# Calls in several threads end in any order: the first one notes what the last one restores.
_lock = threading.Lock()
_calls: Counter[str] = Counter()
_before: dict[str, str | None] = {}


def is_offline() -> bool:
    """Return whether the network must not be used."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def is_local(url: str) -> bool:
    """Return whether an address is this machine's own, which is not the network."""
    try:
        return urlsplit(url).hostname in _HERE
    except ValueError:
        return False


def check_online(what: str) -> None:
    """Refuse what needs the network if it must not be used.

    Raises:
        CounterGroundError: ``--offline`` is set.
    """
    if is_offline():
        raise CounterGroundError(f"{what} needs the network, and --offline forbids it.")


@contextmanager
def offline(*, forbid: bool = True, libraries: bool = False) -> Iterator[None]:
    """Forbid the network within the block, to all threads of this process and the processes it starts.

    Args:
        forbid: False: change nothing.
        libraries: also tell those of Hugging Face. Libraries imported meanwhile stay offline.
    """
    names = ((OFFLINE,) if forbid else ()) + (_OTHERS if forbid and libraries else ())
    with _lock:
        for name in names:
            if not _calls[name]:
                _before[name] = os.environ.get(name)
            _calls[name] += 1
            os.environ[name] = "1"
    try:
        yield
    finally:
        with _lock:
            for name in names:
                _calls[name] -= 1
                if not _calls[name]:
                    _restore(name, _before.pop(name))


def _restore(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value


_MASK = "***"
SECRET_NAME = re.compile(
    r"KEY(?!WORD)|TOKEN(?!I[ZS])|SECRET(?!AR)|PASSW|CREDENTIAL|SIGNATURE|\bSIG\b|AUTH(?!OR)", re.IGNORECASE
)
"""Names of variables and parameters that hold keys."""

_SHORTEST = 8  # characters of a key: shorter ones, as local servers accept, are words that answers may hold
_secrets: set[str] = set()
_secrets_lock = threading.Lock()


def keep_secret(value: str | None) -> None:
    """Let `masked` replace a value from now on; one of fewer than 8 characters is not a secret."""
    if value and len(value) >= _SHORTEST:
        with _secrets_lock:
            _secrets.update({value, quote(value, safe="")})


def masked(text: str) -> str:
    """Return a text with ``***`` for each secret in it."""
    with _secrets_lock:
        known = sorted(_secrets, key=len, reverse=True)
    for secret in known:
        text = text.replace(secret, _MASK)
    return text


def without_query(url: str) -> str:
    """Return a URL without what may be secret: names, passwords, and what follows the path."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
