"""Errors a user can fix: one line that names the cause and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class CounterGroundError(Exception):
    """The work failed; the message says why and how to fix it (exit status 1)."""


class UsageError(CounterGroundError):
    """A name or value the user wrote cannot be used (exit status 2)."""


class MissingExtraError(UsageError):
    """A package of an optional extra is not installed."""


def install_command(extra: str) -> str:
    """Return what installs an extra; nothing of this project is on a package index yet."""
    return f"`pip install '.[{extra}]'` in your clone of CounterGround"


def missing_extra(error: ModuleNotFoundError, extra: str) -> MissingExtraError:
    """Return the error that names a package that is not installed and the extra that installs it."""
    package = (error.name or str(error)).partition(".")[0]
    return MissingExtraError(f"The package {package} is not installed: run {install_command(extra)}.")


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn the failed import of another project's package into `missing_extra`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "counterground":
            raise
        raise missing_extra(error, extra) from error


def error_summary(error: BaseException) -> str:
    """Return the type of an error and its message in one line, without a final full stop."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(".")


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x', 'y'?`` for the closest of ``known``, or an empty string."""
    lowered = {name.lower(): name for name in known}
    contains_it = [name for name in lowered if wanted.lower() in name.split()]
    similar = difflib.get_close_matches(wanted.lower(), lowered, n=3, cutoff=0.6)
    close = list(dict.fromkeys([*contains_it, *similar]))[:3]
    return f" Did you mean {', '.join(repr(lowered[name]) for name in close)}?" if close else ""


def error_message(error: BaseException, length: int = 240) -> str:
    """Return the message of another library's error as a part of a line, without a final stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= length else f"{text[: length - 3]}...").rstrip(".")
