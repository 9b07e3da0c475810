"""Names to benchmarks: the built-in ones, and everything the photos room can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from counterground.benchmarks._counteranimal import counteranimal_folder, get_counteranimal, is_complete
from counterground.benchmarks._stamps import StampsSettings, build_stamps, stamps_folder
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.photos import Benchmark, read_benchmark

BUILT_IN = ("counteranimal", "stamps")


@dataclass(frozen=True)
class BenchmarkInfo:
    """A built-in benchmark: ``available`` says whether it can be opened without fetching anything."""

    name: str
    description: str
    n_photos: int
    available: bool
    source: str


def list_benchmarks() -> list[BenchmarkInfo]:
    """Return the built-in benchmarks, by name."""
    return [
        BenchmarkInfo(
            "counteranimal",
            "45 animal classes photographed on common and counter backgrounds (Wang et al. 2024)",
            13100,
            is_complete(counteranimal_folder()),
            "the authors' archive: `counterground benchmarks get counteranimal [--from ARCHIVE]`",
        ),
        BenchmarkInfo(
            "stamps",
            "45 ImageNet classes: 51 photographic cut-outs on 28 photographs of 6 backgrounds",
            1224,
            (stamps_folder(StampsSettings()) / "provenance.json").is_file(),
            "built from Debian packages on first use",
        ),
    ]


def open_benchmark(
    name_or_path: str | Path,
    *,
    packages: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Benchmark:
    """Return a benchmark by built-in name, folder or ``.parquet`` manifest.

    Args:
        name_or_path: ``stamps`` (built on first use), ``counteranimal`` (once got), or what
            ``photos.read_benchmark`` reads. A ``Path``, or a name with a slash, is never a built-in name.
        packages: folder with the ``.deb`` files of ``stamps``, where there is no apt.
        progress: called with (photos done, photos in all) while ``stamps`` is built.

    Raises:
        UsageError: neither a built-in name nor an existing path.
        CounterGroundError: it cannot be built or read, or ``counteranimal`` has not been got yet.
    """
    if name_or_path == "stamps":
        return build_stamps(StampsSettings(), packages=packages, progress=progress)
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
    return read_benchmark(name_or_path)


def get_benchmark(
    name: str,
    *,
    archive: Path | None = None,
    packages: Path | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Benchmark:
    """Fetch or build a built-in benchmark and return it; ``notes`` say what differs from the paper.

    Args:
        name: ``counteranimal`` or ``stamps``.
        archive: CounterAnimal's archive or unpacked folder, where it should not be downloaded.
        packages: folder with the ``.deb`` files of ``stamps``, where there is no apt.
        seed: of the placements of ``stamps``.
        out: folder of the benchmark; by default one in the cache, where ``open_benchmark`` finds it by name.
        progress: called with (done, in all).

    Raises:
        UsageError: unknown name, or an option that does not belong to it.
        CounterGroundError: it cannot be fetched, unpacked or built.
    """
    if name == "stamps":
        if archive is not None:
            raise UsageError("stamps is built from Debian packages: give `--packages FOLDER`, not `--from`.")
        return build_stamps(StampsSettings(seed=seed), packages=packages, out=out, progress=progress)
    if name == "counteranimal":
        if packages is not None:
            raise UsageError("counteranimal comes as an archive: give `--from ARCHIVE`, not `--packages`.")
        return get_counteranimal(archive, out=out, progress=progress)
    raise UsageError(
        f"No built-in benchmark {name!r}; there are {', '.join(BUILT_IN)}.{did_you_mean(name, BUILT_IN)}"
    )
