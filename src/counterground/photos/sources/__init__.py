"""Manifests that people have: tables, COCO, photos behind URLs, questions."""

from __future__ import annotations

from counterground.photos.sources._coco import CocoFile, coco_box, is_pixels, read_coco, read_coco_file
from counterground.photos.sources._fetched import FileLoop, HostBudgets, ReceivedBytes, problem_of_url
from counterground.photos.sources._mm_spubench import is_mm_spubench, read_mm_spubench
from counterground.photos.sources._source import (
    Source,
    benchmark_of_rows,
    expand_braces,
    find_column,
    is_web,
    names_source,
    parse_source,
)

__all__ = [
    "CocoFile",
    "FileLoop",
    "HostBudgets",
    "ReceivedBytes",
    "Source",
    "benchmark_of_rows",
    "coco_box",
    "expand_braces",
    "find_column",
    "is_mm_spubench",
    "is_pixels",
    "is_web",
    "names_source",
    "parse_source",
    "problem_of_url",
    "read_coco",
    "read_coco_file",
    "read_mm_spubench",
]
