"""A folder that appears complete or not at all, and replaces only an earlier export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import draft_folder, read_json, write_text
from counterground.photos import EXPORT_FILE

_MARK = "counterground_export"


def write_mark(folder: Path, record: dict[str, Any]) -> None:
    """Write ``export.json``: the record, and the top-level entries of a folder that may be replaced."""
    entries = sorted([*(entry.name for entry in folder.iterdir()), EXPORT_FILE])
    content = {_MARK: 1, **record, "entries": entries}
    write_text(folder / EXPORT_FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def read_mark(folder: Path) -> dict[str, Any] | None:
    """Return what ``write_mark`` wrote; None for a folder that is not an export."""
    try:
        mark = read_json(folder / EXPORT_FILE)
        names = set(mark["entries"]) | set(mark.get("formats", ()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return mark if _MARK in mark and names else None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a draft beside ``out`` that takes its place at the end; a failure leaves ``out`` as it was.

    A killed process leaves a hidden draft, which the next export to ``out`` removes. Nothing is fsynced:
    after a power cut, the hashes in the export tell what is damaged.

    Raises:
        UsageError: ``out`` is a file, or a folder that holds anything but an earlier export.
        CounterGroundError: it cannot be written.
    """
    check_replaceable(out)
    try:
        with draft_folder(out) as draft:
            yield draft
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


def _swap(draft: Path, out: Path) -> None:
    """Put the draft in place of ``out``, which is absent only between the two renames."""
    with draft_folder(out) as aside:
        replaced = aside / "replaced"
        if out.exists():
            check_replaceable(out)
            out.rename(replaced)
        try:
            draft.rename(out)
        except OSError:
            if replaced.exists():
                replaced.rename(out)
            raise
