"""A benchmark: two classes as plain squares of colour, green where they are common and blue where not."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from counterground.benchmarks import BuiltInBenchmark
from counterground.files import cache_dir
from counterground.photos import Benchmark, read_benchmark

_COLOURS = {"common-grass": (40, 120, 40), "counter-water": (40, 80, 160)}
_CLASSES = ("ostrich", "zebra")
_PER_FOLDER = 4


def _folder() -> Path:
    return cache_dir() / "benchmarks" / "plain-colours"


def _get(source: Path | None, show_progress: bool) -> Benchmark:
    """Draw the photos; a benchmark that is downloaded would fetch them, or take them from ``source``."""
    for number in range(_PER_FOLDER):
        for name in _CLASSES:
            for background, (red, green, blue) in _COLOURS.items():
                folder = _folder() / name / background
                folder.mkdir(parents=True, exist_ok=True)
                shade = 10 * number + 5 * _CLASSES.index(name)
                photo = Image.new("RGB", (64, 64), (red + shade, green + shade, blue + shade))
                photo.save(folder / f"{number}.png")
    return read_benchmark(_folder())


PLAIN_COLOURS = BuiltInBenchmark(
    name="plain-colours",
    description="two classes without an animal: only the colour of a background",
    n_photos=len(_CLASSES) * len(_COLOURS) * _PER_FOLDER,
    folder=_folder,
    is_ready=lambda: _folder().is_dir(),
    get=_get,
    on_demand=True,
)
