"""Errors a user can mend: one line that names the culprit and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CounterGroundError(Exception):
    """The work failed; the message says what and how to mend it (exit status 1)."""


class UsageError(CounterGroundError):
    """A name or value the user wrote cannot be used (exit status 2)."""


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x', 'y'?`` for the closest of ``known``, or an empty string."""
    lowered = {name.lower(): name for name in known}
    holds_it = [name for name in lowered if wanted.lower() in name.split()]
    similar = difflib.get_close_matches(wanted.lower(), lowered, n=3, cutoff=0.6)
    close = list(dict.fromkeys([*holds_it, *similar]))[:3]
    return f" Did you mean {', '.join(repr(lowered[name]) for name in close)}?" if close else ""


def missing_extra(error: ModuleNotFoundError, extra: str) -> UsageError:
    """Return the error that says which extra of this package installs a module that is missing."""
    return UsageError(f"The package {error.name} is not installed: run pip install 'counterground[{extra}]'.")


def one_line(error: BaseException, length: int = 240) -> str:
    """Return the message of another library's error as a part of a line, without a final stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= length else f"{text[: length - 3]}...").rstrip(".")
