"""Errors a user can fix: one line that names the cause and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CounterGroundError(Exception):
    """The work failed; the message says why and how to fix it (exit status 1)."""


class UsageError(CounterGroundError):
    """A name or value the user wrote cannot be used (exit status 2)."""


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x', 'y'?`` for the closest of ``known``, or an empty string."""
    lowered = {name.lower(): name for name in known}
    contains_it = [name for name in lowered if wanted.lower() in name.split()]
    similar = difflib.get_close_matches(wanted.lower(), lowered, n=3, cutoff=0.6)
    close = list(dict.fromkeys([*contains_it, *similar]))[:3]
    return f" Did you mean {', '.join(repr(lowered[name]) for name in close)}?" if close else ""
