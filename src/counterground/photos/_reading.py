"""Read a benchmark in any of its forms on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from counterground.errors import CounterGroundError, UsageError
from counterground.photos._benchmark import Benchmark
from counterground.photos._classified import TABLE_SUFFIXES, TEXT_SUFFIXES, read_table
from counterground.photos._coco import read_coco
from counterground.photos._datasets import is_saved_dataset, read_dataset
from counterground.photos._folders import read_folder
from counterground.photos._native import BENCHMARK_FILE, MANIFEST_FILE, read_native
from counterground.photos._shards import EXPORT_FILE, read_shards, read_webdataset, shard_format
from counterground.photos._source import Source, benchmark_of_rows, names_source, parse_source

_SUFFIXES = ", ".join(TABLE_SUFFIXES)
_DISCOVERY_FILE = "discovery.json"


def read_benchmark(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    skip_bad_rows: bool = False,
    files: bool = True,
    show_progress: bool = False,
) -> Benchmark:
    """Read a benchmark from disk, from the web, or from Hugging Face.

    ``source`` is a folder that ``write_benchmark`` wrote, a folder in the CounterAnimal layout (with or
    without ImageNet indices before the class names) or the ImageFolder layout (names, wnids or ImageNet
    indices), a folder of WebDataset or Hugging Face shards (unpacked once into the cache), or a manifest
    (``TABLE_SUFFIXES``) with paths that are absolute or relative to its folder, or with URLs; annotations in
    COCO's format (``.json``); ``hf:NAME`` (see ``read_dataset``); or tars by name, here or on the web
    (``https://HOST/{00000..00009}.tar``). Settings follow a question mark, as in
    ``photos.csv?image=url&label=kind``. Photos without a ``photo_id`` are hashed; none is decoded.

    Args:
        source: see above; a ``Path`` has no settings.
        columns: column of the manifest -> its name in the table, the annotations or the data set.
        skip_bad_rows: leave out rows of a table without a path, a class or a file (``Benchmark.left_out``).
        files: whether the photos must be on this machine. If not, those of a table without ``photo_id`` are
            told apart by their paths, and none is fetched; the version is then another.
        show_progress: show a bar on standard error while photos are fetched.

    Raises:
        UsageError: there is no such folder or manifest.
        CounterGroundError: what is there is not a benchmark; one line says what and where.
    """
    text = str(source)
    settings = Source(text, text) if isinstance(source, Path) else parse_source(text)
    settings = replace(settings.with_columns(columns or {}), skip_bad_rows=skip_bad_rows, files=files)
    path = Path(settings.place)
    if settings.place.startswith("hf:") and not path.exists():
        return read_dataset(settings, show_progress=show_progress)
    if path.is_dir():
        if is_saved_dataset(path):
            return read_dataset(settings, show_progress=show_progress)
        _refuse_settings(settings)
        return _read_folder(path)
    if path.exists() or names_source(settings.place):
        return _read_file(path, settings, show_progress=show_progress)
    raise UsageError(f"{str(path)!r} does not exist: name a folder of photos or a manifest ({_SUFFIXES}).")


def _refuse_settings(settings: Source) -> None:
    if not (settings.columns or settings.options):
        return
    raise UsageError(
        f"{settings.text}: a folder of photos takes no settings; that of a data set is written "
        f"'hf:{settings.text}'."
    )


def _read_file(path: Path, settings: Source, *, show_progress: bool) -> Benchmark:
    """Read a table, annotations, or tars that may be on the web."""
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES and path.exists():
        if path.name == MANIFEST_FILE and (path.parent / BENCHMARK_FILE).is_file():
            _refuse_settings(settings)
            return read_native(path.parent)
        settings.only("names")
        frame = read_table(path)
        texts = suffix in TEXT_SUFFIXES
        return benchmark_of_rows(
            frame, settings, path.parent, path.stem, texts=texts, show_progress=show_progress
        )
    if suffix == ".json" and path.exists():
        return read_coco(path, settings, show_progress=show_progress)
    if suffix == ".tar" or not path.exists():
        return read_webdataset(settings, show_progress=show_progress)
    raise UsageError(f"{path} is neither a folder of photos nor a manifest ({_SUFFIXES}).")


def _read_folder(path: Path) -> Benchmark:
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
            f"{path} holds a discovery that wrote no benchmark, since it found no pair of backgrounds, or no "
            f"more than chance ({_DISCOVERY_FILE} says which). If it has pairs, discover --write-anyway "
            "writes them."
        )
    if (path / EXPORT_FILE).is_file():
        raise UsageError(f"{path} is an export: name the folder of one of its formats.")
    return read_folder(path)
