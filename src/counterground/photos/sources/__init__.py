"""Manifests that people have: tables, COCO, photos behind URLs."""

from __future__ import annotations

from counterground.photos.sources._coco import CocoFile, coco_box, is_pixels, read_coco, read_coco_file
from counterground.photos.sources._fetched import FileLoop, problem_of_url
from counterground.photos.sources._source import (
    Source,
    benchmark_of_rows,
    expand_braces,
    is_web,
    names_source,
    parse_source,
)

__all__ = [
    "CocoFile",
    "FileLoop",
    "Source",
    "benchmark_of_rows",
    "coco_box",
    "expand_braces",
    "is_pixels",
    "is_web",
    "names_source",
    "parse_source",
    "problem_of_url",
    "read_coco",
    "read_coco_file",
]
