"""A folder that appears complete or not at all, and replaces only an earlier export."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import write_text
from counterground.photos import EXPORT_FILE
from counterground.reading import read_json

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STALE_SECONDS = 6 * 3600  # where folders cannot be locked
_NO_LOCK = -1
_MARK = "counterground_export"


def write_mark(folder: Path, record: dict[str, Any]) -> None:
    """Write ``export.json``: the record, and what lies at the top of a folder that may be replaced."""
    entries = sorted([*(entry.name for entry in folder.iterdir()), EXPORT_FILE])
    content = {_MARK: 1, **record, "entries": entries}
    write_text(folder / EXPORT_FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_mark(folder: Path) -> dict[str, Any] | None:
    """Return what ``write_mark`` wrote; None for a folder that is no export."""
    try:
        mark = read_json(folder / EXPORT_FILE)
        return mark if _MARK in mark and set(mark["entries"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a draft beside ``out`` that takes its place at the end; a failure leaves ``out`` as it was.

    A killed process leaves a hidden draft, which the next export to ``out`` removes. Given up: nothing is
    fsynced; after a power cut the hashes in the export tell what is damaged.

    Raises:
        UsageError: ``out`` is a file, or a folder that holds anything but an earlier export.
        CounterGroundError: it cannot be written.
    """
    check_replaceable(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _sweep(out)
        with _draft(out) as draft:
            yield draft
            draft.chmod(0o755)
            _swap(draft, out)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error).splitlines()[0]
        raise CounterGroundError(
            f"Cannot write {out}: {reason}. Free some space there or choose another folder."
        ) from error


def check_replaceable(out: Path) -> None:
    """Refuse what an export must not replace.

    Raises:
        UsageError: ``out`` is a file, or a folder that holds anything but an earlier export.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is a file: choose a folder.")
    found = {entry.name for entry in out.iterdir()}
    if not found:
        return
    mark = read_mark(out)
    if mark is None:
        raise UsageError(f"{out} holds files that are not an export: choose an empty or a new folder.")
    if extra := sorted(found - set(mark["entries"])):
        raise UsageError(
            f"{out} holds {extra[0]!r} beside an earlier export: move it elsewhere, or choose another folder."
        )


def _prefix(out: Path) -> str:
    return f".{out.name}.export-"


@contextmanager
def _draft(out: Path) -> Iterator[Path]:
    """Yield a fresh folder beside ``out``, locked as long as this process lives."""
    lock = None
    while lock is None:  # a sweep may take the folder away before it is locked
        draft = Path(tempfile.mkdtemp(prefix=_prefix(out), dir=out.parent))
        lock = _lock(draft)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if lock != _NO_LOCK:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Return the handle of a lock; ``_NO_LOCK`` where there are none, None where another has it."""
    if fcntl is None:
        return _NO_LOCK
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        os.close(handle)
        return _NO_LOCK
    if not folder.exists():
        os.close(handle)
        return None
    return handle


def _sweep(out: Path) -> None:
    """Remove the drafts of processes that are gone."""
    for left in out.parent.glob(f"{_glob_safe(_prefix(out))}*"):
        lock = _lock(left)
        if lock is None:
            continue
        with contextlib.suppress(OSError):
            if lock != _NO_LOCK or time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        if lock != _NO_LOCK:
            os.close(lock)


def _glob_safe(text: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)


def _swap(draft: Path, out: Path) -> None:
    """Put the draft where ``out`` is; only between the two renames is there nothing."""
    for _ in range(100):
        with _draft(out) as aside:
            if out.exists():
                check_replaceable(out)
                _rename(out, aside / "replaced")
            try:
                if _rename(draft, out):
                    return
            except OSError:
                _rename(aside / "replaced", out)
                raise
    raise CounterGroundError(f"Cannot put {out} in place: other processes keep writing it. Try again.")


def _rename(source: Path, target: Path) -> bool:
    try:
        source.rename(target)
    except OSError:
        # Another process was faster: it took the folder away, or put its own there.
        if source.exists() and not target.exists():
            raise
        return False
    return True
