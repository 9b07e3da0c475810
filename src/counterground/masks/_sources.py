"""Which source of masks a text names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from counterground.errors import UsageError
from counterground.masks._files import alpha_source, folder_source, manifest_source
from counterground.masks._found import Box, MaskSource
from counterground.masks._settings import MaskSettings
from counterground.photos import BOX, Benchmark

_KNOWN = "manifest, alpha, a folder of PNGs, a COCO JSON file, boxes, grabcut, rembg:NAME or hf:NAME"


def open_source(
    source: str, benchmark: Benchmark, settings: MaskSettings, accept_licences: Sequence[str]
) -> MaskSource:
    """Return the source that a text names (see `make_masks`).

    Raises:
        UsageError: there is no such source, or its weights' licence is not accepted.
        CounterGroundError: its files cannot be read.
    """
    if source == "manifest":
        return manifest_source(benchmark)
    if source == "alpha":
        return alpha_source()
    if Path(source).is_dir():
        return folder_source(Path(source), benchmark)
    raise UsageError(f"{source!r} is no source of masks: name {_KNOWN}.")


def photo_boxes(benchmark: Benchmark, settings: MaskSettings) -> Mapping[str, tuple[Box, ...]]:
    """Return the known boxes of the photos' objects by path, of the manifest's columns ``BOX``."""
    if not set(BOX) <= set(benchmark.photos.columns):
        return {}
    rows = benchmark.photos.select("path", *BOX).drop_nulls().filter(pl.all_horizontal(pl.col(BOX[2:]) > 0))
    return {path: (tuple(box),) for path, *box in rows.iter_rows()}
