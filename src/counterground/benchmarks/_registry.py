"""Names to benchmarks: the built-in ones, and everything the photos room can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from counterground.benchmarks._progress import progress_bar
from counterground.benchmarks.counteranimal._counteranimal import (
    counteranimal_folder,
    get_counteranimal,
    is_complete,
)
from counterground.benchmarks.stamps._stamps import StampsSettings, build_stamps, stamps_folder
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.photos import Benchmark, read_benchmark
from counterground.pool import is_pool, open_pool

BUILT_IN = ("counteranimal", "stamps")


@dataclass(frozen=True)
class BenchmarkInfo:
    """A built-in benchmark: ``available`` says whether it can be opened without fetching anything."""

    name: str
    description: str
    n_photos: int
    available: bool


def list_benchmarks() -> list[BenchmarkInfo]:
    """Return the built-in benchmarks, by name."""
    return [
        BenchmarkInfo(
            "counteranimal",
            "45 animal classes photographed on common and counter backgrounds (Wang et al. 2024)",
            13100,
            is_complete(counteranimal_folder()),
        ),
        BenchmarkInfo(
            "stamps",
            "45 ImageNet classes: 51 photographic cut-outs on 28 photographs of 6 backgrounds",
            1224,
            _stamps_built(),
        ),
    ]


def _stamps_built() -> bool:
    return (stamps_folder(StampsSettings()) / "provenance.json").is_file()


def benchmark_folder(name: str) -> Path:
    """Return the folder of a built-in benchmark in the cache, fetched or not; ``open_benchmark`` reads it.

    Raises:
        UsageError: unknown name.
    """
    if name == "stamps":
        return stamps_folder(StampsSettings())
    if name == "counteranimal":
        return counteranimal_folder()
    raise _unknown(name)


def open_benchmark(name_or_path: str | Path, *, show_progress: bool = False) -> Benchmark:
    """Return a benchmark by built-in name, folder, ``.parquet`` manifest or pool.

    Args:
        name_or_path: ``stamps`` (built on first use), ``counteranimal`` (once got), or what
            ``photos.read_benchmark`` reads, or a pool, which is frozen. A ``Path``, or a name with a slash,
            is never a built-in name.
        show_progress: show a bar on standard error while ``stamps`` is built.

    Raises:
        UsageError: neither a built-in name nor an existing path.
        CounterGroundError: it cannot be built or read, or ``counteranimal`` has not been got yet.
    """
    if name_or_path == "stamps":
        return _build_stamps(None, show_progress=show_progress)
    if name_or_path == "counteranimal":
        if not is_complete(counteranimal_folder()):
            raise CounterGroundError(
                "counteranimal is not on this machine yet; run `counterground benchmarks get counteranimal`, "
                "with `--from ARCHIVE` where you have the archive."
            )
        return read_benchmark(counteranimal_folder())
    if not Path(name_or_path).exists():
        raise UsageError(
            f"{str(name_or_path)!r} is no built-in benchmark ({', '.join(BUILT_IN)}) and no existing path."
            + did_you_mean(str(name_or_path), BUILT_IN)
        )
    if is_pool(name_or_path):
        with open_pool(name_or_path) as pool:
            return pool.freeze()
    return read_benchmark(name_or_path)


def get_benchmark(
    name: str,
    *,
    archive: Path | None = None,
    packages: Path | None = None,
    show_progress: bool = False,
) -> Benchmark:
    """Fetch or build a built-in benchmark and return it; ``notes`` say what differs from the paper.

    It lies in ``benchmark_folder(name)``, where ``open_benchmark`` finds it by name.

    Args:
        name: ``counteranimal`` or ``stamps``.
        archive: CounterAnimal's archive or unpacked folder, where it should not be downloaded.
        packages: folder with the ``.deb`` files of ``stamps``, where there is no apt.
        show_progress: show bars of what takes long on standard error.

    Raises:
        UsageError: unknown name, or an option that does not belong to it.
        CounterGroundError: it cannot be fetched, unpacked or built.
    """
    if name == "stamps":
        if archive is not None:
            raise UsageError("stamps is built from Debian packages: give `--packages FOLDER`, not `--from`.")
        return _build_stamps(packages, show_progress=show_progress)
    if name == "counteranimal":
        if packages is not None:
            raise UsageError("counteranimal comes as an archive: give `--from ARCHIVE`, not `--packages`.")
        return get_counteranimal(archive, show_progress=show_progress)
    raise _unknown(name)


def _build_stamps(packages: Path | None, *, show_progress: bool) -> Benchmark:
    with progress_bar("Building stamps", "photos", shown=show_progress and not _stamps_built()) as progress:
        return build_stamps(StampsSettings(), packages=packages, progress=progress)


def _unknown(name: str) -> UsageError:
    return UsageError(
        f"No built-in benchmark {name!r}; there are {', '.join(BUILT_IN)}.{did_you_mean(name, BUILT_IN)}"
    )
