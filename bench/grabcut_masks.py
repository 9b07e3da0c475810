"""How good are the masks that GrabCut makes from boxes? Compared with the true alpha of `stamps`.

python bench/grabcut_masks.py [PHOTOS] [--sheet FILE.png]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

import counterground as cg
from counterground.masks import Masks, make_masks
from counterground.photos import BOX, Benchmark, sample_photos
from counterground.settings import MaskSettings

WAYS = {
    "true box": MaskSettings(),
    "no box, margin of 10 %": MaskSettings(inset=0.1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=int, nargs="?", default=60)
    parser.add_argument("--sheet", type=Path, help="Write photos, true masks and made masks side by side.")
    options = parser.parse_args()
    boxed = with_boxes(sample_photos(cg.open_benchmark("stamps"), options.photos))
    unboxed = replace(boxed, photos=boxed.photos.drop(BOX))
    made = {}
    print(f"{'':32}  usable  their IoU  IoU of all  median  worst  above 0.9  error of alpha  CPU s a photo")
    with tempfile.TemporaryDirectory() as folder:
        for way, settings in WAYS.items():
            start = time.process_time()
            masks = make_masks(
                unboxed if settings.inset else boxed, "grabcut", Path(folder) / way, settings=settings
            )
            seconds = (time.process_time() - start) / len(boxed)
            found = {path: read(masks.folder / mask) for path, mask in files_of(masks)}
            made[way] = found
            ious, errors = compared(boxed, found)
            usable = masks.table["reason"].is_null().to_numpy()
            print(
                f"{way:32}  {masks.usable:6}  {np.mean(np.array(ious)[usable]):9.3f}  {np.mean(ious):10.3f}  "
                f"{np.median(ious):6.3f}  {min(ious):5.3f}  "
                f"{np.mean(np.array(ious) > 0.9):9.0%}  {np.mean(errors):14.3f}  {seconds:13.2f}",
                flush=True,
            )
            print(f"{'':32}  {masks.reasons()}")
        if options.sheet:
            write_sheet(boxed, made, options.sheet)


def with_boxes(benchmark: Benchmark) -> Benchmark:
    """Add the bounding box of each true mask as the object's box."""
    boxes = []
    for mask in benchmark.photos["mask"]:
        inside = read(benchmark.mask_path(mask)) >= 128
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        boxes.append((columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1))
    columns = {
        name: list(map(float, values)) for name, values in zip(BOX, zip(*boxes, strict=True), strict=True)
    }
    return replace(benchmark, photos=benchmark.photos.with_columns(pl.DataFrame(columns)))


def files_of(masks: Masks) -> list[tuple[str, str]]:
    return masks.table.drop_nulls("mask").select("path", "mask").rows()


def compared(benchmark: Benchmark, found: dict[str, np.ndarray]) -> tuple[list[float], list[float]]:
    """Return for each photo IoU at 128, and mean error of alpha (0 to 1) in the box; no mask: 0 and 1."""
    ious, errors = [], []
    for row in benchmark.photos.iter_rows(named=True):
        true = read(benchmark.mask_path(row["mask"]))
        mask = found.get(row["path"])
        if mask is None:
            ious.append(0.0)
            errors.append(1.0)
            continue
        both, either = (true >= 128) & (mask >= 128), (true >= 128) | (mask >= 128)
        left, top, width, height = (int(row[name]) for name in BOX)
        box = np.s_[top : top + height, left : left + width]
        ious.append(float(both.sum() / either.sum()))
        errors.append(float(np.abs(true[box].astype(float) - mask[box]).mean() / 255))
    return ious, errors


def read(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("L"))


def write_sheet(benchmark: Benchmark, made: dict[str, dict[str, np.ndarray]], file: Path) -> None:
    """Write a row for each photo: the photo, its true mask, and the object cut out by each mask."""
    side, rows = 160, benchmark.photos.rows(named=True)
    sheet = Image.new("RGB", (side * (2 + len(made)), side * len(rows)), "white")
    for number, row in enumerate(rows):
        photo = Image.open(benchmark.photo_path(row["path"])).convert("RGB")
        true = Image.open(benchmark.mask_path(row["mask"])).convert("L")
        pictures = [photo, true.convert("RGB")]
        for found in made.values():
            mask = found.get(row["path"])
            cut = Image.new("RGB", photo.size, "magenta")
            if mask is not None:
                cut.paste(photo, mask=Image.fromarray(mask))
            pictures.append(cut)
        for column, picture in enumerate(pictures):
            sheet.paste(picture.resize((side, side)), (column * side, number * side))
        ImageDraw.Draw(sheet).text((4, number * side + 4), row["class_name"], fill="yellow")
    sheet.save(file)


if __name__ == "__main__":
    main()
