"""Benchmarks: the built-in ones by name, how they are made, and the photographs they are made of."""

from counterground.benchmarks._builtin import (
    BenchmarkInfo,
    benchmark_folder,
    get_benchmark,
    list_benchmarks,
    open_benchmark,
)
from counterground.benchmarks._compositing import composite
from counterground.benchmarks._photographs import Background, Cutout, load_backgrounds, load_cutouts
from counterground.benchmarks._progress import progress_bar
from counterground.benchmarks._stamps import StampsSettings, build_stamps

__all__ = [
    "Background",
    "BenchmarkInfo",
    "Cutout",
    "StampsSettings",
    "benchmark_folder",
    "build_stamps",
    "composite",
    "get_benchmark",
    "list_benchmarks",
    "load_backgrounds",
    "load_cutouts",
    "open_benchmark",
    "progress_bar",
]
