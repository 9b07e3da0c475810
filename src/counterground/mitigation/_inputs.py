"""The object of each photo alone, on grey, and its background alone, as benchmarks of composites."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from counterground.composites import Composite, MaskedPhoto
from counterground.errors import CounterGroundError, UsageError
from counterground.inference import Features
from counterground.mitigation._method import Input
from counterground.photos import Benchmark, UnreadablePhoto, photo_id
from counterground.text import counted


def why_no_parts(benchmark: Benchmark) -> str | None:
    """Return what is missing to separate objects from backgrounds, to follow "needs"; None if nothing is."""
    missing = benchmark.photos["mask"].null_count()
    if benchmark.made:
        return f"photos that are files, and those of {benchmark.name} are composites"
    if missing == len(benchmark.photos):
        return f"masks of the objects, and {benchmark.name} has none"
    if missing:
        return f"masks of all objects, and {counted(missing, 'photo')} of {benchmark.name} have none"
    return None


def mask_contents(benchmark: Benchmark) -> list[str]:
    """Return the SHA-256 of the mask of each photo, all of which have one.

    Raises:
        UsageError: a mask cannot be read.
    """
    with ThreadPoolExecutor() as threads:
        return list(threads.map(_content, map(benchmark.mask_path, benchmark.photos["mask"])))


def parts_of_photos(benchmark: Benchmark) -> Iterator[tuple[Input, Benchmark]]:
    """Yield what methods take besides the photos, with the same rows.

    Raises:
        UsageError: a mask cannot be read.
    """
    rows = benchmark.photos.select("path", "photo_id", "mask").rows()
    masked = {
        path: MaskedPhoto(benchmark.photo_path(path), photo, benchmark.mask_path(mask), content)
        for (path, photo, mask), content in zip(rows, mask_contents(benchmark), strict=True)
    }
    recipes: dict[Input, dict[str, Composite]] = {
        "foreground": {path: Composite(each, None) for path, each in masked.items()},
        "background": {path: Composite(None, each) for path, each in masked.items()},
    }
    for name, made in recipes.items():
        names = pl.Series("photo_id", [recipe.photo_id for recipe in made.values()])
        yield name, replace(benchmark, photos=benchmark.photos.with_columns(names), made=made)


def features_of(part: Input, features: Features, readable: np.ndarray) -> np.ndarray:
    """Return the features of a part, ``[n, d]``.

    Raises:
        CounterGroundError: a photo that can be read cannot be taken apart.
    """
    lost = np.flatnonzero(readable & ~features.readable)
    if len(lost):
        raise CounterGroundError(
            f"The {part} of {counted(len(lost), 'photo')} cannot be shown alone "
            f"({features.reasons[int(lost[0])]}): correct the masks, or leave out the methods that need them."
        )
    return features.matrix


def _content(mask: Path) -> str:
    try:
        return photo_id(mask)
    except UnreadablePhoto as error:
        raise UsageError(f"The mask {error.path} cannot be read: {error.reason}.") from error
