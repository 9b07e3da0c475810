"""Benchmarks of drawn photos: grouped like CounterAnimal, flat with classes of their own, with masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from counterground.photos import Benchmark, Discovered, LabelSpace, photo_id, read_benchmark

LICENCES = ("cc-by", "cc0", "cc-by-nc", "cc-by-sa")


def draw(path: Path, seed: int, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (12, 16, 3) if mode == "RGB" else (12, 16)
    noise = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture
def grouped(photos) -> Benchmark:
    """48 photos in the CounterAnimal layout, with clusters, licences and credits."""
    benchmark = read_benchmark(photos)
    count = len(benchmark)
    return replace(
        benchmark,
        name="Drei Tiere – 三",
        photos=benchmark.photos.with_columns(
            pl.Series("cluster", [None if n % 5 == 0 else f"observer:{n // 3}" for n in range(count)]),
            pl.Series("licence", [LICENCES[n % 4] for n in range(count)]),
            pl.Series("attribution", [f"© Zoë, no. {n} | *photos*" for n in range(count)]),
            pl.Series("source", [None if n % 7 == 0 else f"https://example.org/{n}" for n in range(count)]),
        ),
        notes=("Drawn, not taken.",),
        discovery=Discovered("a:model", "half", 5.0, "drawn@0123abcd", "drawn", earlier_referees=("b",)),
    )


@pytest.fixture
def flat(tmp_path) -> Benchmark:
    """Classes of no list, one without a photo; some backgrounds missing; no groups; png and jpg."""
    root = tmp_path / "flat-source"
    names = ("a/b", "Ünïcode 鳥", "con", "spare")
    rows = []
    for number in range(12):
        path = f"files/x{number % 3}/p{number}.{'png' if number % 2 else 'jpg'}"
        draw(root / path, number)
        rows.append(
            {
                "path": path,
                "photo_id": photo_id(root / path),
                "class_index": number % 3,
                "class_name": names[number % 3],
                "background": (None, "grass", ".hidden")[number % 4 % 3],
                "licence": "cc0",
            }
        )
    space = LabelSpace("mine", names, (None,) * 4, {0: (0, 3)})
    return Benchmark("flat", root, pl.DataFrame(rows, schema_overrides={"class_index": pl.Int32}), space)


@pytest.fixture
def masked(tmp_path) -> Benchmark:
    """Photos whose masks lie among them, one mask shared by two photos and one photo without."""
    root = tmp_path / "masked-source"
    rows = []
    for number in range(6):
        path = draw(root / f"hen/grass/{number}.jpg", number).relative_to(root).as_posix()
        mask = None if number == 5 else f"hen/masks/{number // 2}.png"
        if mask:
            draw(root / mask, number // 2, "L")
        rows.append({"path": path, "photo_id": photo_id(root / path), "class_index": 0, "mask": mask})
    frame = pl.DataFrame(rows, schema_overrides={"class_index": pl.Int32, "mask": pl.String}).with_columns(
        class_name=pl.lit("hen"), background=pl.lit("grass"), licence=pl.lit("pd")
    )
    return Benchmark("masked", root, frame, LabelSpace("benchmark", ("hen",), (8,)))


@pytest.fixture
def tree():
    """What lies in a folder: the bytes of every file by relative path."""

    def tree(folder: Path) -> dict[str, bytes]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return tree
