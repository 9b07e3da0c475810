"""MetaShift, cats and dogs indoors and outdoors (Liang and Zou 2022), as the authors' script writes it.

Layout, sizes and the groups' file: README.md and dataset/subpopulation_shift_cat_dog_indoor_outdoor.py of
Weixin-Liang/MetaShift. The script takes photos of Visual Genome (GQA's) and links or copies them.
"""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import Any

import polars as pl

from counterground.benchmarks._builtin import BuiltInBenchmark, with_options
from counterground.benchmarks._layout import Copy, LayoutBenchmark
from counterground.errors import CounterGroundError
from counterground.files import MOST_TEXT, open_regular
from counterground.metrics import Design

_GROUPS = "imageID_to_group.pkl"
_USUAL = {"cat": "indoor", "dog": "outdoor"}
_PLACES = ("indoor", "outdoor")
_CELLS = tuple((animal, place) for animal in _USUAL for place in _PLACES)
_FOLDERS = {"test": "val_out_of_domain", "train": "train"}
_COUNTS = {"test": (144, 144, 144, 144), "train": (750, 100, 100, 750)}


class _PlainData(pickle._Unpickler):  # noqa: SLF001 - see the docstring
    """Read dicts, lists and texts only: a pickle could otherwise run any program.

    It is the reader in Python, without arrays of bytes: a few bytes make the one in C allocate gigabytes for
    the pickle's memo, and either for such an array.
    """

    dispatch = {**pickle._Unpickler.dispatch}  # noqa: RUF012, SLF001 - as in the base
    del dispatch[pickle.BYTEARRAY8[0]]

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it holds {module}.{name}, and should hold only texts")


def _places(copy: Copy) -> dict[str, str]:
    """Return indoor or outdoor by the photo's id: the file maps it to a list such as ``['cat(indoor)']``."""
    try:
        with open_regular(copy.root / _GROUPS, MOST_TEXT) as file:
            groups = _PlainData(BytesIO(file.read())).load()
        return {photo: group.partition("(")[2].removesuffix(")") for photo, (group,) in groups.items()}
    except Exception as error:  # a damaged pickle may raise anything, even MemoryError
        reason = str(error) if isinstance(error, OSError | pickle.UnpicklingError) else "it is damaged"
        raise CounterGroundError(f"Cannot read {copy.root / _GROUPS}: {reason}.") from error


def _read(copy: Copy, split: str) -> pl.DataFrame:
    photos = copy.grid(f"{_FOLDERS[split]}/{{class_name}}", class_name=tuple(_USUAL))
    places = _places(copy)
    found = [places.get(path.rpartition("/")[2].rpartition(".")[0]) for path in photos["path"]]
    if None in found:
        path = photos["path"][found.index(None)]
        raise CounterGroundError(
            f"{_GROUPS} does not say where {path} was taken: both must come from one run."
        )
    if unknown := [place for place in found if place not in _PLACES]:
        path = photos["path"][found.index(unknown[0])]
        raise CounterGroundError(
            f"{_GROUPS} says that {path} was taken {unknown[0]!r}; it must be one of {', '.join(_PLACES)}."
        )
    usual = [place == _USUAL[animal] for place, animal in zip(found, photos["class_name"], strict=True)]
    groups = ["common" if each else "counter" for each in usual]
    return photos.with_columns(pl.Series("background", found), pl.Series("group", groups))


def _metashift(split: str) -> BuiltInBenchmark:
    return LayoutBenchmark(
        name="metashift" if split == "test" else f"metashift?split={split}",
        description="cats and dogs, indoors and outdoors, from Visual Genome",
        marks=(_GROUPS, *_FOLDERS.values()),
        read=lambda copy: _read(copy, split),
        classes=tuple(_USUAL),
        design=Design(
            cells=("class_name", "background"),
            weights={"training": dict(zip(_CELLS, _COUNTS["train"], strict=True))},
        ),
        counts=dict(zip(_CELLS, _COUNTS[split], strict=True)),
        licence="of the scripts: MIT; of the photos: Visual Genome's, not verified",
        homepage="https://github.com/Weixin-Liang/MetaShift",
        by_hand="Run dataset/subpopulation_shift_cat_dog_indoor_outdoor.py of Weixin-Liang/MetaShift.",
        cite=("liang2022metashift",),
    ).built_in()


METASHIFT = with_options(_metashift, split=("test", "train"))
