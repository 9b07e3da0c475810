"""Errors a user can fix: one line that names the cause and the remedy."""

from __future__ import annotations

import difflib
import sysconfig
import traceback
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

_PACKAGE = Path(__file__).parent
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_MODELS = {"huggingface_hub", "open_clip", "safetensors", "sklearn", "timm", "torch", "torchvision"}
_LONGEST = 4000  # characters of a message; names from others may have millions


class CounterGroundError(Exception):
    """The work failed; the message says why and how to fix it (exit status 1).

    It is one line. If it is longer than 4000 characters, the middle is left out.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.splitlines())
        if len(line) > _LONGEST:
            line = f"{line[: _LONGEST // 2]} [...] {line[-_LONGEST // 2 :]}"
        super().__init__(line)


class UsageError(CounterGroundError):
    """A name or value the user wrote cannot be used (exit status 2)."""


class MissingExtraError(UsageError):
    """A package of an optional extra is not installed."""


class OtherNamesWarning(UserWarning):
    """The names that compete are not those with which the pairs of the benchmark were chosen."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra."""
    return f"`pip install 'counterground[{extra}]'`"


def missing_extra(error: ModuleNotFoundError, extra: str) -> MissingExtraError:
    """Return the error that names a package that is not installed and the extra that installs it."""
    package = (error.name or str(error)).partition(".")[0]
    return MissingExtraError(f"The package {package} is not installed: run {install_command(extra)}.")


def missing_model_library(error: BaseException) -> MissingExtraError | None:
    """Return the error that names the extra ``models`` if a package of it is what could not be imported."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _MODELS:
        return missing_extra(error, "models")
    return None


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Turn the failed import of another project's package into `missing_extra`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "counterground":
            raise
        raise missing_extra(error, extra) from error


def first_problem(error: ValidationError) -> str:
    """Return where the first problem of a pydantic model is, and what it is, without a final stop."""
    first = error.errors(include_url=False, include_input=False)[0]
    return ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))


def error_summary(error: BaseException, own: Collection[str] = ()) -> str:
    """Return the type, message and place (see `raised_in`) of an error in one line, without a final stop."""
    message = " ".join(str(error).split()).rstrip(".")
    summary = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = raised_in(error, own)
    return f"{summary} ({place})" if place else summary


def raised_in(error: BaseException, own: Collection[str] = ()) -> str:
    """Return file and line of the user's own code that raised an error; empty if none was involved.

    Args:
        error: an error that was caught.
        own: top-level names of installed packages that count as the user's too.
    """
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if file.startswith("<"):  # generated, as the __init__ of a dataclass is
            file = frame.f_globals.get("__file__") or file
        top = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if (top in own and top != __package__) or not is_installed(file):
            place = f"{_short(file)}, line {line}"
    return place


def is_installed(file: str) -> bool:
    """Return whether a file is of Python, an installed package or CounterGround: not the user's own."""
    path = Path(file)
    installed = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    ours = path.is_relative_to(_PACKAGE) or file.startswith("<frozen")
    return installed or ours or any(path.is_relative_to(library) for library in _LIBRARIES)


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def did_you_mean(wanted: object, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x', 'y'?`` for the closest of ``known``, or an empty string."""
    if not isinstance(wanted, str):  # as functions are called from Python
        return ""
    lowered = {name.lower(): name for name in known}
    contains_it = [name for name in lowered if wanted.lower() in name.split()]
    similar = difflib.get_close_matches(wanted.lower(), lowered, n=3, cutoff=0.6)
    close = list(dict.fromkeys([*contains_it, *similar]))[:3]
    return f" Did you mean {', '.join(repr(lowered[name]) for name in close)}?" if close else ""


def error_message(error: BaseException, length: int = 240) -> str:
    """Return the message of another library's error as part of a line, without a final stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= length else f"{text[: length - 3]}...").rstrip(".")


def database_problem(error: BaseException | None) -> str | None:
    """Return what is wrong with a database and the remedy, in two sentences; None for other errors."""
    import sqlite3

    restore, free = "Restore the file from a backup", "Free some space"
    remedies = {
        sqlite3.SQLITE_FULL: ("the disk is full", f"{free}; nothing that was decided is lost"),
        sqlite3.SQLITE_READONLY: ("it cannot be written", "Make the folder writable, or copy it"),
        sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "Make the folder readable and writable"),
        sqlite3.SQLITE_PERM: ("permission to open it is denied", "Make the folder readable and writable"),
        sqlite3.SQLITE_BUSY: (
            "another program has kept it locked for a long time",
            "Close that program and try again",
        ),
        sqlite3.SQLITE_IOERR: ("the disk fails or is full", f"{free} or move the folder to another disk"),
        sqlite3.SQLITE_NOTADB: ("it is damaged", restore),
        sqlite3.SQLITE_CORRUPT: ("it is damaged", restore),
    }
    found = remedies.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    return found and "{}. {}.".format(*found)
