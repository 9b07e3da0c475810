"""Benchmarks that CounterGround wrote itself: a folder of three files beside or away from the photos."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from polars.exceptions import PolarsError

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import read_json, read_parquet, relative_way, write_parquet, write_text
from counterground.metrics import DESIGN, Design
from counterground.photos._benchmark import Benchmark, Discovered
from counterground.photos.labels import LabelSpace

MANIFEST_FILE = "photos.parquet"
LABEL_SPACE_FILE = "label_space.json"
BENCHMARK_FILE = "benchmark.json"


def write_benchmark(benchmark: Benchmark, out: Path) -> Path:
    """Write the benchmark's manifest, label space and description into the folder ``out``; return ``out``.

    Photos are not copied: the relative paths from ``out`` to their folder and to that of the masks are
    written, so they may move together. ``benchmark.json`` is written last and holds the version, so reading
    detects files that were not written together.

    Raises:
        UsageError: photos are made in memory.
        CounterGroundError: the folder cannot be made or written.
    """
    benchmark.check_files("write")
    out = Path(out)
    write_parquet(out / MANIFEST_FILE, benchmark.photos)
    benchmark.classes.save(out / LABEL_SPACE_FILE)
    description = {
        "name": benchmark.name,
        "notes": benchmark.notes,
        "root": relative_way(out, benchmark.root),
        "version": benchmark.version,
        **({"masks": relative_way(out, benchmark.masks_root)} if benchmark.masks_root else {}),
        **(asdict(benchmark.discovery) if benchmark.discovery else {}),
        **({"design": benchmark.design.to_json()} if benchmark.design != DESIGN else {}),
    }
    write_text(out / BENCHMARK_FILE, json.dumps(description, ensure_ascii=False, indent=1) + "\n")
    return out


def read_native(folder: Path) -> Benchmark:
    """Read what ``write_benchmark`` wrote.

    Raises:
        CounterGroundError: a file is missing or damaged, the photos' folder is gone, or the version says that
            the files were not written together.
    """
    try:
        content = read_json(folder / BENCHMARK_FILE)
        name, root, version = (str(content[key]) for key in ("name", "root", "version"))
        notes = tuple(map(str, content["notes"]))
        discovery = Discovered.from_json(content)
        design = Design.from_json(content.get("design"))
        masks_root = _resolved(folder / str(content["masks"])) if content.get("masks") else None
        photos = read_parquet(folder / MANIFEST_FILE)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        UsageError,
        PolarsError,
    ) as error:
        reason = f"{type(error).__name__}: {error_message(error)}"
        raise CounterGroundError(
            f"The benchmark in {folder} cannot be read ({reason}). Write it again."
        ) from error
    at = folder / root
    try:
        at = _resolved(at)
        found = at.is_dir()
    except (OSError, ValueError):  # too long, a loop of links, or a null byte
        found = False
    if not found:
        raise CounterGroundError(
            f"The photos of the benchmark in {folder} are not at {at} any more: move them back there."
        )
    space = LabelSpace.load(folder / LABEL_SPACE_FILE)
    benchmark = Benchmark(name, at, photos, space, notes, discovery, design, masks_root)
    if benchmark.version != version:
        raise CounterGroundError(
            f"{MANIFEST_FILE} or {LABEL_SPACE_FILE} in {folder} is not what {BENCHMARK_FILE} was written for:"
            " write the benchmark again."
        )
    return benchmark


def _resolved(path: Path) -> Path:
    """Resolve links; a loop of them is an `OSError` on every Python (3.13 lets it pass)."""
    try:
        resolved = path.resolve()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    if resolved.is_symlink():
        raise OSError(f"{resolved} is a loop of links")
    return resolved
