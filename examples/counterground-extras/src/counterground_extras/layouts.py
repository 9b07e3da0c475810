"""A published data set: animals in folders by place, as it would be unpacked anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterground.benchmarks import Copy, LayoutBenchmark
from counterground.metrics import Contrast, Design

if TYPE_CHECKING:
    import polars as pl

_CLASSES = {"zebras": "zebra", "ostriches": "ostrich"}  # folder -> name
_PLACES = ("savanna", "zoo")


def _read(copy: Copy) -> pl.DataFrame:
    """Read ``test/<class>/<place>/*``; a folder that is missing is an error, one too many a note."""
    return copy.grid("test/{class_name}/{place}", class_name=_CLASSES, place=_PLACES)


ZOO = LayoutBenchmark(
    name="zoo",
    description="zebras and ostriches, in the savanna and in a zoo",
    marks=("test/zebras",),
    read=_read,
    classes={"zebra": (340,), "ostrich": (9,)},  # ImageNet-1K indices; several where a class is wider
    design=Design(
        cells=("class_name", "place"),
        contrasts=(Contrast.parse("zoo_gap: place=savanna - place=zoo"),),
        weights={"training": {("zebra", "savanna"): 95, ("zebra", "zoo"): 5, ("ostrich", "savanna"): 100}},
    ),
    counts={(name, place): 3 for name in _CLASSES.values() for place in _PLACES},
    licence="CC0",
    homepage="https://example.org/zoo",
    by_hand="Ask the zoo for zoo.tar.gz.",
).built_in()
