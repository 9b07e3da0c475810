"""NICO++ (Zhang et al. 2023): 60 classes in six contexts that all of them share.

Contexts and classes: README.md of xxgege/NICO-plus, and the folders of the download as several readers of it
list them (``public_dg_0416/train/<context>/<class>``); that it has six contexts of the paper's ten, and a
flat test folder without labels: issue 1 there. Not verified: the number of photos, which one reader states;
the licence.

The field reports the accuracy in each context, left out of training in turn. The contrasts are ours: all
photos against those of one context, within the class.
"""

from __future__ import annotations

import polars as pl

from counterground.benchmarks._layout import Copy, LayoutBenchmark
from counterground.metrics import Contrast, Design

_CONTEXTS = ("autumn", "dim", "grass", "outdoor", "rock", "water")
_NAMES = """
airplane bear bicycle bird bus butterfly cactus car cat chair clock corn cow crab crocodile dog dolphin
elephant fishing_rod flower football fox frog giraffe goose gun hat helicopter horse hot_air_balloon
kangaroo lifeboat lion lizard mailbox monkey motorcycle ostrich owl pineapple pumpkin rabbit racket
sailboat scooter seal sheep ship shrimp spider squirrel sunflower tent tiger tortoise train truck
umbrella wheat wolf
"""
_CLASSES = tuple(name.replace("_", " ") for name in _NAMES.split())


def _read(copy: Copy) -> pl.DataFrame:
    return copy.grid("{background}/{class_name}", background=_CONTEXTS, class_name=_CLASSES)


NICO = LayoutBenchmark(
    name="nico++",
    description="60 classes in autumn, in dim light, on grass, outdoors, on rock and in water",
    marks=_CONTEXTS,
    read=_read,
    classes=_CLASSES,
    design=Design(
        cells=("class_name", "background"),
        contrasts=tuple(Contrast.parse(f"{name}: all - background={name}") for name in _CONTEXTS),
    ),
    n_photos=88866,
    licence="not verified",
    homepage="https://github.com/xxgege/NICO-plus",
    by_hand="Get the archive of track 1 by the links of xxgege/NICO-plus.",
    cite=("zhang2023nico",),
).built_in()
