"""Milliseconds until the label page knows what comes next, in a pool of 13,050 photos and 50,000 decisions.

``python bench/label_queue.py [decisions]``; photos are rows without files, since the queue never opens files.
"""

from __future__ import annotations

import hashlib
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from counterground.construction.pool import BACKGROUND_LABELS, PHOTO_SCHEMA, Queue, open_pool

PHOTOS, CLASSES, ASKED = 13_050, 45, 50


def fill(folder: Path, decisions: int):
    pool = open_pool(folder / "pool", create=True)
    rows = [
        dict.fromkeys(PHOTO_SCHEMA)
        | {
            "path": f"files/class_{number % CLASSES}/{number}.jpg",
            "photo_id": hashlib.sha256(str(number).encode()).hexdigest(),
            "class_name": f"class {number % CLASSES}",
        }
        for number in range(PHOTOS)
    ]
    columns = ", ".join(PHOTO_SCHEMA)
    values = ", ".join(f":{name}" for name in PHOTO_SCHEMA)
    with pool.connect() as connection:
        connection.executemany(f"INSERT INTO photo ({columns}) VALUES ({values})", rows)
    pool.decide_all(
        [
            {
                "path": rows[number % PHOTOS]["path"],
                "annotator": f"annotator {number // PHOTOS}",
                "task": "review" if number % 2 else "background",
                "labels": ["keep"] if number % 2 else [BACKGROUND_LABELS[number % 14]],
            }
            for number in range(decisions)
        ]
    )
    return pool


def main() -> None:
    decisions = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with tempfile.TemporaryDirectory() as folder:
        queue = Queue(fill(Path(folder), decisions), second=1.0)
        started = time.perf_counter()
        queue.lease("ann", "background")
        first = time.perf_counter() - started
        walls, cpus = [], []
        for number in range(ASKED):
            wall, cpu = time.perf_counter(), time.process_time()
            batch = queue.lease("ann", "background")
            walls.append(1000 * (time.perf_counter() - wall))
            cpus.append(1000 * (time.process_time() - cpu))
            if batch.photos:
                path, token = batch.photos[0].path, f"bench {number}"
                queue.pool.decide(path, annotator="ann", task="background", labels=["grass"], token=token)
        queue.pool.close()
    load = os.getloadavg()[0]
    wall, cpu = statistics.median(walls), statistics.median(cpus)
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {load:.1f}, {datetime.now(UTC):%F}")
    print(f"{PHOTOS:,} photos, {decisions:,} decisions; the first question {1000 * first:.0f} ms")
    print(f"the next ones: median {wall:.1f} ms, of processor {cpu:.1f} ms")


if __name__ == "__main__":
    main()
