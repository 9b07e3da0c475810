"""Croissant JSON-LD of an exported folder: its files with their hashes, and the records they form."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from datetime import date
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from counterground.construction.exports._card import citation
from counterground.construction.exports._copying import refuse_columns
from counterground.construction.exports._format import ExportFormat, Statement
from counterground.construction.exports._layout import Contents, keep_paths
from counterground.construction.exports._licences import read_licence
from counterground.construction.exports.formats._folders import write_folder
from counterground.errors import CounterGroundError
from counterground.files import write_text
from counterground.photos import LABEL_SPACE_FILE, Benchmark

CROISSANT_FILE = "croissant.json"
_CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_TERMS = (
    "citeAs column extract field fileObject fileProperty fileSet format includes isLiveDataset jsonPath key"
    " md5 parentField path recordSet references regex repeated replace samplingRate separator source subField"
    " transform equivalentProperty"
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}
_FILES = {
    "photos.parquet": ("application/x-parquet", "The manifest: one row per photo."),
    LABEL_SPACE_FILE: (
        "application/json",
        "The classes in order, with ImageNet-1K indices where they have them.",
    ),
    "ATTRIBUTION.csv": ("text/csv", "Author, licence and source of every photo."),
}
_FIELDS = {
    "photo_id": "SHA-256 of the photo's file.",
    "class_index": f"Number of the class in {LABEL_SPACE_FILE}.",
    "class_name": "What the photo shows.",
    "background": "What the object is in front of.",
    "group": "Of the two backgrounds of a class, common is taken to be the easier one, counter the harder.",
    "cluster": "Photos that are not independent share it.",
    "mask": "Path of the object's mask, relative to this folder.",
    "licence": "Licence of the photo.",
    "attribution": "Credit line to be shown with the photo.",
    "source": "Where the photo comes from.",
}
_ATTRIBUTE = "An attribute of the photo that the benchmark gives."
_IMAGE_TYPES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}


def _lay_out(benchmark: Benchmark) -> Contents:
    refuse_columns(benchmark, ("image",), "croissant")
    return keep_paths(benchmark)


def _finish(benchmark: Benchmark, statement: Statement, folder: Path) -> None:
    """Write ``croissant.json`` for a folder of photos; check it if mlcroissant is installed.

    Raises:
        CounterGroundError: mlcroissant finds an error in it.
    """
    content = _describe(benchmark, statement, folder)
    text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
    write_text(folder / CROISSANT_FILE, text)
    if importlib.util.find_spec("mlcroissant") is not None:
        _check(folder / CROISSANT_FILE)


def _describe(benchmark: Benchmark, statement: Statement, folder: Path) -> dict[str, Any]:
    facts = statement.facts
    content = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": statement.title(benchmark),
        "description": facts.description or " ".join(benchmark.notes) or statement.title(benchmark),
        "conformsTo": _CONFORMS_TO,
        "license": _licences(benchmark, facts.licence),
        "identifier": benchmark.version,
        "url": facts.url,
        "creator": [{"@type": "sc:Person", "name": name} for name in facts.creators],
        "citeAs": citation(benchmark, statement),
        "datePublished": date.today().isoformat(),  # noqa: DTZ011 - a day, not a moment
        "version": facts.version,
        "keywords": ["robustness", "spurious correlation", "image classification"],
        "distribution": [*(_file_object(folder / name) for name in _FILES), _file_set(benchmark)],
        "recordSet": [_record_set(benchmark)],
    }
    return {key: value for key, value in content.items() if value}


def _licences(benchmark: Benchmark, collection: str) -> list[str]:
    """Return the collection's licence, if one is stated, and those of the photos.

    A photo's licence is the address of its text, or its name if that has none.
    """
    found = {read_licence(text) for text in benchmark.photos["licence"].unique()}
    parts = {part for licence in found for part in (licence.url.split() or [licence.name])}
    return [*filter(None, [collection]), *sorted(parts - {collection})]


def _file_object(path: Path) -> dict[str, Any]:
    kind, what = _FILES[path.name]
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "description": what,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": kind,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _file_set(benchmark: Benchmark) -> dict[str, Any]:
    """Describe the photos, but not the masks, which are in folders of their own."""
    patterns, kinds = set(), set()
    for path in map(PurePosixPath, benchmark.photos["path"]):
        kinds.add(_IMAGE_TYPES.get(path.suffix.lower(), "image/jpeg"))
        if len(path.parts) == 1:
            patterns.add(escape(path.name))
        else:
            deep = "**/" if len(path.parts) > 2 else ""
            patterns.add(f"{escape(path.parts[0])}/{deep}*{escape(path.suffix)}")
    return {
        "@type": "cr:FileSet",
        "@id": "photo-files",
        "name": "photo-files",
        "description": "The photos; photo_id in photos.parquet is the SHA-256 of each.",
        # Readers take the first type they know, and JPEG decoders read all of them.
        "encodingFormat": sorted(kinds, key=lambda kind: (kind not in ("image/jpeg", "image/png"), kind)),
        "includes": sorted(patterns),
    }


def _record_set(benchmark: Benchmark) -> dict[str, Any]:
    schema = benchmark.photos.schema
    columns = {name: _FIELDS.get(name, _ATTRIBUTE) for name in schema if name != "path"}
    fields = (_column(name, what, schema[name]) for name, what in columns.items())
    return {
        "@type": "cr:RecordSet",
        "@id": "photos",
        "name": "photos",
        "description": "One record per photo.",
        "key": {"@id": "photos/path"},
        "field": [_path_field(), _image_field(), *fields],
    }


def _field(name: str, what: str, kind: str, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"photos/{name}",
        "name": name,
        "description": what,
        "dataType": kind,
        "source": source,
    }


def _column(name: str, what: str, kind: pl.DataType) -> dict[str, Any]:
    source = {"fileObject": {"@id": "photos.parquet"}, "extract": {"column": name}}
    return _field(name, what, _data_type(kind), source)


def _data_type(kind: pl.DataType) -> str:
    if kind == pl.Boolean:
        return "sc:Boolean"
    if kind.is_integer():
        return "sc:Integer"
    return "sc:Float" if kind.is_float() else "sc:Text"


def _path_field() -> dict[str, Any]:
    """Describe the path, by which files and rows of the manifest are joined.

    The regular expression changes nothing, but without one mlcroissant compares path objects with texts.
    """
    source = {
        "fileSet": {"@id": "photo-files"},
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": "^(.*)$"},
    }
    rows = {"fileObject": {"@id": "photos.parquet"}, "extract": {"column": "path"}}
    return _field("path", "Path of the photo, relative to this folder.", "sc:Text", source) | {
        "references": rows
    }


def _image_field() -> dict[str, Any]:
    source = {"fileSet": {"@id": "photo-files"}, "extract": {"fileProperty": "content"}}
    return _field("image", "The photo.", "sc:ImageObject", source)


def _check(path: Path) -> None:
    import mlcroissant

    try:
        mlcroissant.Dataset(path)
    except mlcroissant.ValidationError as error:
        raise CounterGroundError(
            f"mlcroissant refuses {path.name}: {' '.join(str(error).split())}"
        ) from error


CROISSANT = ExportFormat(
    name="croissant",
    summary="Photos in folders, a manifest (`photos.parquet`), and `croissant.json`, which describes both.",
    reader='import mlcroissant\n\nphotos = mlcroissant.Dataset("croissant.json").records("photos")',
    write=write_folder,
    lay_out=_lay_out,
    finish=_finish,
)
