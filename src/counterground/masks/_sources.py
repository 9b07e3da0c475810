"""Which source of masks a text names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from counterground.errors import UsageError, did_you_mean
from counterground.masks._boxes import boxes_source, grabcut_source
from counterground.masks._coco import coco_boxes, coco_source
from counterground.masks._files import alpha_source, folder_source, manifest_source
from counterground.masks._found import Box, MaskSource
from counterground.masks._settings import MaskSettings
from counterground.photos import BOX, Benchmark

_WORDS = ("manifest", "alpha", "boxes", "grabcut")
_KNOWN = f"{', '.join(_WORDS)}, a folder of PNGs, a COCO JSON file, rembg:NAME or hf:NAME"

Boxes = Mapping[str, tuple[Box, ...]]
"""The known boxes of each photo's object, by its path."""


def open_source(
    source: str, benchmark: Benchmark, boxes: Boxes, settings: MaskSettings, accept_licences: Sequence[str]
) -> MaskSource:
    """Return the source that a text names (see `make_masks`).

    Raises:
        UsageError: there is no such source, it lacks what it needs, or its weights' licence is not accepted.
        CounterGroundError: its files cannot be read.
        MissingExtraError: a package is not installed.
    """
    path = Path(source)
    if source.startswith("rembg:"):
        from counterground.masks.models import rembg_source

        return rembg_source(source, accept_licences)
    if source.startswith("hf:"):
        from counterground.masks.models import hf_source

        classes = benchmark.photos["class_name"].unique().sort().to_list()
        return hf_source(source, classes, settings, accept_licences, any_box=bool(boxes))
    if source in _WORDS:
        return _named(source, benchmark, boxes, settings)
    if path.is_dir():
        return folder_source(path, benchmark)
    if path.suffix.lower() != ".json":
        raise UsageError(f"{source!r} is not a source of masks: name {_KNOWN}.{did_you_mean(source, _WORDS)}")
    if not path.is_file():
        raise UsageError(f"There is no file {source}.")
    return coco_source(path, benchmark, settings)


def _named(source: str, benchmark: Benchmark, boxes: Boxes, settings: MaskSettings) -> MaskSource:
    if source == "manifest":
        return manifest_source(benchmark)
    if source == "alpha":
        return alpha_source()
    if source == "grabcut":
        return grabcut_source(settings, any_box=bool(boxes))
    if not boxes:
        raise UsageError(
            "The photos have no boxes: give --boxes FILE.json, or columns box_x, box_y, box_width and "
            "box_height."
        )
    return boxes_source()


def known_boxes(benchmark: Benchmark, settings: MaskSettings) -> Boxes:
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
