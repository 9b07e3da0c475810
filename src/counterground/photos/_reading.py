"""Read a benchmark in any of its forms on disk."""

from __future__ import annotations

from pathlib import Path

from counterground.errors import CounterGroundError, UsageError
from counterground.photos._benchmark import Benchmark, benchmark_of_frame
from counterground.photos._folders import read_folder
from counterground.photos._native import BENCHMARK_FILE, MANIFEST_FILE, read_native
from counterground.photos._table import TABLE_SUFFIXES, TEXT_SUFFIXES, read_table, with_covariates
from counterground.photos.shards import EXPORT_FILE, read_shards, shard_format

_SUFFIXES = ", ".join(TABLE_SUFFIXES)
_DISCOVERY_FILE = "discovery.json"


def read_benchmark(source: str | Path) -> Benchmark:
    """Read a benchmark from disk.

    ``source`` is a folder that ``write_benchmark`` wrote, a folder in the CounterAnimal layout (with or
    without ImageNet indices before the class names) or the ImageFolder layout (names, wnids or ImageNet
    indices), a folder of WebDataset or Hugging Face shards (unpacked once into the cache), or a manifest
    (``TABLE_SUFFIXES``) with paths that are absolute or relative to its folder. Photos are hashed where no
    ``photo_id`` is written down, and none is decoded.

    Raises:
        UsageError: there is no such folder or manifest.
        CounterGroundError: what is there is not a benchmark; one line says what and where.
    """
    path = Path(source)
    if not path.exists():
        raise UsageError(
            f"{str(path)!r} does not exist: name a folder of photos or a manifest ({_SUFFIXES})."
        )
    if path.is_dir():
        if (kind := shard_format(path)) is not None:
            return read_shards(path, kind)
        if (path / BENCHMARK_FILE).is_file():
            return read_native(path)
        if (path / MANIFEST_FILE).is_file():
            raise CounterGroundError(
                f"{path} has {MANIFEST_FILE} but no {BENCHMARK_FILE}, so writing it was interrupted:"
                f" write it again, or name {path / MANIFEST_FILE} if that is a manifest of your own."
            )
        if (path / _DISCOVERY_FILE).is_file():
            raise CounterGroundError(
                f"{path} holds a discovery that wrote no benchmark, since it found no more than chance "
                f"({_DISCOVERY_FILE} says more). discover --write-anyway writes the pairs that it has."
            )
        if (path / EXPORT_FILE).is_file():
            formats = sorted(entry.parent.name for entry in path.glob(f"*/{BENCHMARK_FILE}"))
            if not formats:
                raise UsageError(f"{path} is an export in a format that CounterGround does not read.")
            raise UsageError(f"{path} holds several exports: name one of the folders {', '.join(formats)}.")
        return read_folder(path)
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise UsageError(f"{path} is neither a folder of photos nor a manifest ({_SUFFIXES}).")
    if path.name == MANIFEST_FILE and (path.parent / BENCHMARK_FILE).is_file():
        return read_native(path.parent)
    return _read_manifest(path)


def _read_manifest(source: Path) -> Benchmark:
    """Read a table as ``read_table`` does, with the columns of ``benchmark_of_frame``.

    Raises:
        CounterGroundError: see there.
    """
    frame = read_table(source)
    if source.suffix.lower() in TEXT_SUFFIXES:
        frame = with_covariates(frame)
    try:
        return benchmark_of_frame(frame, source.parent, source.stem)
    except CounterGroundError as error:
        raise CounterGroundError(f"{source}: {error}") from error
