"""CounterAnimal as its authors released it, compared with the paper."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from counterground.benchmarks._layout import Copy, LayoutBenchmark
from counterground.errors import CounterGroundError
from counterground.metrics import GROUPS
from counterground.photos import read_benchmark
from counterground.published import load_table
from counterground.text import counted


def _read(copy: Copy) -> pl.DataFrame:
    found = read_benchmark(copy.root)
    imagenet = dict(zip(found.classes.names, found.classes.imagenet, strict=True))
    copy.classes = {name: () if index is None else (index,) for name, index in imagenet.items()}
    copy.notes += [*found.notes, *compare_with_paper(found.photos, imagenet)]
    return found.photos


def compare_with_paper(photos: pl.DataFrame, imagenet: dict[str, int | None]) -> Iterator[str]:
    """Yield a sentence per difference from the paper's classes, backgrounds (table 2) and sizes (figure 3).

    Args:
        photos: manifest with ``class_name``, ``background`` and ``group``.
        imagenet: ImageNet index of each class.

    Raises:
        CounterGroundError: no class of the paper is present.
    """
    paper = load_table("classes").join(
        load_table("group_sizes").drop("note", strict=False), left_on="id", right_on="class_id"
    )
    names = {index: name for name, index in imagenet.items() if index is not None}
    known = set(paper["imagenet_index"])
    if not known & set(names):
        raise CounterGroundError("None of the paper's 45 classes is among these photos: is it CounterAnimal?")
    for absent in paper.filter(~pl.col("imagenet_index").is_in(list(names)))["object_label"]:
        yield f"{absent}: the paper has this class, the archive does not."
    for name, index in imagenet.items():
        if index not in known:
            yield f"{name}: the archive has this class, the paper does not."
    for row in paper.iter_rows(named=True):
        if label := names.get(row["imagenet_index"]):
            for group in GROUPS:
                cell = f"{row['object_label']}, {group}"
                found = photos.filter(class_name=label, group=group)
                printed, implied = row[f"n_{group}"], row[f"n_{group}_implied"]
                if not len(found) == printed == implied:
                    numbers = f"figure 3 of the paper prints {printed}, its accuracies imply {implied}"
                    yield f"{cell}: {counted(len(found), 'photo')}; {numbers}."
                backgrounds = sorted(set(found["background"].drop_nulls()))
                expected = row[f"{group}_background"]
                if len(found) and backgrounds != [expected]:
                    yield f"{cell}: background {' and '.join(backgrounds)}, the paper has {expected}."


def counteranimal() -> LayoutBenchmark:
    """CounterAnimal (Wang et al. 2024): 45 classes of animals on common and counter backgrounds.

    The address is that of the authors' site. Differences from the paper are in the notes, one sentence each.
    """
    return LayoutBenchmark(
        name="counteranimal",
        description="45 animal classes photographed on common and counter backgrounds (Wang et al. 2024)",
        marks=tuple(f"*/{group}-*" for group in GROUPS),
        read=_read,
        classes=(),
        n_photos=13100,
        licence="iNaturalist's, by photo",
        homepage="https://counteranimal.github.io",
        by_hand="Get the archive by hand from the authors' site, counteranimal.github.io.",
        urls=("https://drive.google.com/uc?id=1SrPF0rgXKy_4z1kXsIYJt-2puM78LbAG",),
    )
