"""CounterAnimal as its authors released it: fetched or given, unpacked, checked against the paper."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from counterground.benchmarks._builtin import BuiltInBenchmark
from counterground.benchmarks._fetch import data_folder, nearest_folders, subfolders
from counterground.errors import CounterGroundError
from counterground.files import cache_dir, read_json
from counterground.metrics import GROUPS
from counterground.photos import Benchmark, read_benchmark, write_benchmark
from counterground.published import load_table
from counterground.text import counted

RELEASE_URL = "https://drive.google.com/uc?id=1SrPF0rgXKy_4z1kXsIYJt-2puM78LbAG"
_REMEDY = (
    "Get the archive by hand from the authors' site, counteranimal.github.io, "
    "and give it with `--from ARCHIVE`."
)


def counteranimal_folder() -> Path:
    """Return where CounterAnimal lies in the cache, fetched or not."""
    return cache_dir() / "benchmarks" / "counteranimal"


def get_counteranimal(
    archive: Path | None = None, *, url: str = RELEASE_URL, show_progress: bool = False
) -> Benchmark:
    """Return CounterAnimal; its ``notes`` state every difference from the paper's classes and group sizes.

    A given archive replaces whatever was there before; photos of two archives never mix.

    Args:
        archive: zip or tar of the release, or the folder it was unpacked to (photos are then not copied);
            without it the authors' file is downloaded, unless CounterAnimal is already in the cache.
        url: where to download from.
        show_progress: show bars for the download and the unpacking on standard error.

    Raises:
        CounterGroundError: the download fails, the archive is unsafe or broken, or no class is the paper's.
        UsageError: ``archive`` does not exist.
    """
    folder = counteranimal_folder()
    if archive is None and is_complete(folder):
        return read_benchmark(folder)
    with data_folder(
        "CounterAnimal", archive, folder, urls=(url,), remedy=_REMEDY, show_progress=show_progress
    ) as unpacked:
        benchmark = read_benchmark(_find_classes(unpacked))
        differences = compare_with_paper(benchmark.photos, benchmark.classes.imagenet)
        benchmark = benchmark.described(name="counteranimal", notes=(*benchmark.notes, *differences))
        write_benchmark(benchmark, folder)
    return benchmark


def is_complete(folder: Path) -> bool:
    """Return whether ``folder`` holds CounterAnimal as ``get_counteranimal`` finishes it."""
    try:
        return bool(read_json(folder / "benchmark.json")["name"] == "counteranimal")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _find_classes(unpacked: Path) -> Path:
    """Return the folder whose grandchildren are ``common-<background>`` and ``counter-<background>``."""
    for folder in nearest_folders(unpacked):
        if any(_is_group(inner) for child in subfolders(folder) for inner in subfolders(child)):
            return folder
    raise CounterGroundError(
        f"{unpacked} holds no folders <class>/common-<background> and <class>/counter-<background>; "
        f"is it the CounterAnimal release? {_REMEDY}"
    )


def _is_group(folder: Path) -> bool:
    return folder.name.startswith(tuple(f"{group}-" for group in GROUPS))


def compare_with_paper(photos: pl.DataFrame, imagenet: tuple[int | None, ...]) -> tuple[str, ...]:
    """Return a sentence per difference from the paper's classes, backgrounds (table 2) and sizes (figure 3).

    Args:
        photos: manifest with ``class_index``, ``background`` and ``group``.
        imagenet: ImageNet index of each class index.

    Raises:
        CounterGroundError: no class of the paper is present.
    """
    classes = load_table("classes").join(
        load_table("group_sizes").drop("note", strict=False), left_on="id", right_on="class_id"
    )
    found = photos.with_columns(
        imagenet_index=pl.col("class_index").map_elements(lambda i: imagenet[i], return_dtype=pl.Int64)
    )
    present = set(found["imagenet_index"].drop_nulls())
    paper = set(classes["imagenet_index"])
    if not present & paper:
        raise CounterGroundError(f"None of the paper's 45 classes is among these photos. {_REMEDY}")
    lines = [
        f"{row['object_label']}: the paper has this class, the archive does not."
        for row in classes.iter_rows(named=True)
        if row["imagenet_index"] not in present
    ]
    extra = found.filter(~pl.col("imagenet_index").is_in(paper) | pl.col("imagenet_index").is_null())
    lines += [
        f"{name}: the archive has this class, the paper does not."
        for name in extra["class_name"].unique(maintain_order=True)
    ]
    for row in classes.iter_rows(named=True):
        if row["imagenet_index"] in present:
            mine = found.filter(pl.col("imagenet_index") == row["imagenet_index"])
            for group in GROUPS:
                lines += _compare_group(row, group, mine.filter(pl.col("group") == group))
    return tuple(lines)


def _compare_group(row: dict[str, object], group: str, photos: pl.DataFrame) -> list[str]:
    label, n = row["object_label"], len(photos)
    found = counted(n, "photo")
    printed, implied = row[f"n_{group}"], row[f"n_{group}_implied"]
    lines = []
    if not n == printed == implied:
        numbers = f"figure 3 of the paper prints {printed}, its accuracies imply {implied}"
        lines.append(f"{label}, {group}: {found}; {numbers}.")
    backgrounds = sorted(set(photos["background"].drop_nulls()))
    expected = row[f"{group}_background"]
    if n and backgrounds != [expected]:
        lines.append(f"{label}, {group}: background {' and '.join(backgrounds)}, the paper has {expected}.")
    return lines


COUNTERANIMAL = BuiltInBenchmark(
    name="counteranimal",
    description="45 animal classes photographed on common and counter backgrounds (Wang et al. 2024)",
    n_photos=13100,
    folder=counteranimal_folder,
    is_ready=lambda: is_complete(counteranimal_folder()),
    get=lambda archive, show_progress: get_counteranimal(archive, show_progress=show_progress),
    cite=("inaturalist",),
)
