"""Time and memory of listing 45 classes x 800 photos from an open-data dump of 20 million photo rows.

The dump is made once (about 1.7 GB, some minutes) and kept: ``--dump FOLDER``, else in the temporary folder.
Nothing in it belongs to anybody: it holds numbers, hashes and invented names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl

import counterground

CLASSES, PER_CLASS = 45, 800
OBSERVERS = 500_000
SPECIES = 50_000  # 60,000 taxa with genera and what is above them
FORMAT = "(FORMAT csv, DELIMITER '\t', HEADER, QUOTE '', ESCAPE '', COMPRESSION gzip)"

TAXA = """
SELECT 1 AS taxon_id, '48460' AS ancestry, 70.0 AS rank_level, 'kingdom' AS rank, 'Animalia' AS name,
    true AS active
UNION ALL SELECT 2, '48460/1', 60, 'phylum', 'Chordata', true
UNION ALL SELECT 100 + i, '48460/1/2', 50, 'class', 'Classes' || i, true FROM range(20) t(i)
UNION ALL SELECT 1000 + i, concat_ws('/', 48460, 1, 2, 100 + i % 20), 30, 'family', 'Familia' || i, true
    FROM range(1000) t(i)
UNION ALL SELECT 10000 + i, concat_ws('/', 48460, 1, 2, 100 + i % 20, 1000 + i % 1000), 20, 'genus',
    'Genus' || i, true FROM range(9000) t(i)
UNION ALL SELECT 100000 + i, concat_ws('/', 48460, 1, 2, 100 + g % 20, 1000 + g % 1000, 10000 + g), 10,
    'species', 'Genus' || g || ' species' || i, i % 50 != 49
    FROM (SELECT i, i % 9000 AS g FROM range({species}) t(i))
"""
# A few species have most of the observations, as in the real dump.
OBSERVATIONS = """
SELECT CAST(md5('o' || i) AS UUID) AS observation_uuid, hash(i) % {observers} + 1 AS observer_id,
    round(hash(i, 1) % 1800000 / 10000 - 90, 10) AS latitude,
    round(hash(i, 2) % 3600000 / 10000 - 180, 10) AS longitude, hash(i, 3) % 500 AS positional_accuracy,
    100000 + CAST(floor(({species} - 1) * pow(hash(i, 4) % 1000000 / 1000000, 3)) AS INTEGER) AS taxon_id,
    CASE WHEN hash(i, 5) % 10 < 6 THEN 'research' WHEN hash(i, 5) % 10 < 9 THEN 'needs_id' ELSE 'casual' END
        AS quality_grade,
    CAST(DATE '2012-01-01' + CAST(hash(i, 6) % 5000 AS INTEGER) AS VARCHAR) AS observed_on,
    NULL AS anomaly_score
FROM range({observations}) t(i)
"""
PHOTOS = """
SELECT CAST(md5('p' || i) AS UUID) AS photo_uuid, i + 1000 AS photo_id,
    CAST(md5('o' || o) AS UUID) AS observation_uuid,
    hash(o) % {observers} + 1 AS observer_id, CASE WHEN draw < 70 THEN 'jpg' ELSE 'jpeg' END AS extension,
    CASE WHEN draw < 78 THEN 'CC-BY-NC' WHEN draw < 88 THEN 'CC-BY' WHEN draw < 96 THEN 'CC0'
        ELSE 'CC-BY-NC-SA' END AS license,
    2048 AS width, 1000 + hash(i, 3) % 1048 AS height,
    CASE WHEN i < {observations} THEN 0 ELSE 1 END AS position
FROM (
    SELECT i, CASE WHEN i < {observations} THEN i ELSE hash(i) % {observations} END AS o,
        hash(i, 2) % 100 AS draw
    FROM (SELECT (i * 7919) % {photos} AS i FROM range({photos}) t(i))
)
"""
OBSERVERS_SQL = """
SELECT i + 1 AS observer_id, 'login' || i AS login, CASE WHEN i % 3 = 0 THEN 'Name "N" ' || i END AS name
FROM range({observers}) t(i)
"""


def make_dump(folder: Path, photos: int) -> None:
    """Write the dump; existing files are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {"photos": photos, "observations": photos * 6 // 10, "observers": OBSERVERS, "species": SPECIES}
    queries = {"taxa": TAXA, "observers": OBSERVERS_SQL, "observations": OBSERVATIONS, "photos": PHOTOS}
    for table, query in queries.items():
        target, draft = folder / f"{table}.csv.gz", folder / f".{table}.csv.gz"
        if target.exists():
            continue
        start = time.perf_counter()
        with duckdb.connect(config={"memory_limit": "2GB"}) as connection:
            connection.execute(f"COPY ({query.format(**sizes)}) TO '{draft}' {FORMAT}")
        draft.rename(target)
        print(
            f"{table}: {target.stat().st_size / 1e6:,.0f} MB in {time.perf_counter() - start:.0f} s",
            flush=True,
        )


def measure(folder: Path) -> dict[str, float]:
    """In its own process: list, and return how long it took and the peak memory."""
    from counterground.construction.collection._open_data import list_open_data
    from counterground.construction.collection._session import DumpNames

    # 15 genera with both common and rare species, and 30 of the common species.
    names = {f"genus {i}": f"Genus{40 * i + 3}" for i in range(15)}
    names |= {f"species {i}": f"Genus{i * 10} species{i * 10}" for i in range(CLASSES - 15)}
    start = time.perf_counter()
    found = DumpNames(folder, names.values(), [])
    taxa = {name: found.search(scientific)[0].id for name, scientific in names.items()}
    resolved = time.perf_counter()
    rows = list_open_data(folder, taxa, per_class=PER_CLASS, quality="research")
    end = time.perf_counter()
    return {
        "rows": len(rows),
        "full_classes": int(rows.group_by("class_name").len().filter(pl.col("len") == PER_CLASS).height),
        "names_s": resolved - start,
        "list_s": end - resolved,
        "cpu_s": time.process_time(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=20_000_000)
    parser.add_argument("--dump", type=Path)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    folder = options.dump or Path(tempfile.gettempdir()) / f"counterground-open-data-{options.photos}"
    if options.measure:
        print(json.dumps(measure(folder)))
        return
    make_dump(folder, options.photos)
    load = os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, __file__, "--measure", "--dump", str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    figures = json.loads(done.stdout)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"DuckDB {duckdb.__version__}, CounterGround {counterground.__version__}, "
        f"{datetime.now(UTC).date()}, load of the machine before {load:.1f}"
    )
    print(
        f"{options.photos:,} photo rows; {CLASSES} classes x {PER_CLASS}: {figures['rows']:,} photos listed "
        f"({figures['full_classes']} classes in full) in {figures['list_s']:.1f} s, "
        f"names resolved in {figures['names_s']:.1f} s, {figures['cpu_s']:.1f} s of CPU time in all, "
        f"at most {figures['peak_mb']:,.0f} MB"
    )


if __name__ == "__main__":
    main()
