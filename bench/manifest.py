"""How long a table of many photos takes to read: ``python bench/manifest.py [ROWS]``.

The photos are JPEGs of 64 x 64 pixels (about 2 kB), a hundred classes in a hundred folders. Everything is
read twice and the second time is printed, so the files are in the page cache. Larger or uncached files add
disk time, because each is hashed. With ``photo_id`` none is opened.
"""

import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from counterground.photos import read_benchmark

_CLASSES = 100


def _photo(generator):
    out = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(out, "JPEG", quality=40)
    return out.getvalue()


def _write(root, rows):
    """Write the photos and the table; each file differs from all others in its last bytes."""
    shown = _photo(np.random.default_rng(0))
    for number in range(_CLASSES):
        (root / f"kind-{number:02d}").mkdir()
    paths = [f"kind-{row % _CLASSES:02d}/{row:07d}.jpg" for row in range(rows)]
    for row, path in enumerate(paths):
        (root / path).write_bytes(shown + row.to_bytes(4, "big"))
    table = pl.DataFrame({"path": paths, "class_name": [path.partition("/")[0] for path in paths]})
    table = table.with_columns(
        background=pl.Series(["grass", "sea"] * (rows // 2)), cluster=pl.Series(range(rows)) // 7
    )
    table.write_csv(root / "photos.csv")
    return len(shown)


def _seconds(source):
    read_benchmark(source)
    started, used = time.perf_counter(), time.process_time()
    benchmark = read_benchmark(source)
    return benchmark, time.perf_counter() - started, time.process_time() - used


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        size = _write(root, rows)
        benchmark, wall, used = _seconds(root / "photos.csv")
        print(f"{rows:,} rows, files of {size:,} bytes: {wall:.1f} s, of the processors {used:.1f} s")
        ids = benchmark.photos.select("path", "photo_id")
        pl.read_csv(root / "photos.csv").join(ids, on="path").write_csv(root / "hashed.csv")
        _, wall, used = _seconds(root / "hashed.csv")
        print(f"{rows:,} rows with photo_id, no file opened: {wall:.1f} s, of the processors {used:.1f} s")


if __name__ == "__main__":
    main()
