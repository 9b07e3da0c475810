"""Exports with photos as files in folders: the CounterAnimal layout, and our manifest beside its photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from counterground.construction.exports._copying import Tick, copy_photos
from counterground.construction.exports._format import ExportFormat
from counterground.construction.exports._layout import Contents, counteranimal_paths
from counterground.photos import imagenet_names, write_benchmark


def write_folder(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write photos, ``photos.parquet``, the classes and ``benchmark.json``."""
    copy_photos(contents, folder, tick)
    write_benchmark(replace(contents.benchmark, root=folder), folder)


def _write_counteranimal(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write the CounterAnimal layout with its names file.

    Our manifest is beside the folders: clusters, licences and credits have no place in folder names.
    Readers of the layout do not see it; ours uses it, and reads only the folders if it is gone.
    """
    write_folder(contents, folder, tick)
    space = contents.benchmark.classes
    if all(index is not None for index in space.imagenet):
        names, file = imagenet_names("wordnet"), "imagenet_names.txt"
    else:
        names, file = space.names, "class_names.txt"
    lines = [f"{index}\t{' '.join(name.split())}\n" for index, name in enumerate(names)]
    (folder / file).write_text("".join(lines), encoding="utf-8", newline="\n")


PARQUET = ExportFormat(
    name="parquet",
    summary="Photos in folders, and a manifest (`photos.parquet`) with one row for each.",
    reader='import polars as pl\n\nphotos = pl.read_parquet("photos.parquet")',
    write=write_folder,
)
COUNTERANIMAL = ExportFormat(
    name="counteranimal",
    summary="The layout of CounterAnimal (`<class>/<group>-<background>/`), and a manifest.",
    reader='from torchvision.datasets import ImageFolder\n\nphotos = ImageFolder(".")',
    write=_write_counteranimal,
    lay_out=counteranimal_paths,
)
