"""Keys are never shown or written.

A key that is read from the environment is passed to `keep_secret`, and `masked` replaces it in whatever a
server returns and in whatever is printed.
"""

from __future__ import annotations

import re
import threading
from urllib.parse import quote, urlsplit, urlunsplit

_MASK = "***"
SECRET_NAME = re.compile(
    r"KEY(?!WORD)|TOKEN(?!I[ZS])|SECRET(?!AR)|PASSW|CREDENTIAL|SIGNATURE|\bSIG\b|AUTH(?!OR)", re.IGNORECASE
)
"""Names of variables and parameters that hold keys."""

_SHORTEST = 8  # characters of a key: shorter ones, as local servers accept, are words that answers may hold
_secrets: set[str] = set()
_lock = threading.Lock()


def keep_secret(value: str | None) -> None:
    """Let `masked` replace a value from now on; one of fewer than 8 characters is not a secret."""
    if value and len(value) >= _SHORTEST:
        with _lock:
            _secrets.update({value, quote(value, safe="")})


def masked(text: str) -> str:
    """Return a text with ``***`` for each secret in it."""
    with _lock:
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
