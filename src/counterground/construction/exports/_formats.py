"""The formats of an export: folders, shards, and the files that other libraries want beside them."""

from __future__ import annotations

import hashlib
import io
import json
import mimetypes
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from counterground.construction.exports._card import ExportFormat, Statement, citation, read_licence
from counterground.construction.exports._layout import (
    CLASS_FIELDS,
    Contents,
    Sample,
    Tick,
    copy_photos,
    counteranimal_paths,
    in_shards,
    samples,
)
from counterground.errors import CounterGroundError, needs_extra
from counterground.files import write_text
from counterground.photos import (
    LABEL_SPACE_FILE,
    Benchmark,
    image_type,
    imagenet_names,
    prompt_templates,
    write_benchmark,
    write_description,
)
from counterground.predictions import candidate_labels


def _write_folder(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write photos, ``photos.parquet``, the classes and ``benchmark.json``."""
    copy_photos(contents, folder, tick)
    write_benchmark(replace(contents.benchmark, root=folder), folder)


def _write_counteranimal(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write the CounterAnimal layout with its names file.

    Our manifest is beside the folders: clusters, licences and credits have no place in folder names.
    Readers of the layout do not see it; ours uses it, and reads only the folders if it is gone.
    """
    _write_folder(contents, folder, tick)
    space = contents.benchmark.classes
    if all(index is not None for index in space.imagenet):
        names, file = imagenet_names("wordnet"), "imagenet_names.txt"
    else:
        names, file = space.names, "class_names.txt"
    lines = [f"{index}\t{' '.join(name.split())}\n" for index, name in enumerate(names)]
    (folder / file).write_text("".join(lines), encoding="utf-8", newline="\n")


PARQUET = ExportFormat(
    name="parquet",
    summary="Photos in folders, and a manifest (`photos.parquet`) with one row for each.",
    reader='import polars as pl\n\nphotos = pl.read_parquet("photos.parquet")',
    write=_write_folder,
)
COUNTERANIMAL = ExportFormat(
    name="counteranimal",
    summary="The layout of CounterAnimal (`<class>/<group>-<background>/`), and a manifest.",
    reader='from torchvision.datasets import ImageFolder\n\nphotos = ImageFolder(".")',
    write=_write_counteranimal,
    lay_out=counteranimal_paths,
)


_FILES = {
    "photos.parquet": ("application/x-parquet", "The manifest: one row per photo."),
    LABEL_SPACE_FILE: (
        "application/json",
        "The classes in order, with ImageNet-1K indices where they have them.",
    ),
    "ATTRIBUTION.csv": ("text/csv", "Author, licence and source of every photo."),
}
_FIELDS = {
    "path": "Path of the photo, relative to this folder.",
    "image": "The photo.",
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


def _write_croissant(benchmark: Benchmark, statement: Statement, folder: Path) -> str:
    """Write ``croissant.json``: the files with their hashes, and the records that they form.

    Raises:
        CounterGroundError: mlcroissant is not content with it.
    """
    with needs_extra("data"):
        import mlcroissant as mlc
    facts = statement.settings
    try:
        metadata = mlc.Metadata(
            name=statement.title(benchmark),
            description=facts.description or " ".join(benchmark.notes) or statement.title(benchmark),
            conforms_to="http://mlcommons.org/croissant/1.0",
            license=_addresses(benchmark, facts.licence),
            url=facts.url or None,
            creators=[mlc.Person(name=name) for name in facts.creators],
            cite_as=citation(benchmark, statement),
            date_published=datetime.combine(date.today(), time()),  # noqa: DTZ011 - a day, not a moment
            version=facts.version,
            keywords=["robustness", "spurious correlation", "image classification"],
            distribution=_distribution(mlc, benchmark, folder),
            record_sets=[_record_set(mlc, benchmark)],
        )
    except mlc.ValidationError as error:
        raise CounterGroundError(
            f"mlcroissant refuses croissant.json: {' '.join(str(error).split())}"
        ) from error
    content = json.dumps(metadata.to_json(), ensure_ascii=False, indent=1, default=str)
    write_text(folder / "croissant.json", content + "\n")
    return ""


def _addresses(benchmark: Benchmark, collection: str) -> list[str]:
    """Return the collection's licence, if one is stated, and those of the photos: addresses, else names."""
    licences = {read_licence(text) for text in benchmark.photos["licence"].unique()}
    parts = {part for licence in licences for part in (licence.url.split() or [licence.name])}
    return [*filter(None, [collection]), *sorted(parts - {collection})]


def _distribution(mlc: Any, benchmark: Benchmark, folder: Path) -> list[Any]:
    """Describe the files of the folder and the photos, but not the masks."""
    paths = [PurePosixPath(path) for path in benchmark.photos["path"]]
    kinds = {mimetypes.guess_type(path.name)[0] or "image/jpeg" for path in paths}
    patterns = {
        f"{escape(path.parts[0])}/{'**/' if len(path.parts) > 2 else ''}*{escape(path.suffix)}"
        if len(path.parts) > 1
        else escape(path.name)
        for path in paths
    }
    photos = mlc.FileSet(
        id="photo-files",
        name="photo-files",
        description="The photos; photo_id in photos.parquet is the SHA-256 of each.",
        # Readers take the first type they know, and JPEG decoders read all of them.
        encoding_formats=sorted(kinds, key=lambda kind: (kind not in ("image/jpeg", "image/png"), kind)),
        includes=sorted(patterns),
    )
    files = [
        mlc.FileObject(
            id=name,
            name=name,
            description=what,
            content_url=name,
            content_size=f"{(folder / name).stat().st_size} B",
            encoding_formats=[kind],
            sha256=hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        )
        for name, (kind, what) in _FILES.items()
    ]
    return [*files, photos]


def _record_set(mlc: Any, benchmark: Benchmark) -> Any:
    def field(name: str, kind: str, source: Any, **references: Any) -> Any:
        what = _FIELDS.get(name, "An attribute of the photo that the benchmark gives.")
        return mlc.Field(
            id=f"photos/{name}", name=name, description=what, data_types=kind, source=source, **references
        )

    def column(name: str) -> Any:
        return mlc.Source(file_object="photos.parquet", extract=mlc.Extract(column=name))

    def of_file(what: str, *transforms: Any) -> Any:
        extract = mlc.Extract(file_property=what)
        return mlc.Source(file_set="photo-files", extract=extract, transforms=list(transforms))

    # The regular expression changes nothing, but without one paths are compared with texts.
    path = of_file("fullpath", mlc.Transform(regex="^(.*)$"))
    fields = [
        field("path", "https://schema.org/Text", path, references=column("path")),
        field("image", "https://schema.org/ImageObject", of_file("content")),
    ]
    fields += [
        field(name, _data_type(kind), column(name))
        for name, kind in benchmark.photos.schema.items()
        if name != "path"
    ]
    return mlc.RecordSet(
        id="photos", name="photos", description="One record per photo.", key="photos/path", fields=fields
    )


def _data_type(kind: pl.DataType) -> str:
    if kind == pl.Boolean:
        return "https://schema.org/Boolean"
    if kind.is_integer():
        return "https://schema.org/Integer"
    return "https://schema.org/Float" if kind.is_float() else "https://schema.org/Text"


CROISSANT = ExportFormat(
    name="croissant",
    summary="Photos in folders, a manifest (`photos.parquet`), and `croissant.json`, which describes both.",
    reader='import mlcroissant\n\nphotos = mlcroissant.Dataset("croissant.json").records("photos")',
    write=_write_folder,
    reserved=("image",),
    describe=_write_croissant,
)


_IMAGE = pl.Struct({"bytes": pl.Binary(), "path": pl.String()})
_GROUP_MEGABYTES = 16  # a row group is what a reader loads at once


def _write_huggingface(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write ``data/test-00000.parquet`` and so on; the card's front matter says what they hold.

    ``label`` is the class (a ``ClassLabel`` of the classes that have photos), ``class_index`` its number in
    the classes; ``image`` and ``mask`` are images. A shard's photos are in memory while it is
    written.
    """
    labels = {index: label for label, index in enumerate(_present_classes(contents.benchmark))}
    (folder / "data").mkdir()
    schema: dict[str, pl.DataType] = {
        "image": _IMAGE,
        "label": pl.Int64(),
        **_manifest_columns(contents.benchmark),
    }
    if contents.masks:
        schema["mask"] = _IMAGE
    for number, photos in in_shards(samples(contents, tick)):
        _write_shard(folder / "data" / f"test-{number:05d}.parquet", list(photos), labels, schema)
    write_description(contents.benchmark, folder, packed="huggingface")


def _present_classes(benchmark: Benchmark) -> list[int]:
    """Return the classes that have photos; others may only compete for them."""
    return benchmark.photos["class_index"].unique().sort().to_list()


def _manifest_columns(benchmark: Benchmark) -> dict[str, pl.DataType]:
    """Return the columns of the manifest as they are written, ``class_index`` first; masks are images."""
    schema = benchmark.photos.schema
    others = {name: kind for name, kind in schema.items() if name not in ("class_index", "mask")}
    return {"class_index": schema["class_index"], **others}


def _write_shard(
    path: Path, photos: Sequence[Sample], labels: Mapping[int, int], schema: Mapping[str, pl.DataType]
) -> None:
    rows: list[dict[str, Any]] = []
    for photo in photos:
        row = {name: value for name, value in photo.row.items() if name in schema}
        row |= {"image": {"bytes": photo.photo, "path": photo.row["path"]}}
        row["label"] = labels[photo.row["class_index"]]
        if "mask" in schema:
            row["mask"] = photo.mask and {"bytes": photo.mask, "path": photo.row["mask"]}
        rows.append(row)
    mean = sum(photo.size for photo in photos) / len(photos)
    pl.DataFrame(rows, schema=schema).write_parquet(
        path,
        compression="uncompressed",  # photos are compressed already
        statistics=False,
        row_group_size=max(1, int(_GROUP_MEGABYTES * 10**6 / mean)),
    )


def _unique_names(benchmark: Benchmark) -> list[str]:
    """Return the names of the classes with photos; shared names get the class number appended.

    A ``ClassLabel`` needs unique names.
    """
    names = {index: benchmark.classes.names[index] for index in _present_classes(benchmark)}
    count = Counter(names.values())
    return [name if count[name] == 1 else f"{name} ({index})" for index, name in names.items()]


def _front_matter(benchmark: Benchmark, statement: Statement, _folder: Path) -> str:
    """Return the YAML at the head of the card: configuration, features and licence."""
    names = {str(label): name for label, name in enumerate(_unique_names(benchmark))}
    features: list[dict[str, Any]] = [
        {"name": "image", "dtype": "image"},
        {"name": "label", "dtype": {"class_label": {"names": names}}},
    ]
    for name, kind in _manifest_columns(benchmark).items():
        features.append({"name": name, "dtype": "bool" if kind == pl.Boolean else str(kind).lower()})
    if benchmark.photos["mask"].is_not_null().any():
        features.append({"name": "mask", "dtype": "image"})
    own = statement.settings.licence or "not stated"
    return yaml_head(
        {
            "pretty_name": statement.title(benchmark),
            "license": "other",
            "license_name": "per-photo",
            "license_link": "ATTRIBUTION.csv",
            "license_details": f"Selection and labels: {own}. Each photo: its own, in ATTRIBUTION.csv.",
            "task_categories": ["image-classification", "zero-shot-image-classification"],
            "configs": [
                {"config_name": "default", "data_files": [{"split": "test", "path": "data/test-*.parquet"}]}
            ],
            "dataset_info": {"features": features},
        }
    )


def yaml_head(content: Mapping[str, Any]) -> str:
    """Return front matter: JSON, which is YAML, so nothing in a class name is ever read as YAML."""
    text = json.dumps(content, ensure_ascii=False, indent=1)
    escaped = (char if char.isprintable() or char == "\n" else f"\\U{ord(char):08x}" for char in text)
    return f"---\n{''.join(escaped)}\n---\n\n"


HUGGINGFACE = ExportFormat(
    name="huggingface",
    summary="Parquet shards with the photos in them, for the `datasets` library.",
    reader=(
        'import os, datasets\n\n# Not ".": load_dataset needs the name of the folder.\n'
        'photos = datasets.load_dataset(os.getcwd(), split="test")'
    ),
    write=_write_huggingface,
    reserved=("image", *CLASS_FIELDS),
    describe=_front_matter,
)


def _write_webdataset(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write ``test/0.tar`` and so on, with the files beside them from which CLIP_benchmark takes its prompts.

    Names and prompt are those with which a CLIP is evaluated by default. A photo is ``<key>.jpg``,
    ``<key>.cls`` (its class: a line of ``classnames.txt``, from 0), ``<key>.json`` (every field of the
    manifest) and, with a mask, ``<key>.mask.png``. Keys number the photos in manifest order; times and owners
    are zero.
    """
    labels = candidate_labels(contents.benchmark, None, "openai")
    (folder / "test").mkdir()
    shards = 0
    for shards, photos in in_shards(samples(contents, tick)):
        with tarfile.open(folder / f"test/{shards}.tar", "w:", format=tarfile.USTAR_FORMAT) as tar:
            for photo in photos:
                _add_sample(tar, photo, labels.true_index[photo.row["class_index"]])
    texts = {
        "test/nshards": [str(shards + 1)],
        "classnames": [" ".join(text.split()) for text in labels.texts],
        "zeroshot_classification_templates": [each.replace("{}", "{c}") for each in prompt_templates()],
        "dataset_type": ["classification"],
    }
    for name, lines in texts.items():
        write_text(folder / f"{name}.txt", "\n".join(lines) + "\n")
    write_description(contents.benchmark, folder, packed="webdataset")


def _add_sample(tar: tarfile.TarFile, photo: Sample, label: int | None) -> None:
    key = f"{photo.number:07d}"
    # By content: WebDataset chooses decoders by suffix, and knows neither .JPG nor .jfif.
    _add(tar, f"{key}{_suffix(photo.photo, '.jpg')}", photo.photo)
    _add(tar, f"{key}.cls", str(label).encode())
    _add(tar, f"{key}.json", json.dumps(photo.row, ensure_ascii=False, sort_keys=True).encode())
    if photo.mask is not None:
        _add(tar, f"{key}.mask{_suffix(photo.mask, '.png')}", photo.mask)


def _suffix(data: bytes, otherwise: str) -> str:
    kind = image_type(data)
    return kind.suffix if kind else otherwise


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


WEBDATASET = ExportFormat(
    name="webdataset",
    summary="WebDataset shards as CLIP_benchmark reads them; `<key>.json` has every field of the manifest.",
    reader=(
        'import glob, webdataset\n\nshards = glob.glob("test/*.tar")\n'
        'photos = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")'
    ),
    write=_write_webdataset,
    reserved=CLASS_FIELDS,
)


_TASK = """from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset
from inspect_ai.scorer import exact


@task
def main_object():
    return Task(json_dataset("samples.jsonl"), scorer=exact())
"""


def _write_inspect(contents: Contents, folder: Path, tick: Tick) -> None:
    """Write the folder of ``parquet``, ``task.py`` and ``samples.jsonl``: a question about each photo.

    It lists the names of the benchmark's classes, or of those that compete for the photo: more than the
    letters of a multiple choice.
    """
    _write_folder(contents, folder, tick)
    labels = candidate_labels(contents.benchmark, "benchmark", "openai")
    competing, lines = labels.space.candidates or {}, []
    for path, index in contents.benchmark.photos.select("path", "class_index").iter_rows():
        names = [labels.texts[each] for each in competing.get(index, range(len(labels.space)))]
        question = "\n".join(
            ["What is the main object in the image? Answer with one of these names:", *names]
        )
        content = [{"type": "image", "image": path}, {"type": "text", "text": question}]
        asked = [{"role": "user", "content": content}]
        lines.append(json.dumps({"id": path, "input": asked, "target": labels.texts[index]}) + "\n")
    write_text(folder / "samples.jsonl", "".join(lines))
    write_text(folder / "task.py", _TASK)


INSPECT = ExportFormat(
    name="inspect",
    summary="A task for Inspect: which object is in each photo? With the photos and a manifest.",
    reader='from inspect_ai import eval\n\nlogs = eval("task.py", model="openai/gpt-4o")',
    write=_write_inspect,
)
