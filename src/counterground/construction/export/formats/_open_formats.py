"""Exports whose photos lie open in folders: the CounterAnimal layout, and our manifest beside its photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from counterground.construction.export._copying import Tick, copy_photos
from counterground.construction.export._layout import Contents
from counterground.photos import imagenet_names, write_benchmark


def write_parquet_folder(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write photos, ``photos.parquet``, ``label_space.json`` and ``benchmark.json``."""
    copy_photos(contents, folder, tick)
    write_benchmark(replace(contents.benchmark, root=folder), folder)


def write_counteranimal(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write the CounterAnimal layout with its names file.

    Our manifest lies beside the folders: clusters, licences and credits have no place in folder names.
    Readers of the layout do not see it; ours takes it, and reads the folders alone where it is gone.
    """
    write_parquet_folder(contents, folder, tick)
    space = contents.benchmark.label_space
    if all(index is not None for index in space.imagenet):
        names, file = imagenet_names("wordnet"), "imagenet_names.txt"
    else:
        names, file = space.names, "class_names.txt"
    lines = [f"{index}\t{' '.join(name.split())}\n" for index, name in enumerate(names)]
    (folder / file).write_text("".join(lines), encoding="utf-8", newline="\n")
