"""A table of addresses, CSV or Parquet: rows become candidates of the pool and are fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from counterground.construction.ingest.imports._options import ImportOptions, resolve_class_names
from counterground.construction.ingest.imports._report import RejectedItem
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.pool import PhotoKey
from counterground.text import counted

_SUFFIXES = {".csv": ",", ".tsv": "\t", ".parquet": None}
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
        extras: by key and class: ``cluster`` and ``background``.
        rejected: rows that cannot be fetched.
        notes: sentences that a reader must know.
    """

    candidates: list[dict[str, object]]
    extras: dict[tuple[str, str], dict[str, str | None]]
    rejected: list[RejectedItem]
    notes: tuple[str, ...]

    @property
    def classes(self) -> frozenset[str]:
        """The class names in the pool."""
        return frozenset(name for _, name in self.extras)

    def cluster_of(self, candidate: Mapping[str, Any]) -> dict[str, object]:
        """Return the cluster of a candidate's photo as a column."""
        return {"cluster": self.extras[candidate["key"], candidate["class_name"]]["cluster"]}


def is_address_table(source: Path, options: ImportOptions) -> bool:
    """Return whether a file is a table of addresses; a Parquet file with a column "path" is a manifest."""
    suffix = source.suffix.lower()
    if suffix not in _SUFFIXES or not source.is_file():
        return False
    if suffix != ".parquet":
        return True
    try:
        columns = pl.read_parquet_schema(source)
    except (OSError, pl.exceptions.PolarsError):
        return False  # the reader of manifests reports what is wrong with it
    return options.url_column in columns and "path" not in columns


def read_addresses(source: Path, options: ImportOptions) -> AddressTable:
    """Read a table with a column of addresses and one of class names.

    Further columns are imported if they have the pool's names: licence, attribution, source, observer,
    observation, taxon, taxon_id, observed_on, cluster, background.

    Raises:
        UsageError: a column is missing.
        CounterGroundError: the file cannot be read, has no rows, or its classes contradict each other.
    """
    frame = _read(source)
    class_column = _class_column(frame, options, source)
    background = options.background_column or "background"
    if options.background_column and background not in frame.columns:
        raise _no_column(source, background, frame)
    rows, rejected = [], []
    for number, row in enumerate(_rows(frame), start=1):
        url = row.get(options.url_column) or ""
        name = row.get(class_column) or "" if class_column else options.class_name or ""
        if problem := _problem(url, name, row.get("taxon_id")):
            rejected.append(RejectedItem(f"row {number}" + (f": {url}" if url else ""), name, problem))
        else:
            rows.append((url, name, row))
    classes = resolve_class_names((name for _, name, _ in rows), options)
    known = {options.url_column, class_column, background, *_CARRIED}
    unused = [column for column in frame.columns if column not in known]
    notes: tuple[str, ...] = ()
    if unused:
        notes = (f"Unused columns of the table: {', '.join(unused)}.",)
    candidates: list[dict[str, object]] = []
    extras: dict[tuple[str, str], dict[str, str | None]] = {}
    for url, name, row in rows:
        key = (str(PhotoKey("url", url)), classes[name])
        if key in extras:
            continue
        extras[key] = {"cluster": row.get("cluster"), "background": row.get(background)}
        place = {"key": key[0], "class_name": key[1], "url": url, "position": len(candidates)}
        fields: dict[str, object] = {column: row.get(column) for column in _CANDIDATE}
        if taxon := row.get("taxon_id"):
            fields["taxon_id"] = int(taxon.removesuffix(".0"))
        candidates.append(place | fields)
    if repeated := len(rows) - len(candidates):
        notes += (f"Skipped {counted(repeated, 'row')} with the address and the class of an earlier row.",)
    return AddressTable(candidates, extras, rejected, notes)


def _read(source: Path) -> pl.DataFrame:
    separator = _SUFFIXES[source.suffix.lower()]
    try:
        if separator is None:
            frame = pl.read_parquet(source)
        else:
            frame = pl.read_csv(source, separator=separator, infer_schema=False)
    except pl.exceptions.NoDataError as error:
        raise CounterGroundError(f"{source} is empty.") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise CounterGroundError(f"Cannot read the table {source}: {reason}.") from error
    if frame.is_empty():
        raise CounterGroundError(f"{source} has no rows.")
    return frame


def _rows(frame: pl.DataFrame) -> Iterator[Mapping[str, str | None]]:
    for row in frame.iter_rows(named=True):
        texts = {name: "" if value is None else str(value).strip() for name, value in row.items()}
        yield {name: text or None for name, text in texts.items()}


def _class_column(frame: pl.DataFrame, options: ImportOptions, source: Path) -> str | None:
    if options.url_column not in frame.columns:
        raise _no_column(source, options.url_column, frame, "--url-column")
    column = options.class_column or "class_name"
    if column in frame.columns and options.class_name is not None:
        raise UsageError(f"{source} has a column {column!r} of classes: leave out --class.")
    if column in frame.columns:
        return column
    if options.class_column is None and options.class_name is not None:
        return None
    raise _no_column(source, column, frame, "--class-column, or the class of all rows with --class")


def _no_column(source: Path, column: str, frame: pl.DataFrame, option: str = "") -> UsageError:
    hint = did_you_mean(column, frame.columns)
    remedy = f" Name the column with {option}." if option else ""
    return UsageError(f"{source} has no column {column!r}; it has {', '.join(frame.columns)}.{hint}{remedy}")


def _problem(url: str, name: str, taxon: str | None) -> str:
    if not url:
        return "it has no address"
    if not name:
        return "it has no class"
    if taxon is not None and not _WHOLE.fullmatch(taxon):
        return f"its taxon_id {taxon!r} is not a number"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the address cannot be read"
    return (
        "" if parts.scheme in ("http", "https") and parts.netloc else "the address is neither http nor https"
    )
