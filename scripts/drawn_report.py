"""A report on drawn pictures, for screenshots: real models, on photos that belong to nobody."""

from __future__ import annotations

from pathlib import Path

from make_screenshots import draw

import counterground as cg
from counterground.benchmarks import open_benchmark

PLACES = {"black swan": ("water", "sand"), "flamingo": ("water", "road"), "ice bear": ("snow", "grass")}
MODELS = (
    "efficientnet-lite0",
    "efficientnet-lite1",
    "counterground:stamps-biased",
    "counterground:stamps-balanced",
)
PER_GROUP = 12


def make_drawn_report(folder: Path) -> Path:
    """Draw a benchmark, evaluate ``MODELS`` on it, and return the page."""
    root = folder / "drawn animals"
    for animal, places in PLACES.items():
        for group, place in zip(("common", "counter"), places, strict=True):
            target = root / animal / f"{group}-{place}"
            target.mkdir(parents=True, exist_ok=True)
            for number in range(PER_GROUP):
                picture = draw(animal, place, number).resize((400, 300))
                picture.save(target / f"{number:02d}.jpg", quality=88)
    run = cg.evaluate(root, MODELS, out=folder / "run")
    return cg.write_report([run], folder / "report.html", benchmarks=[open_benchmark(root)])
