"""A table of addresses: rows become candidates of the pool and are fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from counterground.construction.imports._details import CLUSTERED, assumed_details
from counterground.construction.imports._items import RejectedItem
from counterground.construction.imports._options import (
    ImportOptions,
    find_class_column,
    no_column,
    resolve_class_names,
)
from counterground.construction.pool import PhotoKey
from counterground.errors import CounterGroundError
from counterground.files import is_file
from counterground.http import without_query
from counterground.photos import TABLE_SUFFIXES, read_table
from counterground.text import counted

_CANDIDATE = (
    "licence",
    "attribution",
    "source",
    "observer",
    "observation",
    "taxon",
    "taxon_id",
    "observed_on",
)
_CARRIED = (*_CANDIDATE, "cluster")
_WHOLE = re.compile(r"[0-9]{1,18}(\.0)?")  # pandas adds ".0" if some values are missing


@dataclass(frozen=True)
class AddressTable:
    """Rows that can be fetched.

    Attributes:
        candidates: rows for ``Pool.add_candidates``, each key and class once.
        details: what the table says about each photo, as columns of a pool, by key and class.
        assumed: what follows from that for columns that it does not give, likewise.
        backgrounds: background labels, likewise.
        rejected: rows that cannot be fetched.
        notes: sentences that a reader must know.
        rows: numbers of the rows, by key and class.
    """

    candidates: list[dict[str, object]]
    details: dict[tuple[str, str], dict[str, object]]
    assumed: dict[tuple[str, str], dict[str, object]]
    backgrounds: dict[tuple[str, str], str | None]
    rejected: list[RejectedItem]
    notes: tuple[str, ...]
    rows: dict[tuple[str, str], int]

    @property
    def classes(self) -> frozenset[str]:
        """The class names in the pool."""
        return frozenset(name for _, name in self.details)

    def details_of(self, candidate: Mapping[str, Any]) -> dict[str, object]:
        """Return what the table says about a candidate, which may be one of an earlier import."""
        place = candidate["key"], candidate["class_name"]
        stated = {name: value for name, value in self.details[place].items() if value is not None}
        return self.details[place] | self.assumed[place] | stated

    def item(self, key: str, class_name: str, url: str) -> str:
        """Return a row's address for a report: with its number in place of the query, which may be secret."""
        shown = without_query(url)
        return shown if shown == url else f"{shown} (row {self.rows[key, class_name]})"


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
    observation, taxon, taxon_id, observed_on, cluster, background.

    Raises:
        UsageError: a column is missing.
        CounterGroundError: the file cannot be read, has no rows, or its classes contradict each other.
    """
    frame = read_table(source)
    if options.url_column not in frame.columns:
        raise no_column(source, options.url_column, frame, "--url-column, or call a column of files 'path'")
    class_column = find_class_column(frame, options, source)
    background = options.background_column or "background"
    if options.background_column and background not in frame.columns:
        raise no_column(source, background, frame)
    rows, rejected = [], []
    for number, row in enumerate(_rows(frame), start=1):
        url = row.get(options.url_column) or ""
        name = row.get(class_column) or "" if class_column else options.class_name or ""
        if problem := _problem(url, name, row.get("taxon_id")):
            shown = f": {without_query(url)}" if url else ""
            rejected.append(RejectedItem(f"row {number}{shown}", name, problem))
        else:
            rows.append((number, url, name, row))
    if not rows:
        raise CounterGroundError(
            f"{source}: no row can be fetched; {rejected[0].item}: {rejected[0].reason}. Files on this disk "
            "need a column 'path', and no --url-column."
        )
    classes = resolve_class_names((name for _, _, name, _ in rows), options)
    known = {options.url_column, class_column, background, *_CARRIED}
    unused = [column for column in frame.columns if column not in known]
    notes: tuple[str, ...] = ()
    if unused:
        notes = (f"Unused columns of the table: {', '.join(unused)}.",)
    candidates: list[dict[str, object]] = []
    details: dict[tuple[str, str], dict[str, object]] = {}
    assumed: dict[tuple[str, str], dict[str, object]] = {}
    backgrounds: dict[tuple[str, str], str | None] = {}
    numbers: dict[tuple[str, str], int] = {}
    for number, url, name, row in rows:
        key = (str(PhotoKey("url", url)), classes[name])
        if key in details:
            continue
        place = {"key": key[0], "class_name": key[1], "url": url, "position": len(candidates)}
        fields: dict[str, object] = {column: row.get(column) for column in _CANDIDATE}
        if taxon := row.get("taxon_id"):
            fields["taxon_id"] = int(taxon.removesuffix(".0"))
        candidates.append(place | fields)
        details[key] = fields | {"cluster": row.get("cluster")}
        assumed[key] = assumed_details(fields | {"url": url}, frame.columns)
        numbers[key] = number
        backgrounds[key] = row.get(background)
    if repeated := len(rows) - len(candidates):
        notes += (f"Skipped {counted(repeated, 'row')} with the address and the class of an earlier row.",)
    if any("cluster" in one for one in assumed.values()):
        notes += (CLUSTERED,)
    return AddressTable(candidates, details, assumed, backgrounds, rejected, notes, numbers)


def _rows(frame: pl.DataFrame) -> Iterator[Mapping[str, str | None]]:
    for row in frame.iter_rows(named=True):
        texts = {name: "" if value is None else str(value).strip() for name, value in row.items()}
        yield {name: text or None for name, text in texts.items()}


def _problem(url: str, name: str, taxon: str | None) -> str:
    if not url:
        return "it has no address"
    if not name:
        return "it has no class"
    if taxon is not None and not _WHOLE.fullmatch(taxon):
        return f"its taxon_id {taxon!r} is not a number"
    if not url.isprintable():  # URL parsing drops line breaks
        return "the address has a line break or a control character"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the address cannot be read"
    return (
        "" if parts.scheme in ("http", "https") and parts.netloc else "the address is neither http nor https"
    )
