"""What may be shown and written: no key of a server, and no path that names a user or a machine.

Two rules, each in one place. A key that is read from the environment is passed to `keep_secret`, and `masked`
replaces it in whatever a server returns and in whatever is printed. What is written into runs, reports and
pools passes through `shareable`, which shortens absolute paths, unless the user keeps them.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

KEEP_PATHS = "COUNTERGROUND_KEEP_PATHS"
"""The variable that keeps paths as they are, for this process and those it starts; see ``--keep-paths``."""

_MASK = "***"
SECRET_NAME = re.compile(
    r"KEY(?!WORD)|TOKEN(?!I[ZS])|SECRET(?!AR)|PASSW|CREDENTIAL|SIGNATURE|\bSIG\b|AUTH(?!OR)", re.IGNORECASE
)
"""Names of variables and parameters that hold keys."""

_SHORTEST = 8  # characters of a key: shorter ones, as local servers accept, are words that answers may hold
_secrets: set[str] = set()
_lock = threading.Lock()

T = TypeVar("T")


def keep_secret(value: str | None) -> None:
    """Let `masked` replace a value from now on; one of fewer than 8 characters is not a secret."""
    if value and len(value) >= _SHORTEST:
        with _lock:
            _secrets.update({value, quote(value, safe="")})


def keep_secrets_of(url: str) -> None:
    """Keep secret what a URL may hold: a password, and parameters named like keys."""
    try:
        parts = urlsplit(url)
        given = [value for name, value in parse_qsl(parts.query) if SECRET_NAME.search(name)]
        for value in (parts.password, *given):
            keep_secret(value)
    except ValueError:
        pass  # no URL


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


def keeps_paths() -> bool:
    """Return whether the user wants paths written as they are."""
    return os.environ.get(KEEP_PATHS, "") not in ("", "0")


@contextmanager
def kept_paths(*, keep: bool) -> Iterator[None]:
    """Keep paths as they are within the block, or not, in this process and those it starts."""
    before = os.environ.get(KEEP_PATHS)
    os.environ[KEEP_PATHS] = "1" if keep else "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[KEEP_PATHS]
        else:
            os.environ[KEEP_PATHS] = before


def shareable(value: T, but: Collection[str] = ()) -> T:
    """Return JSON-like data, or a text, as it may be shared: secrets masked, absolute paths shortened.

    A path below the home folder begins with ``~``, as the specification of a model may; any other one is
    shortened to its name. Relative paths, what follows ``#``, addresses up to their query and the keys of
    dictionaries stay as they are.

    Args:
        value: a text, or lists and dictionaries with texts.
        but: keys of the outermost dictionary whose values stay as they are.
    """
    return _shareable(value, but)  # type: ignore[no-any-return]


def _shareable(value: Any, but: Collection[str] = ()) -> Any:
    if isinstance(value, str):
        text = masked(value)
        return text if keeps_paths() else _without_places(text)
    if isinstance(value, dict):
        return {key: item if key in but else _shareable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_shareable(item) for item in value)
    return value


# A path begins a word, or follows what cannot be in a word: not in the middle of an address or a relative
# path, nor after "#", where an address has the name of a model.
_BEFORE = r"(?<![\w.~/\\%#-])"
_PART = r"[^\s/\\'\"`<>|:;,?*#&=()\[\]{}]+"
_PATH = re.compile(rf"{_BEFORE}(?:/|[A-Za-z]:[\\/])(?:{_PART}[\\/])+(?:{_PART})?")
# Without the query and fragment, which may name a file here. A scheme is short: matching a long one is slow.
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]{0,30}://[^\s'\"<>|,;?#=&]*")
_ANYWHERE = "/-/-"


def _without_places(text: str) -> str:
    if "/" not in text and "\\" not in text:
        return text
    text = text.replace("file:///", "/")
    for folder, short in ((Path.home, "~"), (Path.cwd, _ANYWHERE)):  # they may hold spaces
        for place in _spellings(folder):
            text = re.sub(rf"{_BEFORE}{re.escape(place)}(?![\w.-])", short, text)
    pieces, end = [], 0
    for address in _ADDRESS.finditer(text):
        pieces += [_shortened(text[end : address.start()]), address[0]]
        end = address.end()
    return "".join([*pieces, _shortened(text[end:])])


def _shortened(text: str) -> str:
    return _PATH.sub(lambda found: re.split(r"[\\/]", found[0].rstrip("\\/"))[-1], text)


def _spellings(folder: Callable[[], Path]) -> list[str]:
    """Return the path of a folder as written and as resolved, the longest first; empty if it is the root."""
    try:
        place = folder()
    except (RuntimeError, OSError):  # no home, or a folder that was removed
        return []
    spellings = {str(place), os.path.realpath(place)}
    return sorted((each for each in spellings if len(Path(each).parts) > 1), key=len, reverse=True)
