"""Candidates from iNaturalist's open-data dump: listing a million photos takes no request."""

from __future__ import annotations

import csv
import glob
import gzip
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.collection._options import INATURALIST, QUALITIES, SIZES, one_of
from counterground.construction.pool import CANDIDATE_SCHEMA, PhotoKey
from counterground.errors import CounterGroundError, UsageError, needs_extra

if TYPE_CHECKING:
    import duckdb


_MEMORY_LIMIT = "2GB"
_LONGEST_HEADER = 2**16
# As in the dump's own description; other columns are read as text and not used.
_TABLES: dict[str, dict[str, str]] = {
    "taxa": {
        "taxon_id": "INTEGER",
        "ancestry": "VARCHAR",
        "rank": "VARCHAR",
        "name": "VARCHAR",
        "active": "BOOLEAN",
    },
    "observations": {
        "observation_uuid": "VARCHAR",  # converted to a UUID only for the few rows wanted
        "taxon_id": "INTEGER",
        "quality_grade": "VARCHAR",
        "observed_on": "VARCHAR",
    },
    "photos": {
        "photo_id": "BIGINT",
        "observation_uuid": "UUID",
        "observer_id": "INTEGER",
        "extension": "VARCHAR",
        "license": "VARCHAR",
        "position": "INTEGER",
    },
    "observers": {"observer_id": "INTEGER", "login": "VARCHAR", "name": "VARCHAR"},
}
# The dump has quotation marks in names and never around values.
_READ = (
    "read_csv($file, columns = $columns, delim = '\t', header = true, auto_detect = false, "
    "quote = '', escape = '')"
)


class Dump:
    """A folder with the dump's files, gzipped or not, and a DuckDB connection to query them.

    Memory is limited to 2 GB; what needs more goes to a temporary folder.
    """

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._files = {table: _find(folder, table) for table in _TABLES}
        self._columns = {table: _columns(self._files[table], table) for table in _TABLES}

    def ask(self, sql: str, table: str | None = None, **values: Any) -> list[tuple[Any, ...]]:
        """Run SQL, in which ``{dump}`` stands for the rows of ``table`` and ``$name`` for a value.

        Raises:
            CounterGroundError: the table's file is damaged, or not as iNaturalist writes it.
        """
        import duckdb

        if table is not None:
            values |= {"file": glob.escape(str(self._files[table])), "columns": self._columns[table]}
        try:
            return self._connection.execute(sql.replace("{dump}", _READ), values).fetchall()
        except duckdb.OutOfMemoryException as error:
            raise CounterGroundError(
                f"The list does not fit in {_MEMORY_LIMIT} and the temporary folder: free some space there, "
                "or ask for fewer classes at once."
            ) from error
        except duckdb.Error as error:
            if table is None:
                raise
            raise CounterGroundError(
                f"{self._files[table]} is damaged or not as iNaturalist writes it ({_first_lines(error)}): "
                "fetch it again."
            ) from error

    def fill(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Insert rows into one of our tables."""
        if rows:
            places = ", ".join("?" for _ in rows[0])
            self._connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608


@contextmanager
def open_dump(folder: Path) -> Iterator[Dump]:
    """Open the dump in a folder.

    Raises:
        UsageError: no such folder, a file is missing, or DuckDB is not installed.
        CounterGroundError: a file cannot be read or lacks a column.
    """
    with needs_extra("data"):
        import duckdb
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: name the one with iNaturalist's photos.csv.gz.")
    with tempfile.TemporaryDirectory(prefix="counterground-") as temporary:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": temporary,
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "preserve_insertion_order": "false",
            # They assume that a gzipped file has few rows, and would hash all photos. Without them, a join
            # always hashes its right side.
            "disabled_optimizers": "join_order,build_side_probe_side",
        }
        with duckdb.connect(":memory:", config=config) as connection:
            yield Dump(folder, connection)


def _find(folder: Path, table: str) -> Path:
    for name in (f"{table}.csv.gz", f"{table}.csv"):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(
        f"{folder} has no {table}.csv.gz: the dump is observations, photos, taxa and observers, side by side."
    )


def _columns(file: Path, table: str) -> Mapping[str, str]:
    """Return the type of each of the file's columns, in file order."""
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as lines:
            first = lines.readline(_LONGEST_HEADER)
        header = next(csv.reader([first], delimiter="\t", quoting=csv.QUOTE_NONE), [])
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise CounterGroundError(f"{file} cannot be read ({error}): fetch it again.") from error
    known = _TABLES[table]
    if missing := [name for name in known if name not in header]:
        raise CounterGroundError(
            f"{file} has no column {missing[0]!r}; it has {', '.join(header)[:200] or 'none'}: "
            "name the folder of iNaturalist's open-data dump."
        )
    if len(set(header)) != len(header):
        raise CounterGroundError(f"{file} has a column twice: {', '.join(header)[:200]}. Fetch it again.")
    return {name: known.get(name, "VARCHAR") for name in header}


def _first_lines(error: Exception) -> str:
    """Return the place and the reason, which come first in DuckDB's long errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    useful = [line for line in lines[:4] if not line.startswith("Original Line")]
    return "; ".join(useful[:2])[:300].rstrip(".")


MEDIA_URL = "https://inaturalist-open-data.s3.amazonaws.com"
_PAGE_URL = "https://www.inaturalist.org/observations/"


def list_open_data(
    folder: Path,
    taxa: Mapping[str, int | Sequence[int]],
    *,
    per_class: int = 500,
    quality: str = "research",
    licences: Sequence[str] | None = None,
    since: str | date | None = None,
    until: str | date | None = None,
    per_observation: int = 1,
    size: str = "medium",
    media_url: str = MEDIA_URL,
) -> pl.DataFrame:
    """Return each class's newest photos as ``CANDIDATE_SCHEMA``, by class and position; paper section 2.

    The dump has no upload dates, so the newest photos are those with the highest number. A taxon stands for
    all that descend from it. The first photos of an observation count; a photo that several observations
    share counts once per class. A class may get fewer photos than requested, or none.

    Args:
        folder: the dump: ``observations``, ``photos``, ``taxa``, ``observers``, each ``.csv.gz`` or ``.csv``.
        taxa: number or numbers of taxa, by class name.
        per_class: photos per class.
        quality: grade of the observations; "any" for all.
        licences: codes such as "cc-by"; None or empty for all.
        since: first day of observation (ISO); with it or ``until``, observations without a date are left out.
        until: last day of observation.
        per_observation: photos per observation.
        size: "small" (240 pixels on the longer side), "medium" (500), "large" (1024) or "original" (2048).
        media_url: where the photos are; mirrors have the same layout.

    Raises:
        UsageError: see ``open_dump``; or a value is not one of those listed.
        CounterGroundError: a file of the dump is damaged or not as iNaturalist writes it.
    """
    one_of("quality grade", quality, QUALITIES)
    one_of("size", size, SIZES)
    grade = None if quality == "any" else quality
    codes = [code.lower() for code in licences] if licences else None
    with open_dump(Path(folder)) as dump:
        _find_taxa(dump, taxa)
        days = {"since": since and str(since), "until": until and str(until)}
        dump.ask(_OBSERVATIONS, "observations", quality=grade, **days)
        dump.ask(_PHOTOS, "photos", licences=codes)
        dump.ask(_NEWEST, per_observation=per_observation, per_class=per_class)
        rows = dump.ask(_OBSERVERS, "observers")
    place = f"{media_url.rstrip('/')}/photos"
    made = [_candidate(dict(zip(_COLUMNS, row, strict=True)), place, size) for row in rows]
    return pl.DataFrame(made, CANDIDATE_SCHEMA)


_TAXA = """
CREATE TEMP TABLE member AS
SELECT w.class_name, t.taxon_id, any_value(t.name) AS name
FROM (
    SELECT taxon_id, name, unnest(string_split(concat_ws('/', ancestry, taxon_id), '/')) AS ancestor
    FROM {dump}
) t JOIN wanted w ON w.taxon_id = TRY_CAST(t.ancestor AS INTEGER)
GROUP BY w.class_name, t.taxon_id
"""

_OBSERVATIONS = """
CREATE TEMP TABLE seen AS
SELECT m.class_name, CAST(o.observation_uuid AS UUID) AS observation_uuid, o.taxon_id, m.name AS taxon,
    o.observed_on
FROM {dump} o JOIN member m USING (taxon_id)
WHERE ($quality IS NULL OR o.quality_grade = $quality)
AND ($since IS NULL OR o.observed_on >= $since)
AND ($until IS NULL OR o.observed_on <= $until)
"""

_PHOTOS = """
CREATE TEMP TABLE photo AS
SELECT s.*, p.photo_id, p.observer_id, p.extension, lower(p.license) AS licence,
    coalesce(p.position, 0) AS place
FROM {dump} p JOIN seen s USING (observation_uuid)
WHERE p.photo_id IS NOT NULL AND ($licences IS NULL OR list_contains($licences, lower(p.license)))
"""

_NEWEST = """
CREATE TEMP TABLE newest AS
SELECT *, row_number() OVER (PARTITION BY class_name ORDER BY photo_id DESC) - 1 AS position
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY class_name, observation_uuid ORDER BY place, photo_id DESC
    ) AS turn
    FROM (
        SELECT *, row_number() OVER (
            PARTITION BY class_name, photo_id ORDER BY place, observation_uuid
        ) AS occurrence
        FROM photo
    )
    WHERE occurrence = 1
)
WHERE turn <= $per_observation
QUALIFY position < $per_class
"""

_COLUMNS = (
    *("class_name", "position", "photo_id", "observation", "taxon_id", "taxon", "observed_on"),
    *("licence", "extension", "observer_id", "login", "name"),
)
_OBSERVERS = """
SELECT n.class_name, n.position, n.photo_id, CAST(n.observation_uuid AS VARCHAR), n.taxon_id, n.taxon,
    n.observed_on, n.licence, n.extension, n.observer_id, o.login, o.name
FROM (
    SELECT observer_id, max(login) AS login, max(name) AS name FROM {dump}
    WHERE observer_id IN (SELECT observer_id FROM newest) GROUP BY observer_id
) o RIGHT JOIN newest n USING (observer_id)
ORDER BY n.class_name, n.position
"""


def _find_taxa(dump: Dump, taxa: Mapping[str, int | Sequence[int]]) -> None:
    wanted = [
        (name, number)
        for name, numbers in taxa.items()
        for number in ([numbers] if isinstance(numbers, int) else numbers)
    ]
    dump.ask("CREATE TEMP TABLE wanted (class_name VARCHAR, taxon_id INTEGER)")
    dump.fill("wanted", wanted)
    dump.ask(_TAXA, "taxa")
    there = {row[0] for row in dump.ask("SELECT taxon_id FROM member")}
    for name, number in wanted:
        if number not in there:
            raise UsageError(
                f"The dump has no taxon {number} (class {name!r}): choose another for the class."
            )


def _candidate(row: Mapping[str, Any], place: str, size: str) -> dict[str, object]:
    photo, extension, licence = row["photo_id"], str(row["extension"]), row["licence"] or None
    if not extension.isalnum():
        raise CounterGroundError(
            f"Photo {photo} of the dump has the extension {extension!r}: fetch the dump again."
        )
    number = row["observer_id"]
    observer = row["login"] or (None if number is None else str(number))
    return {
        **{name: row[name] for name in ("class_name", "position", "observation", "taxon_id", "taxon")},
        "key": str(PhotoKey(INATURALIST, str(photo))),
        "url": f"{place}/{photo}/{size}.{extension}",
        "observer": observer,
        "licence": licence,
        "attribution": _credit(name, licence or "") if (name := row["name"] or observer) else None,
        "source": f"{_PAGE_URL}{row['observation']}",
        "observed_on": row["observed_on"] or None,
        "status": "wanted",
        "tries": 0,
    }


def _credit(name: str, licence: str) -> str:
    """Word the credit as iNaturalist does."""
    if licence == "cc0":
        return f"{name}, no rights reserved (CC0)"
    if licence == "pd":
        return f"{name}, public domain"
    code = licence.upper().replace("CC-", "CC ", 1)
    return f"(c) {name}, some rights reserved ({code})" if code else f"(c) {name}"
