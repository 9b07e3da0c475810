"""A table of addresses: rows become candidates of the pool and are fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from counterground.construction.imports._details import CLUSTERED, assumed_details
from counterground.construction.imports._items import RejectedItem
from counterground.construction.imports._options import (
    ImportOptions,
    checked_column,
    find_class_column,
    resolve_class_names,
    unused_note,
)
from counterground.construction.pool import PhotoKey
from counterground.errors import CounterGroundError
from counterground.files import is_file
from counterground.http import without_query
from counterground.photos import TABLE_SUFFIXES, read_table
from counterground.text import counted

_CANDIDATE = ("licence", "attribution", "source", "observer", "observation", "taxon", "observed_on")


@dataclass(frozen=True)
class AddressRow:
    """A row that can be fetched.

    Attributes:
        item: the row in reports: its number and its address, without the query, which may be secret.
        fields: what the table says about the photo, as columns of a pool.
        assumed: what follows from that for columns that it does not give.
        background: background label.
    """

    item: str
    fields: dict[str, object]
    assumed: dict[str, object]
    background: str | None


@dataclass(frozen=True)
class AddressTable:
    """Rows that can be fetched.

    Attributes:
        candidates: rows for ``Pool.add_candidates``, each key and class once.
        rows: the rows, by key and class.
        rejected: rows that cannot be fetched.
        notes: sentences that a reader must know.
    """

    candidates: list[dict[str, object]]
    rows: dict[tuple[str, str], AddressRow]
    rejected: list[RejectedItem]
    notes: tuple[str, ...]

    @property
    def classes(self) -> frozenset[str]:
        """The class names in the pool."""
        return frozenset(name for _, name in self.rows)

    def details_of(self, candidate: Mapping[str, Any]) -> dict[str, object]:
        """Return what the table says about a candidate, which may be one of an earlier import."""
        row = self.rows[candidate["key"], candidate["class_name"]]
        stated = {name: value for name, value in row.fields.items() if value is not None}
        return row.fields | row.assumed | stated


def is_address_table(source: Path, options: ImportOptions) -> bool:
    """Return whether a file is a table of addresses; one with a column "path" and no addresses is a manifest.

    A Parquet file with both is a manifest, such as the snapshot of a pool.

    Raises:
        CounterGroundError: it is a table that cannot be read.
    """
    if source.suffix.lower() not in TABLE_SUFFIXES or not is_file(source):
        return False
    columns = read_table(source).columns
    if "path" not in columns:
        return True
    return options.url_column in columns and source.suffix.lower() != ".parquet"


def read_addresses(source: Path, options: ImportOptions) -> AddressTable:
    """Read a table with a column of addresses and one of class names.

    Other columns are imported if they have the pool's names: licence, attribution, source, observer,
    observation, taxon, observed_on, cluster, background.

    Raises:
        UsageError: a column is missing.
        CounterGroundError: the file cannot be read, has no rows, or its classes contradict each other.
    """
    frame = read_table(source)
    checked_column(
        frame.columns, options.url_column, str(source), "--url-column, or call a column of files 'path'"
    )
    class_column = find_class_column(frame, options, source)
    background = options.background_column or "background"
    if options.background_column:
        checked_column(frame.columns, background, str(source), "--background-column")
    rows, rejected = [], []
    for number, row in enumerate(_rows(frame), start=1):
        url = row.get(options.url_column) or ""
        name = (row.get(class_column) if class_column else options.class_name) or ""
        item = f"row {number}: {without_query(url)}"
        if name and url.isprintable() and url.startswith(("http://", "https://")):
            rows.append((item, url, name, row))
        else:
            rejected.append(RejectedItem(item, name, "it has no class, or no address that begins with http"))
    if not rows:
        raise CounterGroundError(
            f"{source}: no row can be fetched; {rejected[0].item}: {rejected[0].reason}. Files on this disk "
            "need a column 'path', and no --url-column."
        )
    classes = resolve_class_names((name for _, _, name, _ in rows), options)
    used = {options.url_column, class_column, background, "cluster", *_CANDIDATE}
    notes = unused_note(frame.columns, used)
    candidates: list[dict[str, object]] = []
    found: dict[tuple[str, str], AddressRow] = {}
    for item, url, name, row in rows:
        key = (str(PhotoKey("url", url)), classes[name])
        if key in found:
            continue
        fields: dict[str, object] = {column: row.get(column) for column in _CANDIDATE}
        place = {"key": key[0], "class_name": key[1], "url": url, "position": len(candidates)}
        candidates.append(place | fields)
        assumed = assumed_details(fields | {"url": url}, frame.columns)
        found[key] = AddressRow(item, fields | {"cluster": row.get("cluster")}, assumed, row.get(background))
    if repeated := len(rows) - len(candidates):
        notes += (f"Skipped {counted(repeated, 'row')} with the address and the class of an earlier row.",)
    if any("cluster" in row.assumed for row in found.values()):
        notes += (CLUSTERED,)
    return AddressTable(candidates, found, rejected, notes)


def _rows(frame: pl.DataFrame) -> Iterator[Mapping[str, str | None]]:
    for row in frame.iter_rows(named=True):
        texts = {name: "" if value is None else str(value).strip() for name, value in row.items()}
        yield {name: text or None for name, text in texts.items()}
