"""Errors a user can mend: one line that names the culprit and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class CounterGroundError(Exception):
    """The work failed; the message says what and how to mend it (exit status 1)."""


class UsageError(CounterGroundError):
    """A name or value the user wrote cannot be used (exit status 2)."""


def missing_extra(error: ModuleNotFoundError, extra: str) -> UsageError:
    """Return the error that names a package that is not installed and the extra that brings it."""
    return UsageError(
        f"This needs the package {error.name}, which is not installed: "
        f"run `pip install 'counterground[{extra}]'`."
    )


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn the failed import of a package of others into ``missing_extra``."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "counterground":
            raise
        raise missing_extra(error, extra) from error


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x', 'y'?`` for the closest of ``known``, or an empty string."""
    lowered = {name.lower(): name for name in known}
    holds_it = [name for name in lowered if wanted.lower() in name.split()]
    similar = difflib.get_close_matches(wanted.lower(), lowered, n=3, cutoff=0.6)
    close = list(dict.fromkeys([*holds_it, *similar]))[:3]
    return f" Did you mean {', '.join(repr(lowered[name]) for name in close)}?" if close else ""
