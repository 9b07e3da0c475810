"""Lay out natural photos of animals from Debian's gcompris-qt-data as a benchmark with boxes.

python scripts/gcompris_photos.py DIR    # then DIR/photos.csv is the benchmark

The package has 57 photos. Those whose animal is, judged by eye, one of ImageNet's classes are listed in
``gcompris_photos.csv``, with the visible background and a hand-drawn box around the animal, in percent of the
photo. apt fetches the package into the cache; its photos are under the GPL, and none is in this repository.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

from PIL import Image

from counterground.files import cache_dir

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))
from rcc import animal_photos  # noqa: E402  # the reader of Qt's resource files that tests use

COLUMNS = ("path", "class_name", "background", "box_x", "box_y", "box_width", "box_height")


def main() -> None:
    """Write the photos, and ``photos.csv`` with boxes in pixels."""
    folder = Path(sys.argv[1])
    contents = animal_photos(cache_dir())
    with (HERE / "gcompris_photos.csv").open(encoding="utf-8", newline="") as file:
        shown = list(csv.DictReader(file))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "photos.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in shown:
            photo = folder / f"{row['photo']}.webp"
            photo.parent.mkdir(parents=True, exist_ok=True)
            photo.write_bytes(contents[row["photo"]])
            width, height = Image.open(io.BytesIO(contents[row["photo"]])).size
            left, right = (round(width * int(row[side]) / 100) for side in ("left", "right"))
            top, bottom = (round(height * int(row[side]) / 100) for side in ("top", "bottom"))
            named = (photo.relative_to(folder).as_posix(), row["class_name"], row["background"])
            writer.writerow([*named, left, top, right - left, bottom - top])
    print(f"{len(shown)} photos: {folder / 'photos.csv'}")


if __name__ == "__main__":
    main()
