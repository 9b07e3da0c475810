"""iNaturalist's open-data dump: four tab-separated files, asked with SQL."""

from __future__ import annotations

import csv
import glob
import gzip
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, UsageError

if TYPE_CHECKING:
    import duckdb

_MEMORY_LIMIT = "2GB"
# As the dump's own description has them; other columns are read as text and not used.
_COLUMNS: dict[str, dict[str, str]] = {
    "taxa": {
        "taxon_id": "INTEGER",
        "ancestry": "VARCHAR",
        "rank": "VARCHAR",
        "name": "VARCHAR",
        "active": "BOOLEAN",
    },
    "observations": {
        "observation_uuid": "VARCHAR",  # made a UUID where it is wanted: few rows are
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
    """A folder with the dump's files, gzipped or not, and a DuckDB connection to ask them.

    Memory is limited to 2 GB; what needs more goes to a temporary folder.
    """

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._files = {table: _find(folder, table) for table in _COLUMNS}
        self._columns = {table: _columns(self._files[table], table) for table in _COLUMNS}

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
        """Insert rows into a table of ours."""
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
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise UsageError(
            "Reading the open-data dump needs DuckDB: run `pip install 'counterground[build]'`."
        ) from error
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: name the one with iNaturalist's photos.csv.gz.")
    with tempfile.TemporaryDirectory(prefix="counterground-") as temporary:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": temporary,
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "preserve_insertion_order": "false",
            # It takes a gzipped file for a few rows, and would hash all of the photos: what is hashed is
            # always what stands on the right of a join.
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
    """Return the type of each of the file's columns, in its order."""
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rt", encoding="utf-8") as lines:
            header = next(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), [])
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise CounterGroundError(f"{file} cannot be read ({error}): fetch it again.") from error
    known = _COLUMNS[table]
    if missing := [name for name in known if name not in header]:
        raise CounterGroundError(
            f"{file} has no column {missing[0]!r}; it has {', '.join(header)[:200] or 'none'}: "
            "name the folder of iNaturalist's open-data dump."
        )
    if len(set(header)) != len(header):
        raise CounterGroundError(f"{file} has a column twice: {', '.join(header)[:200]}. Fetch it again.")
    return {name: known.get(name, "VARCHAR") for name in header}


def _first_lines(error: Exception) -> str:
    """DuckDB explains at length; the place and the reason come first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines[:4] if not line.startswith("Original Line")]
    return "; ".join(told[:2])[:300].rstrip(".")
