"""Benchmarks described in Croissant, MLCommons' JSON-LD for data sets; mlcroissant reads their records.

The format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

import json
import logging
import os
import tarfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import polars as pl

from counterground.errors import (
    CounterGroundError,
    UsageError,
    did_you_mean,
    error_message,
    error_summary,
    needs_extra,
)
from counterground.files import (
    cache_dir,
    draft_folder,
    file_sha256,
    is_file,
    parse_json,
    place_once,
    read_json,
    read_text,
)
from counterground.hostile import BoundedTarInfo, check_tar_end, check_zip_start
from counterground.http import check_online, without_query
from counterground.photos._benchmark import Benchmark, benchmark_of_frame, describe_gaps
from counterground.photos._memory import manifest_of_table, note_absent_classes, refuse_shared_names
from counterground.photos._native import LABEL_SPACE_FILE
from counterground.photos.labels import LabelSpace
from counterground.photos.shards import MAX_TOTAL_BYTES
from counterground.photos.sources import is_web

_FILES = ("croissant.json", "metadata.json")
_CLASS_FIELDS = ("class_name", "class", "label", "cls", "category")
_OTHER_SPELLING = {"license": "licence"}
_NUMBERED = ("class_index", "photo_id")  # meaningful only with our label space


def find_croissant(path: Path) -> Path | None:
    """Return the Croissant file that a path is, or that a folder holds; None if there is none."""
    files = [path / name for name in _FILES] if path.is_dir() else [path]
    return next((file for file in files if file.suffix == ".json" and _is_croissant(file)), None)


def is_croissant_url(text: str) -> bool:
    """Return whether a text is the web address of a JSON file, or of a hub's ``/croissant``."""
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and parts.path.endswith((".json", "/croissant"))


def _is_croissant(file: Path) -> bool:
    try:
        text = read_text(file, most=None)
        content = parse_json(text) if "croissant" in text else None  # annotations take seconds
    except (OSError, ValueError):
        return False
    keys = ("conformsTo", "dct:conformsTo", "@context")
    named = [content.get(key) for key in keys] if isinstance(content, dict) else []
    return "mlcommons.org/croissant" in json.dumps(named)


def read_croissant(
    file: Path | str,
    columns: Mapping[str, str] | None = None,
    *,
    records: str | None = None,
    split: str | None = None,
) -> Benchmark:
    """Read the records of a Croissant file as a benchmark.

    The photo is the field of type ``sc:ImageObject``. The class is the field of type ``cr:Label``, else the
    one called ``class_name``, ``class``, ``label``, ``cls`` or ``category``; its numbers get the names of the
    records that it references. Fields named like other manifest columns are those columns. Files are kept as
    they are; none is decoded. If ``label_space.json`` is among them, as in our exports, its classes are used.

    Args:
        file: path or web address.
        columns: manifest column -> field name, for columns that the rules above do not find.
        records: name of the record set, if several have photos.
        split: name of the split to read, if the records are in several.

    Raises:
        MissingExtraError: mlcroissant is not installed.
        UsageError: an unknown field, record set or split, or one that must be named.
        CounterGroundError: it is not valid Croissant, a file is missing or changed, or the manifest is not
            valid.
    """
    os.environ.setdefault("CROISSANT_CACHE", str(cache_dir() / "croissant"))  # mlcroissant reads it on import
    with needs_extra("datasets"):
        import mlcroissant  # noqa: F401 - one clear line before anything else
    with _mlcroissant(file):
        metadata = _metadata(file)
    record_set = _record_set(file, metadata, records)
    fields = {_name(field): field for field in record_set.fields}
    chosen = _columns(file, fields, columns or {})
    with _mlcroissant(file):
        rows = _rows(metadata, record_set, fields[chosen["path"]])
    rows = _of_split(file, rows, fields, split)
    values = {name: [row[name] for row in rows] for name in fields}
    label = chosen["class_name"]
    values[label], absent = _class_names(file, metadata, fields[label], values[label])
    named = {ours: values[theirs] for ours, theirs in chosen.items()}
    rest = {name: column for name, column in values.items() if name not in chosen.values()}
    others = {_OTHER_SPELLING.get(name, name): column for name, column in rest.items()}
    try:
        found = _benchmark(file, metadata, others | named)
        return found.described(notes=(*absent, *found.notes))
    except CounterGroundError as error:
        raise CounterGroundError(f"{file}: {error}") from error


@contextmanager
def _mlcroissant(file: Path | str) -> Iterator[None]:
    """Turn any error into one line, and keep warnings and logs quiet."""
    log = logging.getLogger("absl")
    level = log.level
    try:
        log.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except CounterGroundError:
        raise
    except Exception as error:
        reason = error_summary(error.__cause__ or error)
        raise CounterGroundError(f"mlcroissant cannot read {file} ({reason}).") from error
    finally:
        log.setLevel(level)


def _metadata(file: Path | str) -> Any:
    """Return what the file describes, with archives unpacked and relative web addresses made absolute."""
    import mlcroissant

    if isinstance(file, Path):
        metadata = mlcroissant.Dataset(file.absolute()).metadata
    else:
        metadata = mlcroissant.Dataset(_fetched(file)).metadata
    objects = [node for node in metadata.distribution if isinstance(node, mlcroissant.FileObject)]
    formats = {mlcroissant.EncodingFormat.ZIP, mlcroissant.EncodingFormat.TAR}
    archives = [node for node in objects if formats.intersection(node.encoding_formats or ())]
    if len(archives) > 1:
        names = ", ".join(node.name or node.id for node in archives)
        raise CounterGroundError(
            f"{file} has several archives ({names}), and only one can be read: unpack them."
        )
    for archive in archives:
        _use_unpacked(file, metadata, archive)
    if any(is_web(node.content_url or "") for node in objects):
        check_online(f"Fetching the files that {file} names")
    if not isinstance(file, Path):
        _refuse_local_files(file, metadata)
        for node in objects:
            node.content_url = urljoin(file, node.content_url or "")
    return metadata


def _fetched(url: str) -> dict[str, Any]:
    """Return the JSON at a web address."""
    from counterground.http import Client, FetchError, user_agent

    client = Client(user_agent())
    try:
        content = json.loads(client.fetch(url).body)
    except FetchError as error:
        raise CounterGroundError(f"Cannot fetch {without_query(url)}: {error.reason}.") from error
    except (ValueError, RecursionError) as error:
        raise CounterGroundError(f"{without_query(url)} is not JSON that can be read.") from error
    finally:
        client.close()
    if not isinstance(content, dict):
        raise CounterGroundError(f"{without_query(url)} is not a Croissant file.")
    return content


def _refuse_local_files(url: str, metadata: Any) -> None:
    """Refuse photos that lie beside a file on the web: nothing lists them."""
    import mlcroissant

    for node in metadata.distribution:
        if isinstance(node, mlcroissant.FileSet) and not node.contained_in:
            raise CounterGroundError(
                f"{url}: the files {node.name or node.id!r} lie beside it, and a web address lists no files:"
                " download the folder, and name that."
            )


def _use_unpacked(file: Path | str, metadata: Any, archive: Any) -> None:
    """Unpack an archive into the cache, once per content, and read its files from there."""
    path = Path(file).absolute().parent / Path(urlsplit(archive.content_url or "").path).name
    if not isinstance(file, Path) or not path.is_file():
        raise CounterGroundError(
            f"{file} needs the archive {archive.content_url}: download both, put the archive beside the"
            " Croissant file, and name that file."
        )
    digest = file_sha256(path)
    if archive.sha256 not in (None, digest):
        raise CounterGroundError(f"{path} is not the archive of {file.name} (SHA-256): get it again.")
    folder = cache_dir() / "unpacked" / f"archive-{digest}"
    if not folder.is_dir():
        with draft_folder(folder) as draft:
            _unpack(path, draft)
            place_once(draft, folder)
    for node in metadata.distribution:
        if any(archive.uuid in (source, getattr(source, "uuid", None)) for source in node.contained_in or ()):
            node.contained_in = []
            if hasattr(node, "sha256") and node.content_url:
                node.sha256 = file_sha256(folder / node.content_url)
        elif hasattr(node, "content_url") and node is not archive and not is_web(node.content_url or ""):
            node.content_url = str(file.absolute().parent / node.content_url)
    metadata.distribution = [node for node in metadata.distribution if node is not archive]
    metadata.ctx.graph.remove_node(archive)
    metadata.ctx.folder = type(metadata.ctx.folder)(folder)


def _unpack(archive: Path, into: Path) -> None:
    """Unpack a zip or tar; no name leaves the folder, and sizes are bounded."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                check_zip_start(packed)
                total = sum(info.file_size for info in packed.infolist())
                if total <= MAX_TOTAL_BYTES:
                    packed.extractall(into)  # noqa: S202 - it keeps names inside, and sizes are known
        else:
            with tarfile.open(archive, tarinfo=BoundedTarInfo) as tar:
                total = sum(info.size for info in tar)
                check_tar_end(tar)
                if total <= MAX_TOTAL_BYTES:
                    tar.extractall(into, filter="data")
    except (OSError, EOFError, UnicodeDecodeError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise CounterGroundError(f"Cannot unpack {archive}: {error_message(error)}.") from error
    if total > MAX_TOTAL_BYTES:
        raise CounterGroundError(f"{archive} holds more than 64 GiB.")


def _name(field: Any) -> str:
    return field.name or str(field.id).rpartition("/")[2]


def _is(field: Any, kind: str) -> bool:
    return any(str(each).endswith(f"/{kind}") for each in field.data_types)


def _record_set(file: Path | str, metadata: Any, wanted: str | None) -> Any:
    """Return the record set called ``wanted``, or the only one with photos."""
    found = {record_set.name or record_set.id: record_set for record_set in metadata.record_sets}
    pictured = [
        name for name, each in found.items() if any(_is(field, "ImageObject") for field in each.fields)
    ]
    if wanted is None and len(pictured) == 1:
        return found[pictured[0]]
    if wanted in found:
        return found[wanted]
    if wanted is None and not pictured:
        raise CounterGroundError(f"{file} has no record set with a field of type sc:ImageObject: no photos.")
    problem = "has several record sets with photos" if wanted is None else f"has no record set {wanted!r}"
    raise UsageError(f"{file} {problem}: name one with records=, of {', '.join(pictured or found)}.")


def _columns(file: Path | str, fields: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of the photo, of the class, and of what ``columns`` names."""
    for name in columns.values():
        if name not in fields:
            raise UsageError(
                f"{file} has no field {name!r}; it has {', '.join(fields)}.{did_you_mean(name, fields)}"
            )
    images = [name for name, field in fields.items() if _is(field, "ImageObject") and name != "mask"]
    labels = [name for name, field in fields.items() if _is(field, "Label")]
    labels = labels or [name for name in _CLASS_FIELDS if name in fields][:1]
    chosen = dict(columns)
    for column, setting, candidates in (("path", "image", images), ("class_name", "label", labels)):
        if column in chosen:
            continue
        if len(candidates) != 1:
            found = f"several may be ({', '.join(candidates)})" if candidates else "none is known to be"
            raise UsageError(
                f"{file}: which field is the {setting}? {found}. Say it with {setting}=, one of"
                f" {', '.join(fields)}."
            )
        chosen[column] = candidates[0]
    return chosen


def _rows(metadata: Any, record_set: Any, image: Any) -> list[dict[str, Any]]:
    """Return the records by field name; photos in files as paths, others as bytes."""
    import mlcroissant

    # As text, bytes stay bytes: otherwise every photo would be held in memory decoded.
    image.data_types = [mlcroissant.DataType.TEXT]
    if image.source.extract.file_property is mlcroissant.FileProperty.content:
        image.source.extract.file_property = mlcroissant.FileProperty.filepath
        for node in metadata.distribution:
            if node.uuid == image.source.file_set:
                node.encoding_formats = [mlcroissant.EncodingFormat.TEXT]
    dataset = mlcroissant.Dataset.from_metadata(metadata)
    keys = {field.name if metadata.ctx.is_v0() else field.id: _name(field) for field in record_set.fields}
    return [
        {name: _value(record.get(key), keep=name == _name(image)) for key, name in keys.items()}
        for record in dataset.records(record_set.name if metadata.ctx.is_v0() else record_set.id)
    ]


def _value(value: Any, *, keep: bool) -> Any:
    if keep:
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value) if isinstance(value, list | dict) else value


def _of_split(
    file: Path | str, rows: list[dict[str, Any]], fields: Mapping[str, Any], wanted: str | None
) -> list[dict[str, Any]]:
    """Return the records of one split, refusing to mix several."""
    name = next((name for name, field in fields.items() if _is(field, "Split") or name == "split"), None)
    split_of = [None if name is None else str(row[name]) for row in rows]
    splits = sorted(set(filter(None, split_of)))
    if wanted is None and len(splits) < 2:
        return rows
    if wanted not in splits:
        problem = "holds several splits" if wanted is None else f"has no split {wanted!r}"
        raise UsageError(f"{file} {problem}: name one with split=, of {', '.join(splits) or 'none'}.")
    return [row for row, split in zip(rows, split_of, strict=True) if split == wanted]


def _class_names(
    file: Path | str, metadata: Any, field: Any, given: Sequence[Any]
) -> tuple[list[Any], tuple[str, ...]]:
    """Return the class names of labels, which may be numbers that the referenced records name, and notes."""
    if all(value is None or isinstance(value, str) for value in given):
        return list(given), ()
    key: str = field.references.uuid or ""
    texts = [
        (record[key], [value for value in record.values() if isinstance(value, str)])
        for record in _referenced(metadata, key)
    ]
    names: dict[Any, str] = {number: found[0] for number, found in texts if found}
    unknown = sorted({str(value) for value in given if value not in names})
    if unknown:
        raise CounterGroundError(
            f"{file}: the field {_name(field)!r} has numbers ({', '.join(unknown[:3])}) that no record set"
            " names, and numbers are not names: say with label= which field has names."
        )
    named = [names[value] for value in given]
    try:
        refuse_shared_names(dict.fromkeys(zip(named, given, strict=True)))
    except CounterGroundError as error:
        raise CounterGroundError(f"{file}: {error}") from error
    return named, note_absent_classes(list(names.values()), named)


def _referenced(metadata: Any, uuid: str) -> list[dict[str, Any]]:
    """Return the records that the record set of a field states inline."""
    for record_set in metadata.record_sets:
        if any(field.id == uuid for field in record_set.fields):
            return list(record_set.data or [])
    return []


def _benchmark(file: Path | str, metadata: Any, columns: dict[str, list[Any]]) -> Benchmark:
    """Return the benchmark of the manifest's columns; ``path`` holds paths or the bytes of files."""
    name = metadata.name
    if not columns["path"]:
        raise CounterGroundError("it has no records.")
    if not all(_is_path(value) for value in columns["path"]):
        packed = {each: columns.pop(each) for each in ("path", "class_name")}
        photos, folder, _ = manifest_of_table(packed, None, {each: each for each in packed}, None)
        frame = pl.DataFrame({**columns, **photos.to_dict()}, strict=False)
        masks_root = file.parent if isinstance(file, Path) else None
        return benchmark_of_frame(frame.drop("class_index", strict=False), folder, name, masks_root)
    files = [Path(os.fsdecode(value)) for value in columns.pop("path")]
    folder = _folder(metadata, files)
    paths = [path.relative_to(folder).as_posix() for path in files]
    frame = pl.DataFrame({"path": paths, **columns}, strict=False)
    space = _label_space(file, metadata)
    if space is None:
        return benchmark_of_frame(frame.drop(_NUMBERED, strict=False), folder, name)
    found = Benchmark(name, folder, frame, space)
    return _checked(file, found.described(notes=describe_gaps(found)))


def _is_path(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) < 4096 and is_file(Path(os.fsdecode(value)))


def _folder(metadata: Any, photos: Sequence[Path]) -> Path:
    """Return the folder of the Croissant file, or of its archive, if all photos are in it.

    Otherwise, as in a repository that mlcroissant cloned, return the deepest folder that they share.
    """
    own = Path(metadata.ctx.folder) if metadata.ctx.folder is not None else None
    if own is not None and all(photo.is_relative_to(own) for photo in photos):
        return own
    return Path(os.path.commonpath([photo.parent for photo in photos]))


def _label_space(file: Path | str, metadata: Any) -> LabelSpace | None:
    """Return the label space among the files, if there is one; its hash must match."""
    for node in metadata.distribution:
        if isinstance(file, Path) and node.name == LABEL_SPACE_FILE:
            path = file.parent / LABEL_SPACE_FILE
            if not path.is_file() or file_sha256(path) != node.sha256:
                raise CounterGroundError(f"{LABEL_SPACE_FILE} is missing or changed: export again.")
            return LabelSpace.load(path)
    return None


def _checked(file: Path | str, found: Benchmark) -> Benchmark:
    """Refuse an export of ours that has lost a photo or a row of the manifest."""
    version = read_json(file, most=None).get("identifier")
    if version is None:
        return found
    if found.version != str(version):
        raise CounterGroundError(
            f"its {len(found):,} photos are not those that it was written for (version"
            f" {str(version)[:12]}): bring missing photos back, or export again."
        )
    return found
