"""Spawrious (Lynch et al. 2023): four breeds of dogs, made by a diffusion model, in six places.

Folders, combinations, sizes and the archives' addresses: spawrious/torch.py of aengusl/spawrious; licence:
its README. Training combinations are common, those of the test set counter. The field reports the accuracy on
the test set, which is the accuracy on counter photos here; a model trained on Spawrious has seen the others.
"""

from __future__ import annotations

import polars as pl

from counterground.benchmarks._builtin import BuiltInBenchmark, with_options
from counterground.benchmarks._copy import Copy
from counterground.benchmarks._layout import LayoutBenchmark
from counterground.metrics import Design

_DOGS = ("bulldog", "dachshund", "labrador", "corgi")  # the order of the places below
_SIZE = 3168  # photos of a breed in a place, in each of two environments
_TRAINED = (int(0.97 * _SIZE), int(0.87 * _SIZE))  # of them in training, by environment; the rest is filler
_PLACES = {
    "o2o_easy": ("desert jungle dirt snow", "dirt snow desert jungle", "beach"),
    "o2o_medium": ("mountain beach dirt jungle", "jungle dirt beach snow", "desert"),
    "o2o_hard": ("jungle mountain snow desert", "mountain snow desert jungle", "beach"),
    "m2m_easy": ("desert mountain dirt jungle", "dirt jungle mountain desert", None),
    "m2m_medium": ("beach snow mountain desert", "desert mountain beach snow", None),
    "m2m_hard": ("dirt jungle snow beach", "snow beach dirt jungle", None),
}
_ARCHIVES = {
    "o2o_easy": "kwhiv60ihxe3owy/spawrious224__o2o_easy",
    "o2o_medium": "x03gkhdwar5kht4/spawrious224__o2o_medium",
    "o2o_hard": "p1ry121m2gjj158/spawrious224__o2o_hard",
}
_ENTIRE = "hofkueo8qvaqlp3/spawrious224__entire_dataset"


def _cells(variant: str) -> tuple[dict[tuple[str, ...], float], set[tuple[str, ...]]]:
    """Return the training set's number of photos by breed and place, and the test set's breeds and places."""
    trained, tested, filler = _PLACES[variant]
    usual, other = trained.split(), tested.split()
    shares: dict[tuple[str, ...], float] = {}
    test: set[tuple[str, ...]] = set()
    for number, dog in enumerate(_DOGS):
        pair = [number] if filler else [number, number ^ 1]  # many-to-many: two breeds share two places
        for at in pair:
            shares[dog, usual[at]] = sum(_TRAINED) if filler else _SIZE
            test.add((dog, other[at]))
        if filler:
            shares[dog, filler] = 2 * _SIZE - sum(_TRAINED)
    return shares, test


def _read(copy: Copy, variant: str) -> pl.DataFrame:
    shares, test = _cells(variant)
    filler = _PLACES[variant][2]
    known = (
        "snow",
        "jungle",
        "desert",
        "dirt",
        "mountain",
        "beach",
        "domain_adaptation_ds",
        "0",
        "1",
        *_DOGS,
    )
    parts = []
    for dog, place in sorted({*shares, *test}):
        part = copy.grid(
            "{environment}/{background}/{class_name}",
            ignored=known,
            environment=("0", "1") if filler else ("0",),
            background=(place,),
            class_name=(dog,),
        )
        group = "counter" if (dog, place) in test else None if place == filler else "common"
        parts.append(part.drop("environment").with_columns(group=pl.lit(group, pl.String)))
    return pl.concat(parts)


def _spawrious(variant: str) -> BuiltInBenchmark:
    shares, test = _cells(variant)
    size = 2 * _SIZE if _PLACES[variant][2] else _SIZE
    archive = _ARCHIVES.get(variant, _ENTIRE)
    return LayoutBenchmark(
        name="spawrious" if variant == "o2o_hard" else f"spawrious?variant={variant}",
        description="four breeds of dogs in six places, made by a diffusion model",
        marks=("0",),
        read=lambda copy: _read(copy, variant),
        classes=tuple(sorted(_DOGS)),
        design=Design(cells=("class_name", "background"), weights={"training": shares}),
        counts=dict.fromkeys([*shares, *sorted(test)], size),
        licence="MIT",
        homepage="https://github.com/aengusl/spawrious",
        by_hand=f"Get {archive.partition('/')[2]}.tar.gz by the links of aengusl/spawrious.",
        urls=(f"https://www.dropbox.com/s/{archive}.tar.gz?dl=1",),
        cite=("lynch2023spawrious",),
    ).built_in()


SPAWRIOUS = with_options(
    _spawrious,
    variant=("o2o_hard", "o2o_medium", "o2o_easy", "m2m_hard", "m2m_medium", "m2m_easy"),
)
