"""Data sets of Hugging Face's ``datasets`` library, streamed: from the hub, or a folder that it can load."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_message, needs_extra
from counterground.files import cache_dir, is_file
from counterground.http import check_online
from counterground.photos._benchmark import Benchmark
from counterground.photos._memory import note_absent_classes
from counterground.photos._native import write_benchmark
from counterground.photos._photo import photo_ids
from counterground.photos.labels import read_class_names
from counterground.photos.shards._parquet import label_name
from counterground.photos.shards._shards import unpack_once, unpack_samples
from counterground.photos.shards._tar import Sample, photo_suffix
from counterground.photos.sources import Source, benchmark_of_rows, find_column, is_web
from counterground.progress import progress_bar

_LAYOUT = 5  # of the unpacked folders: a new number gives a new folder
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ARCHIVE = re.compile(r"(bz2|gzip|lz4|tar|xz|zip|zstd)://")
_CLASSES = ("class_name", "class_index", "class", "label", "cls")  # what a sample's class may be called


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
    name = source.place.removeprefix("hf:")
    rows = _number_of_rows(source)
    local = Path(name).is_dir()
    asked = _digest(name if not local else "", source.columns, dict(source.options), _names_of(source))
    state, notes = (_content_of(Path(name)), ()) if local else _commit_of(source, name, asked)
    opened = partial(_open, source, name, None if local else state)
    short = Path(name).resolve().name if local else name
    limit = (f"At most the first {rows:,} rows of the data set were read.",) if rows else ()

    def fill(draft: Path) -> None:
        data = opened()
        with _loading(name):
            columns = _columns(data, source)
        with progress_bar("Reading", total=rows, shown=show_progress) as bar:
            samples = _samples(data, columns, short, source, rows, local=local)
            found = unpack_samples(_counting(samples, bar.advance), draft, None)
        write_benchmark(found.described(name=short, notes=(*limit, *found.notes)), draft)

    key = f"{asked[:32]}-{state[:16]}"
    if not (cache_dir() / "unpacked" / key).is_dir():
        with _loading(name):
            behind_urls = _rows_with_urls(opened(), source, rows)
        if behind_urls is not None:
            frame, named, absent = behind_urls
            found = benchmark_of_rows(frame, named, Path(), short, show_progress=show_progress)
            return found.described(notes=(*notes, *limit, *absent, *found.notes))
    found = unpack_once(key, fill, source.text)
    # A folder has its present name, wherever its content was first read.
    return found.described(name=short, notes=(*notes, *found.notes))


def _number_of_rows(source: Source) -> int | None:
    text = source.options.get("rows")
    if text is not None and not re.fullmatch("0*[1-9][0-9]{0,11}", text):
        raise UsageError(f"{source.text}: rows is how many of the first rows to read, not {text[:100]!r}.")
    return None if text is None else int(text)


def _names_of(source: Source) -> Sequence[str] | None:
    return read_class_names(Path(source.options["names"])) if "names" in source.options else None


def _digest(*parts: Any) -> str:
    content = json.dumps([_LAYOUT, *parts], sort_keys=True, default=dict)
    return hashlib.sha256(content.encode()).hexdigest()


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
    """Return the split, as a stream if the library can; see `_as_stored`."""
    import datasets

    split, config = source.options.get("split"), source.options.get("config")
    with _loading(name):
        if revision is None and is_saved_dataset(Path(name)):
            loaded = datasets.load_from_disk(name)
        else:
            if revision is not None:
                check_online(f"Reading the data set {name}")
            loaded = datasets.load_dataset(name, config, revision=revision, streaming=True)
    if not isinstance(loaded, dict):
        if split not in (None, str(loaded.split)):
            raise UsageError(f"{name} has no splits: leave out split={split}.")
        return _as_stored(loaded)
    if split is None and len(loaded) == 1:
        return _as_stored(next(iter(loaded.values())))
    if split not in loaded:
        listed = ", ".join(loaded)
        problem = "choose a split" if split is None else f"there is no split {split!r}"
        hint = "" if split is None else did_you_mean(split, loaded)
        raise UsageError(
            f"{source.text}: {problem}, as in ?split={next(iter(loaded))}; it has {listed}.{hint}"
        )
    return _as_stored(loaded[split])


def _as_stored(data: Any) -> Any:
    """Return the columns of texts, numbers and images, not decoded: decoding opens any URL."""
    from datasets import ClassLabel, Image, Value

    if data.features is None:
        return data
    kept = [name for name, kind in data.features.items() if isinstance(kind, ClassLabel | Image | Value)]
    data = data.select_columns(kept)
    for name in kept:
        if isinstance(data.features[name], Image):
            data = data.cast_column(name, Image(decode=False))
    return data


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


@dataclass(frozen=True)
class _Columns:
    image: str
    label: str
    mask: str | None
    others: Mapping[str, str]  # manifest column -> their column, which may be of several
    class_names: Sequence[str] | None
    texts_of: Mapping[str, Sequence[str]]  # names of the numbers in columns
    hidden: Set[str]  # unused columns that are called like ours

    def fields_of(self, column: str) -> list[str]:
        """Return what a column is called in the manifest; empty if it is not carried."""
        if column == self.image or column in self.hidden:
            return []
        named = [ours for ours, theirs in self.others.items() if theirs == column]
        if named or column == self.label:
            return named
        # A path in the data set is not a path in our folder.
        return ["original_path" if column == "path" else column]


def _columns(data: Any, source: Source) -> _Columns:
    """Find the columns of the photos and the classes.

    Raises:
        UsageError: there are several candidates, or none, and none is named.
    """
    from datasets import ClassLabel, Image

    features = dict(data.features or {})
    known = list(features) or list(next(iter(data), {}))
    try:
        named = {ours: find_column(theirs, known) for ours, theirs in source.columns.items()}
    except CounterGroundError as error:
        raise UsageError(f"{source.place}: {error}") from error
    labels = {column: list(kind.names) for column, kind in features.items() if isinstance(kind, ClassLabel)}
    images = [column for column, kind in features.items() if isinstance(kind, Image)]
    mask = named.get("mask") or ("mask" if "mask" in images and len(images) > 1 else None)
    mask = None if mask == named.get("path") else mask
    image = named.get("path") or _only([each for each in images if each != mask], "image", known, source)
    for column in (image, mask):
        if features and column is not None and column not in images:
            raise UsageError(f"{source.text}: the column {column!r} holds no images.")
    guesses = [column for column in dict.fromkeys(["class_name", *labels]) if column in known]
    label = named.get("class_name") or _only(
        [each for each in guesses if each not in named.values()], "label", known, source
    )
    others = {ours: theirs for ours, theirs in named.items() if ours not in ("path", "class_name", "mask")}
    hidden = {*others, *_CLASSES, *(["mask"] if mask else [])}
    class_names = _names_of(source) or labels.get(label)
    return _Columns(
        image,
        label,
        mask,
        others,
        class_names,
        labels | ({label: class_names} if class_names else {}),
        hidden - {image, label, mask, *others.values()},
    )


def _only(found: Sequence[str], setting: str, known: Sequence[str], source: Source) -> str:
    if len(found) != 1:
        which = f"candidates are {', '.join(found)}" if found else f"it has {', '.join(known)}"
        raise UsageError(f"{source.text}: name the column, as in ?{setting}=COLUMN; {which}.")
    return found[0]


def _samples(
    data: Any, columns: _Columns, name: str, source: Source, rows: int | None, *, local: bool
) -> Iterator[Sample]:
    """Yield the rows in order; images keep their stored bytes."""
    split = source.options.get("split")
    part = f"{name} ({split})" if split else name
    with _loading(name):
        for number, row in enumerate(islice(data, rows), 1):
            yield _sample(f"{part}, row {number}", row, columns, local=local)


def _sample(where: str, row: Mapping[str, Any], columns: _Columns, *, local: bool) -> Sample:
    image, mask = row[columns.image] or {}, row[columns.mask] if columns.mask else None
    photo = image.get("bytes") or _file(where, image.get("path"), local=local)
    fields: dict[str, Any] = {}
    for column, value in row.items():
        carried = columns.fields_of(column)
        if not carried or isinstance(value, dict | list | bytes):
            continue
        names = columns.texts_of.get(column)
        text = label_name(value, names, f"{where}: its {column!r}") if names else value
        fields |= dict.fromkeys(carried, text)
    label = row[columns.label]
    if isinstance(label, float):  # pandas turns whole numbers into floats if some are missing
        label = None if math.isnan(label) else int(label) if label.is_integer() else label
    if label is None or label == -1:  # how data sets on the hub mark an unknown label
        raise CounterGroundError(f"{where} has no class: its {columns.label!r} is {label!r}.")
    return Sample(
        where,
        photo,
        photo_suffix(image.get("path")),
        fields | {"label": label if isinstance(label, int) and not isinstance(label, bool) else str(label)},
        mask and (mask.get("bytes") or _file(where, mask.get("path"), local=local, what="mask")),
        columns.class_names,
    )


def _file(where: str, path: str | None, *, local: bool, what: str = "photo") -> bytes:
    """Read the file that a row names: on this disk, or on the hub through the library's own reader."""
    if not path:
        raise CounterGroundError(f"{where} has no {what}.")
    *inside, place = path.split("::")  # of the archive, if the file is in one
    on_hub = place.startswith("hf://")
    held = on_hub or (local and Path(place).is_absolute())
    if not held or not all(map(_ARCHIVE.match, inside)):  # any other would be opened itself
        raise CounterGroundError(f"{where} has no {what} in the data set, only the path {path[:200]!r}.")
    if on_hub:
        check_online(f"Reading {place[:200]}")
    from datasets.download.streaming_download_manager import xopen

    with xopen(path, "rb") as file:
        return bytes(file.read())


def _counting(samples: Iterator[Sample], advance: Any) -> Iterator[Sample]:
    for sample in samples:
        yield sample
        advance()


def _rows_with_urls(
    data: Any, source: Source, rows: int | None
) -> tuple[pl.DataFrame, Source, tuple[str, ...]] | None:
    """Return the rows of a data set whose photos are behind URLs, with their column named, and notes.

    None if the data set holds its photos.
    """
    first: dict[str, Any] = next(iter(data), {})
    images = [name for name, kind in (data.features or {}).items() if getattr(kind, "_type", "") == "Image"]
    guesses = images if len(images) == 1 else [] if images else ["url", "path"]
    column = source.columns.get("path") or next((name for name in guesses if name in first), "")
    place = _url(first.get(column)) if column in images else first.get(column)
    if not isinstance(place, str):
        return None
    labels = {name: kind for name, kind in (data.features or {}).items() if hasattr(kind, "names")}
    label = source.columns.get("class_name", "class_name")
    if "names" in source.options:  # a file names the numbers
        labels.pop(label, None)
    listed = [
        {
            name: label_name(value, labels[name].names, f"{source.place}: Row {number}: its {name!r}")
            if name in labels
            else value
            for name, value in (row | {column: _url(row[column])} if column in images else row).items()
            if isinstance(value, str | int | float)
        }
        for number, row in enumerate(islice(data, rows), 1)
    ]
    frame = pl.DataFrame(listed, infer_schema_length=None, strict=False)
    present = frame[label] if label in labels and label in frame.columns else ()
    absent = note_absent_classes(labels[label].names, present) if len(present) else ()
    return frame, replace(source, columns={**source.columns, "path": column}), absent


def _url(image: Mapping[str, Any] | None) -> str | None:
    """Return the URL of an image that the data set does not hold."""
    path = (image or {}).get("path")
    return path if isinstance(path, str) and is_web(path) and not (image or {}).get("bytes") else None
