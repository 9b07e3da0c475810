"""Open benchmarks by name: the built-in ones, those of other packages, and what the photos room reads."""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from counterground.benchmarks._builtin import BuiltInBenchmark, FolderReader
from counterground.benchmarks.layouts import LAYOUTS
from counterground.benchmarks.stamps import RESERVED, STAMPS
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import check_apart, given_path, is_file, is_folder
from counterground.photos import Benchmark, names_source, read_benchmark
from counterground.plugins import Registry

_BENCHMARKS = Registry(
    "counterground.benchmarks",
    BuiltInBenchmark,
    {benchmark.name: benchmark for benchmark in (STAMPS, RESERVED, *LAYOUTS)},
)
_FOLDERS = Registry("counterground.folders", FolderReader, {})
_OPTIONS = {"archive": "--from ARCHIVE", "packages": "--packages FOLDER"}


def list_benchmarks(*, warn: Callable[[str], object] = warnings.warn) -> list[BuiltInBenchmark]:
    """Return the benchmarks that have a name; ``warn`` gets a line for each that cannot be loaded."""
    return list(_BENCHMARKS.each(warn))


def benchmark_names() -> list[str]:
    """Return the names of all named benchmarks, ours first; no other package is imported."""
    return _BENCHMARKS.names()


def benchmark_folder(name: str) -> Path:
    """Return the folder of a built-in benchmark in the cache, fetched or not; ``open_benchmark`` reads it.

    Raises:
        UsageError: unknown name.
    """
    return _named(name).folder()


def open_apart(
    benchmark: str | Path | Benchmark,
    out: Path | str,
    *,
    columns: Mapping[str, str] | None = None,
    skip_bad_rows: bool = False,
    files: bool = True,
    show_progress: bool = False,
) -> Benchmark:
    """Open a benchmark as ``open_benchmark`` does, for results in ``out``, which must be apart from it.

    Files among photos are read with them.

    Raises:
        UsageError: ``out`` is, lies in or holds the benchmark, or see ``open_benchmark``.
        CounterGroundError: see ``open_benchmark``.
    """
    opened = open_benchmark(
        benchmark, columns=columns, skip_bad_rows=skip_bad_rows, files=files, show_progress=show_progress
    )
    if not isinstance(benchmark, Benchmark) and Path(benchmark).is_dir():
        check_apart(Path(out), Path(benchmark), "the benchmark")
    if files and _has_class_folders(opened):
        check_apart(Path(out), opened.root, "the folder of the photos")
    return opened


def _has_class_folders(benchmark: Benchmark) -> bool:
    """Return whether each class has a folder at the top, so that another one would be read as a class."""
    top = pl.col("path").str.split("/").list.first()
    folders = benchmark.photos.select("class_index", top.alias("top")).unique()
    return len(folders) > 1 and all(folders[column].is_unique().all() for column in folders.columns)


def open_benchmark(
    name_or_path: str | Path | Benchmark,
    *,
    columns: Mapping[str, str] | None = None,
    skip_bad_rows: bool = False,
    files: bool = True,
    show_progress: bool = False,
) -> Benchmark:
    """Return a benchmark by built-in name, folder, manifest or pool.

    Args:
        name_or_path: a name (``stamps`` is built on first use, the others must be fetched first; options as
            in ``waterbirds?split=val``), what ``photos.read_benchmark`` reads, or a pool, which is frozen. A
            ``Path``, or a name with a slash, is never a built-in name. A `Benchmark` is returned as it is.
        columns: column of the manifest -> its name in a table, annotations or a data set.
        skip_bad_rows: leave out rows of a table without a path, a class or a file (``Benchmark.left_out``).
        files: whether the photos of a table must be on this machine; predictions that exist need none.
        show_progress: show a bar on standard error while a benchmark is built or fetched.

    Raises:
        UsageError: neither a built-in name nor an existing path; a run, or the folder of one class; or
            ``columns`` of something without columns.
        CounterGroundError: it cannot be built or read, or must be fetched first.
    """
    if isinstance(name_or_path, Benchmark):
        _refuse_columns(columns, name_or_path.name)
        return name_or_path
    if not isinstance(name_or_path, str | os.PathLike):
        raise UsageError(
            f"A benchmark is a name, a path or a Benchmark, not {type(name_or_path).__name__}: give a pool "
            "by its folder, and make a benchmark of a frame with Benchmark.from_frame(frame)."
        )
    named = _find(name_or_path) if isinstance(name_or_path, str) else None
    if named is not None:
        _refuse_columns(columns, named.name)
        return _open(named, show_progress=show_progress)
    read = partial(
        read_benchmark,
        columns=columns,
        skip_bad_rows=skip_bad_rows,
        files=files,
        show_progress=show_progress,
    )
    if isinstance(name_or_path, str) and names_source(name_or_path):
        return read(name_or_path)
    path = given_path(os.fspath(name_or_path))
    if not is_file(path) and not is_folder(path):
        names = _BENCHMARKS.names()
        beside = [str(path.with_name(each.name)) for each in path.parent.glob("[!.]*")] if path.name else []
        raise UsageError(
            f"{os.fspath(name_or_path)!r} is not a built-in benchmark ({', '.join(names)}), "
            "and no such path exists."
            f"{did_you_mean(os.fspath(name_or_path), [*names, *beside])}"
        )
    for reader in _FOLDERS.each(warnings.warn):
        if (folder := reader.find(path)) is not None:
            _refuse_columns(columns, str(path))
            return reader.read(folder)
    _refuse_run(path)
    benchmark = read(path)
    _refuse_class_folder(path, benchmark)
    return benchmark


def _refuse_columns(columns: Mapping[str, str] | None, name: str) -> None:
    if columns:
        raise UsageError(f"{name} has columns of its own: --map is for tables, annotations and data sets.")


def _refuse_run(path: Path) -> None:
    folder = path if path.is_dir() else path.parent
    if (folder / "run.json").is_file() and (folder / "predictions.parquet").is_file():
        raise UsageError(
            f"{path} is {'a run' if path.is_dir() else 'part of a run'}, not a benchmark: name the folder of "
            "the photos. `counterground scores` and `report` read runs."
        )


def _refuse_class_folder(path: Path, benchmark: Benchmark) -> None:
    """Refuse the folder of one class: its backgrounds would be taken for classes."""
    names = benchmark.classes.names
    if path.is_dir() and all(name.startswith(("common-", "counter-")) for name in names):
        raise UsageError(
            f"{path} is the folder of one class (it holds {names[0]}): name the folder above it, "
            f"{path.absolute().parent}."
        )


def get_benchmark(
    name: str,
    *,
    archive: Path | str | None = None,
    packages: Path | str | None = None,
    show_progress: bool = False,
) -> Benchmark:
    """Fetch or build a built-in benchmark and return it; ``notes`` say what differs from the paper.

    It is stored in ``benchmark_folder(name)``, where ``open_benchmark`` finds it by name.

    Args:
        name: one of ``benchmark_names``, with options as in ``waterbirds?split=val``.
        archive: the archive or unpacked folder of a benchmark that should not be downloaded.
        packages: folder with the ``.deb`` files of ``stamps``, if there is no apt.
        show_progress: show bars on standard error for what takes long.

    Raises:
        UsageError: unknown name, or an option that does not belong to it.
        CounterGroundError: it cannot be fetched, unpacked or built.
    """
    benchmark = _named(name)
    given: dict[str, Path | str | None] = {"archive": archive, "packages": packages}
    path = given.pop(benchmark.source)
    for source, other in given.items():
        if other is not None:
            raise UsageError(f"{name} takes {_OPTIONS[benchmark.source]}, not {_OPTIONS[source]}.")
    return benchmark.get(None if path is None else Path(path), show_progress)


def _open(benchmark: BuiltInBenchmark, *, show_progress: bool) -> Benchmark:
    if benchmark.on_demand:
        return benchmark.get(None, show_progress)
    if not benchmark.is_ready():
        raise CounterGroundError(
            f"{benchmark.name} is not on this machine yet; "
            f"run `counterground benchmarks get {shlex.quote(benchmark.name)}`, "
            f"with `{_OPTIONS[benchmark.source]}` if you already have it."
        )
    if benchmark.folder().is_dir():
        return read_benchmark(benchmark.folder())
    return benchmark.get(None, show_progress)  # from a copy that another variant was read from


def _find(name: str) -> BuiltInBenchmark | None:
    base, _, query = name.partition("?")
    found = _BENCHMARKS.find(base)
    return found.chosen(query) if found else None


def _named(name: str) -> BuiltInBenchmark:
    found = _find(name)
    if found is None:
        names = _BENCHMARKS.names()
        raise UsageError(
            f"No built-in benchmark {name!r}; available: {', '.join(names)}.{did_you_mean(name, names)}"
        )
    return found
