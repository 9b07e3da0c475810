"""Masks for the photos of a benchmark, from any source, into one folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from counterground.errors import UsageError, did_you_mean
from counterground.files import cache_dir, check_apart, check_only, relative_way, write_bytes
from counterground.masks._coco import coco_boxes, coco_source
from counterground.masks._decisions import DECISIONS_FILE, REDRAWN
from counterground.masks._masks import (
    DESCRIPTION_FILE,
    FILES,
    TABLE_FILE,
    TABLE_SCHEMA,
    Masks,
    broken_limits,
    is_masks_folder,
    measure,
    read_description,
    read_masks,
    write_description,
    write_table,
)
from counterground.masks._sources import (
    Box,
    Found,
    MaskRequest,
    MaskSource,
    alpha_of,
    box_mask,
    folder_source,
    grabcut_source,
    manifest_mask,
    read_mask,
)
from counterground.photos import BOX, Benchmark, UnreadablePhoto, photo_id, photo_size
from counterground.progress import progress_bar
from counterground.settings import MaskSettings

Boxes = Mapping[str, tuple[Box, ...]]
"""The known boxes of each photo's object, by its path."""


def with_masks(
    benchmark: Benchmark, source: str | Path, *, settings: MaskSettings | None = None
) -> Benchmark:
    """Return the benchmark with a mask for each photo that has a usable one, and null for the others.

    Each mask is a PNG of the photo's size, 0 to 255, white is object (`Benchmark.mask_path`).

    Args:
        benchmark: the photos.
        source: a folder that `make_masks` wrote, whose review counts; or a source of `make_masks`, whose
            masks are made in the cache.
        settings: see `make_masks`.

    Raises:
        UsageError: see `make_masks`; or settings for masks that exist.
        CounterGroundError: see `make_masks`; or no photo has a usable mask.
        MissingExtraError: a package is not installed.
    """
    if not is_masks_folder(Path(source)):
        return make_masks(benchmark, source, settings=settings).apply(benchmark)
    if settings is not None and settings.given():
        raise UsageError(
            f"{source} holds masks that are already made: leave out the settings, or make masks with them "
            "in another folder."
        )
    return read_masks(source).apply(benchmark)


def make_masks(
    benchmark: Benchmark,
    source: str | Path,
    folder: Path | str | None = None,
    *,
    settings: MaskSettings | None = None,
) -> Masks:
    """Read or make a mask for each photo, check it, and write one PNG per photo and a table into a folder.

    Nothing is guessed: a photo without a usable mask has a reason in ``masks.csv``. An interrupted call
    resumes where it stopped; two concurrent calls do no harm.

    Args:
        benchmark: the photos.
        source: ``manifest`` (masks that the benchmark names), ``alpha`` (of the photos), a folder of PNGs
            named after the photos, a COCO JSON file (polygons, RLE, panoptic), ``boxes``, ``grabcut``
            (rough), ``rembg:NAME`` or ``hf:NAME`` (models).
        folder: where the masks are written: new, empty, or made by the same call before; None: one in the
            cache.
        settings: how they are read, made and judged; None for the defaults.

    Raises:
        UsageError: an unknown source, a licence that is not accepted, a folder that holds something else, or
            photos that are composites.
        CounterGroundError: a file of the source is damaged, weights cannot be obtained, or ``folder`` cannot
            be written.
        MissingExtraError: a package is not installed.
    """
    settings, source = settings or MaskSettings(), str(source)
    benchmark.check_files("make masks of")
    if folder is not None and Path(source).is_dir():
        check_apart(Path(folder), Path(source), "the folder of the masks that are read")
    boxes = _known_boxes(benchmark, settings)
    opened = _open_source(source, benchmark, settings)
    if opened.needs_boxes and not boxes:
        raise UsageError(
            f"{source} starts from the box of each object, and the photos have none: give --boxes FILE.json, "
            "columns box_x, box_y, box_width and box_height or, for grabcut, a margin (-X inset=10%)."
        )
    description = _description(benchmark, source, opened, boxes, settings)
    if folder is None:  # one for all that decides masks: other annotations have another
        key = json.dumps([description["key"], description["settings"]], sort_keys=True)
        folder = cache_dir() / "masks" / hashlib.sha256(key.encode()).hexdigest()[:16]
    to = Path(folder)
    description["photos"] = relative_way(to, benchmark.root)
    _claim(to, description, overwrite=settings.overwrite)
    rows = []
    with (
        progress_bar("Masks", total=len(benchmark), shown=settings.show_progress) as bar,
        ThreadPoolExecutor(1 if opened.slow else min(4, os.cpu_count() or 1)) as pool,
    ):
        row_of = partial(_row, benchmark=benchmark, folder=to, source=opened, settings=settings)
        for row in pool.map(
            lambda photo: row_of(photo, boxes.get(photo["path"], ())), benchmark.photos.iter_rows(named=True)
        ):
            rows.append(row)
            bar.advance()
    write_table(to, pl.DataFrame(rows, schema=TABLE_SCHEMA), description)
    return read_masks(to)


def _description(
    benchmark: Benchmark, source: str, opened: MaskSource, boxes: Boxes, settings: MaskSettings
) -> dict[str, Any]:
    """Return ``masks.json``; masks of one ``key`` are the same, whatever limits judge them."""
    weights, notes, given = opened.weights, list(opened.notes), settings.given()
    if weights is not None:
        notes.append(
            f"Masks were made by {weights.name}, under the licence of its weights ({weights.licence})."
        )
    decides = {
        "benchmark": {"name": benchmark.name, "version": benchmark.version},
        "made_by": opened.record or {},
        "weights": weights and weights._asdict(),
    }
    way = {name: value for name, value in given.items() if not name.startswith(("max_", "min_"))}
    place = str(Path(source).resolve()) if Path(source).exists() else source
    key = json.dumps([decides, way, place, sorted(boxes.items())], sort_keys=True)
    content = decides | {
        "key": hashlib.sha256(key.encode()).hexdigest(),
        "source": source,
        "origin": opened.origin,
        "rough": opened.rough,
        "settings": given,
        "notes": notes,
    }
    return json.loads(json.dumps(content))  # type: ignore[no-any-return] # as it is read back


def _claim(folder: Path, description: dict[str, Any], *, overwrite: bool) -> None:
    """Write what the folder is for; the same may already be there."""
    check_only(folder, (DESCRIPTION_FILE, TABLE_FILE, FILES, DECISIONS_FILE, REDRAWN), "masks")
    before = read_description(folder) if is_masks_folder(folder) else description
    if before.get("key") != description["key"]:
        if not overwrite:
            raise UsageError(
                f"{folder} holds other masks (another benchmark, source or setting): choose another folder, "
                "or add --overwrite."
            )
        shutil.rmtree(folder / FILES, ignore_errors=True)
    if before != description:  # until all masks are judged again, none is
        (folder / TABLE_FILE).unlink(missing_ok=True)
    write_description(folder, description)


def _row(
    photo: dict[str, Any],
    boxes: tuple[Box, ...],
    *,
    benchmark: Benchmark,
    folder: Path,
    source: MaskSource,
    settings: MaskSettings,
) -> dict[str, Any]:
    """Find, check and write the mask of one photo; return its row of ``masks.csv``."""
    path = photo["path"]
    name = f"{FILES}/{path}.png"
    target = folder / name
    try:
        file = benchmark.photo_path(path)
        mask = None if photo["mask"] is None else benchmark.mask_path(photo["mask"])
        request = MaskRequest(path, file, photo["class_name"], mask, photo_size(file), boxes)
        found = Found(None)
        if source.slow and target.is_file():
            found = read_mask(target, request.size)
        if found.mask is None:
            found = source.find(request)
        if photo_id(file) != photo["photo_id"]:
            found = Found(None, "photo changed")
    except UnreadablePhoto as error:
        found = Found(None, "unreadable", error.reason)
    row = {name: photo[name] for name in ("path", "photo_id", "class_name")}
    row["origin"] = source.origin
    row["detail"] = found.detail or None
    if found.mask is None:
        target.unlink(missing_ok=True)
        return row | {"reason": found.reason}
    written = BytesIO()
    Image.fromarray(found.mask).save(written, "PNG")
    if not target.is_file() or target.read_bytes() != written.getvalue():
        write_bytes(target, written.getvalue(), sync=False)  # reading detects a damaged PNG
    quality = measure(found.mask, boxes)
    reasons = [found.reason] if found.reason else broken_limits(quality, settings)
    return row | quality._asdict() | {"mask": name, "reason": "; ".join(reasons) or None}


def _open_source(source: str, benchmark: Benchmark, settings: MaskSettings) -> MaskSource:
    """Return the source that a text names (see `make_masks`).

    Raises:
        UsageError: there is no such source, it lacks what it needs, or its weights' licence is not accepted.
        CounterGroundError: its files cannot be read.
        MissingExtraError: a package is not installed.
    """
    words: dict[str, Callable[[], MaskSource]] = {
        "manifest": lambda: MaskSource("manifest", manifest_mask),
        "alpha": lambda: MaskSource("alpha", alpha_of),
        "boxes": lambda: MaskSource("boxes", box_mask, rough=True, needs_boxes=True),
        "grabcut": lambda: grabcut_source(settings),
    }
    if source in words:
        return words[source]()
    if source.startswith(("rembg:", "hf:")):
        from counterground.masks._models import hf_source, rembg_source

        if source.startswith("rembg:"):
            return rembg_source(source, settings.accept_licences)
        classes = benchmark.photos["class_name"].unique().sort().to_list()
        return hf_source(source, classes, settings)
    path = Path(source)
    if path.is_dir():
        return folder_source(path, benchmark)
    if path.suffix.lower() == ".json" and path.is_file():
        return coco_source(path, benchmark, settings)
    raise UsageError(
        f"{source!r} is not a source of masks: name {', '.join(words)}, a folder of PNGs, a COCO JSON file, "
        f"rembg:NAME or hf:NAME.{did_you_mean(source, words)}"
    )


def _known_boxes(benchmark: Benchmark, settings: MaskSettings) -> Boxes:
    """Return the boxes of the objects: from annotations if given, else from the columns ``BOX``.

    Raises:
        UsageError: see `coco_boxes`.
        CounterGroundError: the annotations cannot be read.
    """
    if settings.boxes is not None:
        return coco_boxes(settings.boxes, benchmark, settings)
    if not set(BOX) <= set(benchmark.photos.columns):
        return {}
    rows = benchmark.photos.select("path", *BOX).drop_nulls().filter(pl.all_horizontal(pl.col(BOX[2:]) > 0))
    return {path: ((left, top, width, height),) for path, left, top, width, height in rows.iter_rows()}
