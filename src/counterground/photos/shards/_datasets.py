"""Data sets of Hugging Face's ``datasets`` library, streamed: from the hub, or a folder that it can load."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_message, needs_extra
from counterground.files import cache_dir, is_file
from counterground.http import check_online
from counterground.photos._benchmark import Benchmark
from counterground.photos._native import write_benchmark
from counterground.photos._photo import photo_ids
from counterground.photos._rows import find_column, note_absent_classes
from counterground.photos.labels import read_class_names
from counterground.photos.shards._samples import Sample, SampleColumns
from counterground.photos.shards._shards import class_of, unpack_once, unpack_samples
from counterground.photos.sources import Source, benchmark_of_rows, is_web
from counterground.progress import progress_bar

_LAYOUT = 6  # of the unpacked folders: a new number gives a new folder
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ARCHIVE = re.compile(r"(bz2|gzip|lz4|tar|xz|zip|zstd)://")


def is_saved_dataset(folder: Path) -> bool:
    """Return whether ``save_to_disk`` wrote a folder."""
    return is_file(folder / "dataset_dict.json") or (
        is_file(folder / "dataset_info.json") and is_file(folder / "state.json")
    )


def read_dataset(source: Source, *, show_progress: bool = False) -> Benchmark:
    """Read ``hf:org/name?split=test&image=img&label=label``; its photos are written into the cache once.

    Further settings are ``config``, ``revision``, ``rows`` (how many to read, from the first), ``names`` (a
    file with the names of numbered classes) and the other columns of a manifest. Without ``image`` and
    ``label``, the only column of images and the only ``ClassLabel`` are used. The cache identifies a data set
    on the hub by its commit, a folder by the content of its files. No code from a data set is run.

    Raises:
        UsageError: the library is not installed, or a split or a column has to be named.
        CounterGroundError: the data set cannot be loaded, or a row has no photo or no class.
    """
    source.only("split", "config", "revision", "rows", "names")
    with needs_extra("datasets"):
        import datasets  # noqa: F401 - one clear line before anything else
    name, options = source.place.removeprefix("hf:"), source.options
    if not re.fullmatch("0*[1-9][0-9]{0,11}", options.get("rows", "1")):
        raise UsageError(f"{source.text}: rows is how many of the first rows to read: {options['rows']!r}.")
    rows = int(options["rows"]) if "rows" in options else None
    local = Path(name).is_dir()
    class_names = read_class_names(Path(options["names"])) if "names" in options else None
    asked = _digest(name if not local else "", dict(source.columns), dict(options), class_names)
    state, notes = (_content_of(Path(name)), ()) if local else _commit_of(source, name, asked)
    short = Path(name).resolve().name if local else name
    if rows:
        notes += (f"At most the first {rows:,} rows of the data set were read.",)
    part = f"{short} ({options['split']})" if "split" in options else short

    def read(where: str, cell: Any) -> bytes | str:
        return _file(where, cell, local=local)

    def samples() -> Iterator[Sample]:
        with _loading(name):
            data = _open(source, name, None if local else state)
            columns = _columns(data, source, class_names)
            for number, row in enumerate(islice(data, rows), 1):
                yield columns.sample(f"{part}, row {number}", row, read)

    def fill(draft: Path) -> None:
        with progress_bar("Reading", total=rows, shown=show_progress) as bar:
            found = unpack_samples(_counting(samples(), bar.advance), draft, None)
        write_benchmark(found.described(name=short), draft)

    key = f"{asked[:32]}-{state[:16]}"
    if not (cache_dir() / "unpacked" / key).is_dir():
        every = samples()
        first = list(islice(every, 1))
        if first and isinstance(first[0].photo, str) and is_web(first[0].photo):
            found = _behind_urls(chain(first, every), source, short, show_progress=show_progress)
            return found.described(notes=(*notes, *found.notes))
    found = unpack_once(key, fill, source.text)
    # A folder has its present name, wherever its content was first read.
    return found.described(name=short, notes=(*notes, *found.notes))


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps([_LAYOUT, *parts], sort_keys=True).encode()).hexdigest()


def _content_of(folder: Path) -> str:
    """Return a hash of all files of a folder and their names; its ``.cache`` is of the hub's downloads."""
    found = ((path, path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    files = sorted((path, name.as_posix()) for path, name in found if ".cache" not in name.parts)
    contents = photo_ids([path for path, _ in files])
    return _digest([(name, content) for (_, name), content in zip(files, contents, strict=True)])


def _commit_of(source: Source, name: str, asked: str) -> tuple[str, tuple[str, ...]]:
    """Return the commit of a data set on the hub; if the hub does not answer, the one that was read last."""
    revision = source.options.get("revision")
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision, ()
    from huggingface_hub import HfApi

    try:
        check_online(f"Asking the hub for {name}")
        return str(HfApi().dataset_info(name, revision=revision, timeout=30).sha), ()
    except Exception as error:  # the library and its HTTP client may raise anything
        folders = (cache_dir() / "unpacked").glob(f"{asked[:32]}-*")
        earlier = max(folders, key=lambda folder: folder.stat().st_mtime, default=None)
        if earlier is None or getattr(error, "response", None) is not None:
            raise _cannot_load(name, error) from error
        commit = earlier.name.rpartition("-")[2]
        note = f"The hub could not be asked for {name}: what was read earlier, of commit {commit}, was taken."
        return commit, (note,)


def _open(source: Source, name: str, revision: str | None) -> Any:
    """Return the split, as a stream if the library can; texts, numbers and images, these not decoded."""
    import datasets

    split = source.options.get("split")
    if revision is None and is_saved_dataset(Path(name)):
        loaded = datasets.load_from_disk(name)
    else:
        if revision is not None:
            check_online(f"Reading the data set {name}")
        config = source.options.get("config")
        loaded = datasets.load_dataset(name, config, revision=revision, streaming=True)
    if isinstance(loaded, dict):
        if split is None and len(loaded) == 1:
            (split,) = loaded
        if split not in loaded:
            problem = "choose a split" if split is None else f"there is no split {split!r}"
            raise UsageError(
                f"{source.text}: {problem}, as in ?split={next(iter(loaded))}; it has {', '.join(loaded)}."
                f"{did_you_mean(split or '', loaded)}"
            )
        loaded = loaded[split]
    if loaded.features is None:
        return loaded
    kinds = datasets.ClassLabel | datasets.Image | datasets.Value
    kept = [column for column, kind in loaded.features.items() if isinstance(kind, kinds)]
    loaded = loaded.select_columns(kept)
    for column in kept:
        if isinstance(loaded.features[column], datasets.Image):  # decoding opens any URL
            loaded = loaded.cast_column(column, datasets.Image(decode=False))
    return loaded


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Report any error as "cannot load the data set": its library may raise anything."""
    try:
        yield
    except CounterGroundError:
        raise
    except Exception as error:
        raise _cannot_load(name, error) from error


def _cannot_load(name: str, error: Exception) -> CounterGroundError:
    return CounterGroundError(f"Cannot load the data set {name!r}: {error_message(error)}.")


def _columns(data: Any, source: Source, class_names: Sequence[str] | None) -> SampleColumns:
    """Find the columns of the photos and the classes.

    Raises:
        UsageError: there are several candidates, or none, and none is named.
    """
    features: Mapping[str, Any] = data.features or dict.fromkeys(next(iter(data), {}))
    named = {ours: find_column(theirs, features, source.text) for ours, theirs in source.columns.items()}
    kinds = {
        column: "image" if getattr(kind, "_type", "") == "Image" else getattr(kind, "names", None)
        for column, kind in features.items()
    }
    if "image" not in kinds.values():  # URLs
        guess = next((each for each in ("url", "path") if each in kinds), None)
        named = ({"path": guess} if guess else {}) | named
    wrong = [named[each] for each in ("path", "mask") if each in named and kinds[named[each]] != "image"]
    if wrong and "image" in kinds.values():
        raise UsageError(f"{source.text}: the column {wrong[0]!r} holds no images.")
    columns = SampleColumns.find(kinds, named, source.text)
    # A path in the data set is not a path in our folder.
    fields = {name: ["original_path"] if ours == ["path"] else ours for name, ours in columns.fields.items()}
    return replace(columns, fields=fields, class_names=class_names or columns.class_names)


def _file(where: str, cell: Any, local: bool) -> bytes | str:
    """Read the file that a row names: on this disk, or on the hub through the library's own reader."""
    path = cell.get("path") if isinstance(cell, Mapping) else cell
    if not path:
        raise CounterGroundError(f"{where} has no photo, or no mask.")
    *inside, place = str(path).split("::")  # of the archive, if the file is in one
    on_hub = place.startswith("hf://")
    reachable = on_hub or (local and Path(place).is_absolute())
    if not reachable or not all(map(_ARCHIVE.match, inside)):  # any other would be opened itself
        return str(path)
    if on_hub:
        check_online(f"Reading {place[:200]}")
    from datasets.download.streaming_download_manager import xopen

    with xopen(path, "rb") as file:
        return bytes(file.read())


def _counting(samples: Iterator[Sample], advance: Any) -> Iterator[Sample]:
    for sample in samples:
        yield sample
        advance()


def _behind_urls(samples: Iterator[Sample], source: Source, name: str, *, show_progress: bool) -> Benchmark:
    rows, listed = [], None
    for sample in samples:
        rows.append({**sample.fields, "path": sample.photo, "class_name": class_of(sample, None)[0]})
        listed = sample.class_names
    frame = pl.DataFrame(rows, infer_schema_length=None, strict=False)
    plain = Source(source.text, source.place, {}, {})
    found = benchmark_of_rows(frame, plain, Path(), name, show_progress=show_progress)
    absent = note_absent_classes(listed or (), frame["class_name"])
    return found.described(notes=(*absent, *found.notes))
