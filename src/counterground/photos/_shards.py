"""Benchmarks whose photos are packed in shards (WebDataset, Hugging Face), unpacked once into the cache.

Shards are untrusted: every name and size is checked before anything is written, and nothing in them is run.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import polars as pl

from counterground.errors import CounterGroundError, UsageError, needs_extra
from counterground.files import (
    cache_dir,
    check_writable,
    draft_folder,
    file_lock,
    file_sha256,
    place_once,
    read_json,
)
from counterground.hostile import is_outside
from counterground.http import DownloadSettings, Task, without_query
from counterground.photos._benchmark import Benchmark, describe_gaps
from counterground.photos._classified import as_attributes
from counterground.photos._manifest import FOREIGN_ID, HASH, cast_column
from counterground.photos._native import (
    BENCHMARK_FILE,
    LABEL_SPACE_FILE,
    MANIFEST_FILE,
    as_described,
    read_native,
    write_benchmark,
)
from counterground.photos._rows import note_absent_classes
from counterground.photos._samples import CLASS_FIELDS, MAX_PHOTO_BYTES, Sample, parquet_samples, tar_samples
from counterground.photos._source import (
    FileLoop,
    Source,
    benchmark_of_rows,
    expand_braces,
    is_web,
    problem_of_url,
)
from counterground.photos.labels import LabelSpace, read_class_names
from counterground.progress import progress_bar

ShardFormat = Literal["huggingface", "webdataset"]

EXPORT_FILE = "export.json"  # at the top of every export, even one of several formats
CLASS_NAMES_FILE = "classnames.txt"  # beside other people's tars with numbered classes
MAX_TOTAL_BYTES = 64 * 2**30
_MAX_SAMPLES = 2_000_000
_SHARDS: dict[ShardFormat, tuple[str, ...]] = {
    "webdataset": ("test/[0-9]*.tar", "*.tar"),
    "huggingface": ("data/*.parquet", "*.parquet"),
}
_SPLIT = re.compile(r"(?:^|[-_.])(train|validation|valid|val|dev|test)(?=[-_.]|$)")
_LAYOUT = 7  # of the unpacked folders: a new number gives a new folder


def unpack_samples(samples: Iterable[Sample], draft: Path) -> pl.DataFrame:
    """Write the photos of all samples below ``draft/photos`` and return what the shards say of them.

    Paths are the samples' own if they have one, else ``files/0000001.jpg`` and so on.

    Raises:
        CounterGroundError: no sample; a path that leaves the folder or occurs twice, a photo that does not
            match its ``photo_id``, or more than 64 GiB.
    """
    into = draft / "photos"
    rows: list[dict[str, Any]] = []
    total = 0
    for number, sample in enumerate(samples, 1):
        total += len(sample.photo) + len(sample.mask or b"")
        if total > MAX_TOTAL_BYTES or len(sample.photo) > MAX_PHOTO_BYTES or number > _MAX_SAMPLES:
            raise CounterGroundError(f"{sample.where}: more than 64 GiB in all, or 256 MiB in one photo.")
        fields = sample.fields
        digest = hashlib.sha256(sample.photo).hexdigest()
        if (stated := fields.get("photo_id")) not in (None, digest):
            changed = isinstance(stated, str) and re.search(HASH, stated)
            what = "its bytes are not those of its photo_id: they were changed" if changed else FOREIGN_ID
            raise CounterGroundError(f"{sample.where}: {what}.")
        path = str(fields.get("path") or f"files/{number:07d}{sample.suffix}")
        mask = None if sample.mask is None else str(fields.get("mask") or f"masks/{number:07d}.png")
        _write(sample.where, into, path, sample.photo)
        if mask is not None and sample.mask is not None:
            _write(sample.where, into, mask, sample.mask, shared=True)
        rows.append({**fields, "path": path, "photo_id": digest, "mask": mask})
    if not rows:
        raise CounterGroundError("the shards hold no photos.")
    names = dict.fromkeys(name for row in rows for name in row)
    frame = pl.DataFrame([_column(name, [row.get(name) for row in rows]) for name in names])
    return frame if "licence" in names else frame.rename({"license": "licence"}, strict=False)


def _column(name: str, values: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, values, strict=False)
    except (TypeError, OverflowError):  # as of a number that no column holds
        return pl.Series(name, values, pl.Object)


def _write(where: str, into: Path, path: str, data: bytes, *, shared: bool = False) -> None:
    """Write a new file below ``into``; a shared one may already exist with the same bytes."""
    if is_outside(path):
        raise CounterGroundError(f"{where} is not safe to unpack: {path!r} would land outside its folder.")
    target = into / path
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as file:
            file.write(data)
    except FileExistsError:
        if not (shared and target.is_file() and target.read_bytes() == data):
            raise CounterGroundError(f"{where}: {path!r} occurs twice.") from None


def benchmark_of_samples(
    frame: pl.DataFrame, draft: Path, source: Source, listed: Sequence[str], names: Path | None
) -> Benchmark:
    """Return the benchmark of strangers' samples.

    Args:
        frame: see `unpack_samples`.
        draft: where their photos are.
        source: which column is which. The class is the first of ``CLASS_FIELDS``, unless it is named.
        listed: names that the classes may have, if the shards list them.
        names: a file with the names of numbered classes.

    Raises:
        CounterGroundError: a photo without a class, a number without a name, or see `benchmark_of_rows`.
    """
    columns = {ours: theirs for ours, theirs in source.columns.items() if ours not in ("path", "mask")}
    labels = [columns.pop("class_name")] if "class_name" in columns else list(CLASS_FIELDS)
    labels = [label for label in labels if label in frame.columns]
    if labels:
        if names is None and frame[labels[0]].dtype.is_numeric():
            raise CounterGroundError(
                f"{source.place}: the class is a number, such as {frame[labels[0]][0]}, and its name is not "
                f"known: put the names, one per line in the order of the numbers, into {CLASS_NAMES_FILE} "
                "beside shards on this disk, or into a file for ?names=FILE."
            )
        texts = [cast_column(frame[label], pl.String()) for label in labels]
        classes = pl.select(pl.coalesce(texts)).to_series().alias("class_name")
        frame = frame.drop({*CLASS_FIELDS} - {*columns.values()}, strict=False).with_columns(classes)
        if not classes.str.contains(r"^\s*-?[0-9]+(\.0)?\s*$").all():
            names = None
    options = {"names": str(names)} if names else {}
    plain = replace(source, columns=columns, options=options)
    found = benchmark_of_rows(frame, plain, draft / "photos", "")
    absent = note_absent_classes(listed, found.photos["class_name"])
    return found.described(notes=(*absent, *found.notes))


def shard_format(folder: Path) -> ShardFormat | None:
    """Return the format of the shards in a folder, or None if its photos are files.

    Our own exports state it. Of other folders, one with ``test/0.tar``, or with tar files and no folders, is
    a WebDataset; one with ``data/*.parquet``, or Parquet files and no folders, is a Hugging Face data set.
    """
    if (folder / BENCHMARK_FILE).is_file():
        try:
            kind = read_json(folder / BENCHMARK_FILE).get("packed")
        except (AttributeError, OSError, ValueError):
            return None  # read_native says what is wrong with it
        return next((known for known in _SHARDS if known == kind), None)
    if (folder / MANIFEST_FILE).is_file():
        return None
    where = slice(1) if any(entry.is_dir() for entry in folder.glob("[!.]*")) else slice(None)
    found = (kind for kind, patterns in _SHARDS.items() for each in patterns[where] if any(folder.glob(each)))
    return next(found, None)


def read_shards(folder: Path, kind: ShardFormat) -> Benchmark:
    """Read a folder of shards; its photos are unpacked into the cache the first time.

    The unpacked folder is found again by the content of the shards. Our own exports have a label space; the
    classes of others are in the samples (``class_name``, ``class``, ``label`` or ``cls``), where numbers need
    ``classnames.txt`` or the names of a ``ClassLabel``.

    Raises:
        CounterGroundError: a shard is missing, damaged or unsafe; a sample has no photo or no class; or the
            cache cannot be written.
    """
    shards = sorted({path for pattern in _SHARDS[kind] for path in folder.glob(pattern)})
    splits = {match[1] for shard in shards if (match := _SPLIT.search(shard.stem))}
    ours = (folder / BENCHMARK_FILE).is_file()
    if len(splits) > 1 and not ours:
        raise CounterGroundError(
            f"{folder} holds several splits ({', '.join(sorted(splits))}): put the shards of one alone into a"
            " folder, and read that."
        )
    found = _unpacked_shards(folder, shards, kind)
    # A folder that we did not write has its name here, wherever its content was first read.
    return found if ours else found.described(name=folder.resolve().name)


def _unpacked_shards(
    folder: Path, shards: Sequence[Path], kind: ShardFormat, names: Path | None = None
) -> Benchmark:
    ours = [folder / name for name in (BENCHMARK_FILE, LABEL_SPACE_FILE) if (folder / name).is_file()]
    if names is None and not ours and (folder / CLASS_NAMES_FILE).is_file():
        names = folder / CLASS_NAMES_FILE
    try:
        contents = [file_sha256(file) for file in (*shards, *ours)]
    except OSError as error:
        raise CounterGroundError(f"Cannot read {error.filename}: {error.strerror or error}.") from error
    key = json.dumps([_LAYOUT, kind, contents, read_class_names(names) if names else None])

    def fill(draft: Path) -> None:
        listed: dict[str, None] = {}
        columns: dict[str, str] = {}

        def samples() -> Iterator[Sample]:
            for shard in shards:
                if kind == "webdataset":
                    yield from tar_samples(shard)
                else:
                    found, table = parquet_samples(shard)
                    listed.update(dict.fromkeys(table.class_names))
                    columns.update({"class_name": table.label} if table.label else {})
                    yield from found

        try:
            frame = unpack_samples(samples(), draft)
        except CounterGroundError as error:
            raise type(error)(f"{folder}: {error}") from error
        if folder / BENCHMARK_FILE in ours:
            frame, notes = as_attributes(frame.drop({*CLASS_FIELDS} - {"class_name"}, strict=False))
            space = LabelSpace.load(folder / LABEL_SPACE_FILE)
            found = Benchmark("", draft / "photos", frame, space)
            found = as_described(found.described(notes=(*notes, *describe_gaps(found))), folder)
        else:
            source = Source(str(folder), str(folder), columns)
            found = benchmark_of_samples(frame, draft, source, list(listed), names)
        write_benchmark(found, draft)

    return unpack_once(hashlib.sha256(key.encode()).hexdigest(), fill, str(folder))


def unpack_once(key: str, fill: Callable[[Path], None], what: str) -> Benchmark:
    """Return what was unpacked under a key, or let ``fill`` write it into an empty folder.

    Raises:
        CounterGroundError: from ``fill``, or the cache cannot be written.
    """
    target = cache_dir() / "unpacked" / key
    if (found := _unpacked(target)) is not None:
        return found
    try:
        with draft_folder(target) as draft:
            fill(draft)
            if _unpacked(target) is None:
                shutil.rmtree(target, ignore_errors=True)
            place_once(draft, target)
    except OSError as error:
        raise CounterGroundError(
            f"Cannot unpack {what} into {target.parent}: {error.strerror or error}. Free some space"
            " there; the cache can be moved with COUNTERGROUND_CACHE."
        ) from error
    return read_native(target)


def _unpacked(target: Path) -> Benchmark | None:
    """Return what was unpacked before; None if nothing was, or photos were deleted."""
    try:
        found = read_native(target)
    except CounterGroundError:
        return None
    return found if all(found.photo_path(path).is_file() for path in found.photos["path"]) else None


_SETTINGS = DownloadSettings(jobs=2, longest=21_600.0, timeout=60.0, most_bytes=MAX_TOTAL_BYTES)


def read_webdataset(source: Source, *, show_progress: bool = False) -> Benchmark:
    """Read the tars that braces stand for; those on the web are fetched into the cache first, each once.

    Names of numbered classes come from the file that ``names=`` gives, else from ``classnames.txt`` beside
    shards on this disk.

    Raises:
        UsageError: not tars, or an unknown setting.
        CounterGroundError: a shard cannot be fetched or read: none is left out.
    """
    source.only("names")
    if source.columns:
        raise UsageError(f"{source.text}: tars have no columns; of the settings only names= is for them.")
    places = expand_braces(source.place)
    paths = [urlsplit(place).path if is_web(place) else place for place in places]
    if not all(path.lower().endswith(".tar") for path in paths):
        raise UsageError(
            f"{source.text} is neither a table nor a tar: shards are named as in https://HOST/{{00000..00009}}.tar."
        )
    names = Path(source.options["names"]) if "names" in source.options else None
    if is_web(source.place):
        files = _fetch(places, show_progress=show_progress)
        first = PurePosixPath(unquote(paths[0]))
        name = first.parent.name or first.stem
    else:
        files = [Path(place) for place in places]
        if missing := [file for file in files if not file.is_file()]:
            raise UsageError(f"The shard {missing[0]} does not exist ({len(missing)} of {len(files)}).")
        name = files[0].parent.resolve().name if len(files) > 1 else files[0].stem
    return _unpacked_shards(files[0].parent, files, "webdataset", names).described(name=name)


def _fetch(urls: Sequence[str], *, show_progress: bool) -> list[Path]:
    """Return the shards in the cache."""
    for url in urls:
        if problem := problem_of_url(url):
            raise UsageError(f"{url!r} {problem}.")
    folder = cache_dir() / "fetched" / f"shards-{hashlib.sha256(' '.join(urls).encode()).hexdigest()[:32]}"
    check_writable(folder)
    files = [folder / f"{number:06d}.tar" for number in range(len(urls))]
    with (
        progress_bar("Fetching shards", "files", total=len(urls), shown=show_progress) as bar,
        # Without it, two processes would fetch each shard twice.
        file_lock(folder / ".fetching.lock", lambda: bar.note("waiting for another process")),
    ):
        wanted = [Task(url, file) for url, file in zip(urls, files, strict=True) if not file.is_file()]
        if wanted:
            with needs_extra("web"):
                import requests  # noqa: F401 - one clear line before anything else
            bar.update(len(urls) - len(wanted), len(urls))
            _ShardLoop(wanted, _SETTINGS, bar.advance).run()
    return files


class _ShardLoop(FileLoop):
    def work(self, task: Task[Path]) -> tuple[None, int]:
        return None, self.client.save(task.url, task.payload, stop=self.stop)

    def give_up(self, task: Task[Path], reason: str, *, again: bool) -> None:
        then = " What was fetched is kept: run the same command again." if again else ""
        raise CounterGroundError(f"The shard {without_query(task.url)} cannot be fetched: {reason}.{then}")
