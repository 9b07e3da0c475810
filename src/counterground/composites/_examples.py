"""A sheet of composites, for checking seams and halos by eye."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from PIL import Image, ImageDraw

from counterground.composites._plan import KINDS
from counterground.files import atomic_path
from counterground.photos import Benchmark, UnreadablePhoto, load_photo

MOST_EXAMPLES = 200
"""The most foregrounds on a sheet; one of thousands would take gigabytes."""
_SIDE, _GAP, _LINE = 224, 6, 14
_PER_KIND = {"other": 2}


def write_examples(benchmark: Benchmark, path: Path, foregrounds: int) -> None:
    """Write a PNG with one row for each of some foregrounds, spread over all of them: its composites by kind.

    Args:
        benchmark: the composites.
        path: the file.
        foregrounds: number of foregrounds, at most.

    Raises:
        CounterGroundError: the file cannot be written.
    """
    photos = benchmark.photos
    every = photos["foreground"].unique().sort().to_list()
    chosen = every[:: max(1, len(every) // foregrounds)][:foregrounds]
    kinds = [kind for kind in KINDS if (photos["swap"] == kind).any()]
    columns = [(kind, n) for kind in kinds for n in range(_PER_KIND.get(kind, 1))]
    sheet = Image.new("RGB", (len(columns) * (_SIDE + _GAP), len(chosen) * (_SIDE + _LINE + _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, foreground in enumerate(chosen):
        of_one = photos.filter(pl.col("foreground") == foreground)
        for column, (kind, n) in enumerate(columns):
            found = of_one.filter(pl.col("swap") == kind)
            if n >= len(found):
                continue
            place = found.row(n * (len(found) // _PER_KIND.get(kind, 1)), named=True)
            left, top = column * (_SIDE + _GAP), row * (_SIDE + _LINE + _GAP)
            where = f": {place['background']}" if place["background"] else ""
            draw.text((left, top), f"{kind}{where}"[:36], fill="black")
            try:
                image = load_photo(benchmark.photo_source(place["path"])).image
            except UnreadablePhoto as error:
                draw.text((left, top + _LINE), error.reason[:36], fill="red")
                continue
            image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            sheet.paste(image, (left, top + _LINE))
    with atomic_path(path) as draft:
        sheet.save(draft, "PNG")
