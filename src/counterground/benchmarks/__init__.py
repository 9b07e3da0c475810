"""Benchmarks: the built-in ones by name, how they are made, and the photographs they are made from."""

from counterground.benchmarks._builtin import BuiltInBenchmark, FolderReader
from counterground.benchmarks._layout import Copy, LayoutBenchmark, with_options
from counterground.benchmarks._packages import open_packages
from counterground.benchmarks._registry import (
    benchmark_folder,
    benchmark_names,
    get_benchmark,
    list_benchmarks,
    open_apart,
    open_benchmark,
)
from counterground.benchmarks.stamps import (
    Background,
    Cutout,
    StampsSettings,
    build_stamps,
    composite,
    cutouts_shown,
    load_backgrounds,
    load_cutouts,
)

__all__ = [
    "Background",
    "BuiltInBenchmark",
    "Copy",
    "Cutout",
    "FolderReader",
    "LayoutBenchmark",
    "StampsSettings",
    "benchmark_folder",
    "benchmark_names",
    "build_stamps",
    "composite",
    "cutouts_shown",
    "get_benchmark",
    "list_benchmarks",
    "load_backgrounds",
    "load_cutouts",
    "open_apart",
    "open_benchmark",
    "open_packages",
    "with_options",
]
