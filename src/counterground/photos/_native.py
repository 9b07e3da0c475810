"""Benchmarks that CounterGround wrote itself: a folder of three files beside or away from the photos."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from polars.exceptions import PolarsError

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import is_folder, read_json, read_parquet, relative_way, write_parquet, write_text
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
    masks = {"masks": relative_way(out, benchmark.masks_root)} if benchmark.masks_root else {}
    return write_description(benchmark, out, root=relative_way(out, benchmark.root), **masks)


def write_description(benchmark: Benchmark, out: Path, **further: str) -> Path:
    """Write the label space and, in ``benchmark.json``, what describes a benchmark, and ``further`` entries.

    Raises:
        CounterGroundError: the folder cannot be written.
    """
    benchmark.classes.save(out / LABEL_SPACE_FILE)
    content = {
        "name": benchmark.name,
        "notes": benchmark.notes,
        "version": benchmark.version,
        **further,
        **(asdict(benchmark.discovery) if benchmark.discovery else {}),
        **({"design": benchmark.design.to_json()} if benchmark.design != DESIGN else {}),
        **({"columns": benchmark.columns} if benchmark.columns else {}),
    }
    write_text(out / BENCHMARK_FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    return out


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Report an error while the files of a benchmark are read."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError, PolarsError) as error:
        reason = f"{type(error).__name__}: {error_message(error)}"
        raise CounterGroundError(
            f"The benchmark in {folder} cannot be read ({reason}). Write it again."
        ) from error


def as_described(benchmark: Benchmark, folder: Path) -> Benchmark:
    """Return a benchmark with the name, notes, discovery and design of the description in a folder.

    Raises:
        CounterGroundError: the description is damaged, or was written for other photos.
    """
    with reading(folder):
        content = read_json(folder / BENCHMARK_FILE)
        benchmark = benchmark.described(
            name=str(content["name"]),
            notes=map(str, content["notes"]),
            discovery=Discovered.from_json(content),
            design=Design.from_json(content.get("design")),
            columns=dict(content.get("columns", {})),
        )
        version = content["version"]
    if benchmark.version != version:
        raise CounterGroundError(
            f"The photos or {LABEL_SPACE_FILE} in {folder} are not those that {BENCHMARK_FILE} was written "
            "for: write the benchmark again."
        )
    return benchmark


def read_native(folder: Path) -> Benchmark:
    """Read what ``write_benchmark`` wrote.

    Raises:
        CounterGroundError: a file is missing or damaged, the photos' folder is gone, or the version says that
            the files were not written together.
    """
    with reading(folder):
        content = read_json(folder / BENCHMARK_FILE)
        at = folder / str(content["root"])
        masks_root = (folder / str(content["masks"])).resolve() if content.get("masks") else None
        photos = read_parquet(folder / MANIFEST_FILE)
    if not is_folder(at):
        raise CounterGroundError(
            f"The photos of the benchmark in {folder} are not at {at} any more: move them back there."
        )
    space = LabelSpace.load(folder / LABEL_SPACE_FILE)
    return as_described(Benchmark("", at.resolve(), photos, space, masks_root=masks_root), folder)
