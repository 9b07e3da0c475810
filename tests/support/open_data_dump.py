"""The tables of iNaturalist's open-data dump, as files."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

COLUMNS = {
    "taxa": "taxon_id ancestry rank_level rank name active",
    "observations": "observation_uuid observer_id latitude longitude positional_accuracy taxon_id "
    "quality_grade observed_on",
    "photos": "photo_uuid photo_id observation_uuid observer_id extension license width height position",
    "observers": "observer_id login name",
}


def write_table(
    folder: Path, name: str, rows: Iterable[Sequence[Any]], *, more_columns: str = "", gz: bool = True
) -> None:
    """Write one table of the dump into ``folder``, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = f"{COLUMNS[name]} {more_columns}".split()
    data = "".join("\t".join(map(str, row)) + "\n" for row in [columns, *rows]).encode()
    (folder / f"{name}.csv{'.gz' if gz else ''}").write_bytes(gzip.compress(data) if gz else data)


def write_dump(folder: Path, tables: dict[str, Iterable[Sequence[Any]]], *, gz: bool = True) -> Path:
    """Write tables by name into ``folder``; return it."""
    for name, rows in tables.items():
        write_table(folder, name, rows, gz=gz)
    return folder
