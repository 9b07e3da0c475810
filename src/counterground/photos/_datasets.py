"""Data sets of Hugging Face's ``datasets`` library, streamed: from the hub, or a folder that it can load."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_message, needs_extra
from counterground.files import cache_dir, is_file
from counterground.http import check_online
from counterground.photos._benchmark import Benchmark
from counterground.photos._native import write_benchmark
from counterground.photos._photo import photo_ids
from counterground.photos._samples import Kind, Sample, SampleColumns
from counterground.photos._shards import benchmark_of_samples, unpack_once, unpack_samples
from counterground.photos._source import Source
from counterground.photos.labels import read_class_names
from counterground.progress import progress_bar

_LAYOUT = 7  # of the unpacked folders: a new number gives a new folder
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
    names = Path(options["names"]) if "names" in options else None
    asked = _digest(
        name if not local else "",
        dict(source.columns),
        dict(options),
        source.skip_bad_rows,
        read_class_names(names) if names else None,
    )
    state, notes = (_content_of(Path(name)), ()) if local else _commit_of(source, name, asked)
    short = Path(name).resolve().name if local else name
    if rows:
        notes += (f"At most the first {rows:,} rows of the data set were read.",)

    def fill(draft: Path) -> None:
        try:
            with progress_bar("Reading", total=rows, shown=show_progress) as bar:
                data = _open(source, name, None if local else state)
                features: Mapping[str, Any] = data.features or dict.fromkeys(next(iter(data), {}))
                kinds: dict[str, Kind] = {
                    column: "image" if getattr(kind, "_type", "") == "Image" else getattr(kind, "names", None)
                    for column, kind in features.items()
                }
                columns = SampleColumns.find(kinds, source.columns, source.text)
                if names and columns.label:
                    kinds[columns.label] = None  # classes stay numbers

                def samples() -> Iterator[Sample]:
                    for number, row in enumerate(islice(data, rows), 1):
                        found = columns.sample(f"{short}, row {number}", row, partial(_file, local=local))
                        if "path" in found.fields:  # not a path in our folder
                            found.fields["original_path"] = found.fields.pop("path")
                        yield found
                        bar.advance()

                frame = unpack_samples(samples(), draft)
        except CounterGroundError:
            raise
        except Exception as error:  # the library may raise anything
            raise _cannot_load(name, error) from error
        label = {"class_name": columns.label} if columns.label else {}
        chosen = replace(source, columns={**label, **source.columns})
        write_benchmark(benchmark_of_samples(frame, draft, chosen, columns.class_names, names), draft)

    found = unpack_once(f"{asked[:32]}-{state[:16]}", fill, source.text)
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


def _cannot_load(name: str, error: Exception) -> CounterGroundError:
    return CounterGroundError(f"Cannot load the data set {name!r}: {error_message(error)}.")


def _file(where: str, cell: Any, *, local: bool) -> bytes:
    """Read the file that a row names: on this disk, or on the hub through the library's own reader."""
    path = str((cell.get("path") if isinstance(cell, Mapping) else cell) or "")
    *inside, place = path.split("::")  # of the archive, if the file is in one
    on_hub = place.startswith("hf://")
    reachable = on_hub or (local and Path(place).is_absolute())
    if not reachable or not all(map(_ARCHIVE.match, inside)):  # any other would be opened itself
        raise CounterGroundError(f"{where} has no photo in the data set, only the path {path[:200]!r}.")
    if on_hub:
        check_online(f"Reading {place[:200]}")
    from datasets.download.streaming_download_manager import xopen

    with xopen(path, "rb") as file:
        return bytes(file.read())
