"""Errors a user can mend: one line that names the culprit and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CounterGroundError(Exception):
    """The work failed; the message says what and how to mend it (exit status 1)."""


class UsageError(CounterGroundError):
    """A name or value the user wrote cannot be used (exit status 2)."""


class MissingExtraError(UsageError):
    """A package of an optional extra is not installed."""


def missing_extra(error: ModuleNotFoundError, extra: str) -> MissingExtraError:
    """Return the line that says which package is missing and which extra of this one brings it."""
    package = (error.name or str(error)).partition(".")[0]
    return MissingExtraError(f"{package} is not installed: run `pip install 'counterground[{extra}]'`.")


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x', 'y'?`` for the closest of ``known``, or an empty string."""
    lowered = {name.lower(): name for name in known}
    holds_it = [name for name in lowered if wanted.lower() in name.split()]
    similar = difflib.get_close_matches(wanted.lower(), lowered, n=3, cutoff=0.6)
    close = list(dict.fromkeys([*holds_it, *similar]))[:3]
    return f" Did you mean {', '.join(repr(lowered[name]) for name in close)}?" if close else ""
