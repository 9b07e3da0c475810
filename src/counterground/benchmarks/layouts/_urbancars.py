"""UrbanCars (Li et al. 2023): urban and country cars, each with a background and an object beside it.

Folders, sizes and gaps: dataset/urbancars.py, create_datasets/urbancars/gen_urbancars.py and
urbancars_trainers/base_trainer.py of facebookresearch/Whac-A-Mole. The gaps have the opposite sign here: what
is lost against the accuracy in the distribution of the training set. The photos are not published: the script
makes them.
"""

from __future__ import annotations

import polars as pl

from counterground.benchmarks._builtin import BuiltInBenchmark, with_options
from counterground.benchmarks._layout import Copy, LayoutBenchmark
from counterground.metrics import Contrast, Design

_KINDS = ("urban", "country")
_AGREE = ("common", "uncommon")
_SHARES = {"common": 0.95, "uncommon": 0.05}
_CLASSES = {kind: f"{kind} car" for kind in _KINDS}
_CELLS = [(name, bg, co) for name in _CLASSES.values() for bg in _AGREE for co in _AGREE]


def _read(copy: Copy, split: str) -> pl.DataFrame:
    photos = copy.grid(
        f"bg-0.5_co_occur_obj-0.5/{split}/obj-{{class_name}}_bg-{{background}}_co_occur_obj-{{co_object}}",
        suffixes=(".jpg",),  # masks are PNG
        class_name=_CLASSES,
        background=_KINDS,
        co_object=_KINDS,
    )
    own = pl.col("class_name").str.extract(r"(\w+)")
    agree = {
        short: pl.when(pl.col(column) == own).then(pl.lit("common")).otherwise(pl.lit("uncommon"))
        for short, column in (("bg", "background"), ("co", "co_object"))
    }
    return photos.with_columns(mask=pl.col("path").str.replace(r"\.jpg$", "_mask.png"), **agree)


def _urbancars(split: str) -> BuiltInBenchmark:
    return LayoutBenchmark(
        name="urbancars" if split == "test" else f"urbancars?split={split}",
        description="urban and country cars, with a typical or atypical background and nearby object",
        marks=("bg-0.5_co_occur_obj-0.5",),
        read=lambda copy: _read(copy, split),
        classes=tuple(_CLASSES.values()),
        design=Design(
            cells=("class_name", "bg", "co"),
            contrasts=(
                Contrast.parse("bg_gap: average(training) - bg=uncommon & co=common"),
                Contrast.parse("co_gap: average(training) - bg=common & co=uncommon"),
                Contrast.parse("both_gap: average(training) - bg=uncommon & co=uncommon"),
            ),
            weights={"training": {cell: _SHARES[cell[1]] * _SHARES[cell[2]] for cell in _CELLS}},
        ),
        counts=dict.fromkeys(_CELLS, 125),
        licence="of Stanford Cars, Places and LVIS, from which it is made; not verified",
        homepage="https://github.com/facebookresearch/Whac-A-Mole",
        by_hand="Make it with create_urbancars.sh of facebookresearch/Whac-A-Mole.",
        cite=("li2023whacamole",),
    ).built_in()


URBANCARS = with_options(_urbancars, split=("test", "val"))
