"""SpuCoAnimals (Joshi et al. 2023): birds on land and water, dogs indoors and outdoors, from ImageNet.

Folders, sizes and the archives' addresses: spuco_birds.py, spuco_dogs.py and spuco_animals.py in
src/spuco/datasets of BigML-CS-UCLA/SpuCo.
"""

from __future__ import annotations

import polars as pl

from counterground.benchmarks._builtin import BuiltInBenchmark, with_options
from counterground.benchmarks._layout import Copy, LayoutBenchmark
from counterground.metrics import Design

_PARTS = {  # folder -> classes (folder -> name), each with the place that is usual for it
    "spuco_birds": ({"landbirds": "landbird", "waterbirds": "waterbird"}, ("land", "water")),
    "spuco_dogs": ({"small_dogs": "small dog", "big_dogs": "big dog"}, ("indoor", "outdoor")),
}
_USUAL = {
    name: place
    for names, places in _PARTS.values()
    for name, place in zip(names.values(), places, strict=True)
}
_SIZES = {  # of photos in the usual and in the other place, of birds and of dogs
    "train": ((10000, 500), (10000, 500)),
    "val": ((500, 25), (1000, 50)),
    "test": ((500, 500), (500, 500)),
}


def _counts(split: str) -> dict[tuple[str, ...], int]:
    return {
        (name, place): sizes[place != _USUAL[name]]
        for (names, places), sizes in zip(_PARTS.values(), _SIZES[split], strict=True)
        for name in names.values()
        for place in places
    }


def _read(copy: Copy, split: str) -> pl.DataFrame:
    photos = pl.concat(
        copy.grid(f"{part}/{split}/{{class_name}}/{{background}}", class_name=names, background=places)
        for part, (names, places) in _PARTS.items()
    )
    usual = pl.col("background") == pl.col("class_name").replace_strict(_USUAL)
    return photos.with_columns(group=pl.when(usual).then(pl.lit("common")).otherwise(pl.lit("counter")))


def _spuco_animals(split: str) -> BuiltInBenchmark:
    return LayoutBenchmark(
        name="spuco-animals" if split == "test" else f"spuco-animals?split={split}",
        description="birds on land and water, dogs indoors and outdoors, from ImageNet",
        marks=tuple(_PARTS),
        read=lambda copy: _read(copy, split),
        classes=tuple(_USUAL),
        design=Design(cells=("class_name", "background"), weights={"training": _counts("train")}),
        counts=_counts(split),
        licence="of the code: MIT; of the photos: ImageNet's terms, non-commercial research",
        homepage="https://github.com/BigML-CS-UCLA/SpuCo",
        by_hand="Get spuco_birds and spuco_dogs with the package spuco, and put both folders into one.",
        urls=(
            "https://ucla.box.com/shared/static/zrsx09ik7lqad1e389w06f1c4nbajo9z",
            "https://ucla.box.com/shared/static/u3dkllvq7a2py4x443pqul295wwd549e",
        ),
        cite=("joshi2023spuco", "deng2009imagenet"),
    ).built_in()


SPUCO_ANIMALS = with_options(_spuco_animals, split=("test", "val", "train"))
