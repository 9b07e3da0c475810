"""Waterbirds (Sagawa et al. 2020): birds of CUB on backgrounds of Places.

Layout, codes, averages and the archive's address: README.md and data/cub_dataset.py of kohpangwei/group_DRO,
and WILDS' waterbirds_dataset.py, which also states the licence. Group sizes: as several repositories that
read ``metadata.csv`` state them, the training ones as in the paper.
"""

from __future__ import annotations

import polars as pl

from counterground.benchmarks._builtin import BuiltInBenchmark, with_options
from counterground.benchmarks._layout import Copy, LayoutBenchmark
from counterground.metrics import Design

_SPLITS = {"train": "0", "val": "1", "test": "2"}
_BIRDS = {"0": "landbird", "1": "waterbird"}
_PLACES = {"0": "land", "1": "water"}
_CELLS = (("landbird", "land"), ("landbird", "water"), ("waterbird", "land"), ("waterbird", "water"))
_COUNTS = {"train": (3498, 184, 56, 1057), "val": (467, 466, 133, 133), "test": (2255, 2255, 642, 642)}


def _read(copy: Copy, split: str) -> pl.DataFrame:
    splits = {code: name for name, code in _SPLITS.items()}
    meanings = {"img_filename": None, "y": _BIRDS, "place": _PLACES, "split": splits, "place_filename": None}
    rows = copy.table("metadata.csv", meanings).filter(pl.col("split") == split)
    usual = pl.col("y").str.starts_with(pl.col("place"))
    return rows.select(
        path="img_filename",
        class_name="y",
        background="place",
        group=pl.when(usual).then(pl.lit("common")).otherwise(pl.lit("counter")),
        cluster="place_filename",
    )


def _waterbirds(split: str) -> BuiltInBenchmark:
    return LayoutBenchmark(
        name="waterbirds" if split == "test" else f"waterbirds?split={split}",
        description="landbirds and waterbirds, cut out and placed on land and on water",
        marks=("metadata.csv",),
        read=lambda copy: _read(copy, split),
        classes=tuple(_BIRDS.values()),
        design=Design(
            cells=("class_name", "background"),
            weights={"training": dict(zip(_CELLS, _COUNTS["train"], strict=True))},
        ),
        counts=dict(zip(_CELLS, _COUNTS[split], strict=True)),
        licence="non-commercial research and education",
        homepage="https://github.com/kohpangwei/group_DRO",
        by_hand="Get waterbird_complete95_forest2water2.tar.gz as the README of kohpangwei/group_DRO says.",
        urls=("https://nlp.stanford.edu/data/dro/waterbird_complete95_forest2water2.tar.gz",),
        cite=("sagawa2020groupdro", "wah2011cub", "zhou2017places"),
    ).built_in()


WATERBIRDS = with_options(_waterbirds, split=("test", "val", "train"))
