"""Fuzz targets: each is one reader and a complete folder in which one file gets the bytes. See README.md."""

from __future__ import annotations

import atexit
import contextlib
import csv
import io
import json
import os
import shutil
import socket
import tarfile
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import rooms
from packed import know
from PIL import Image

from counterground.benchmarks import get_benchmark
from counterground.construction.imports import ImportOptions, import_photos
from counterground.errors import CounterGroundError
from counterground.inference.request import read_aliases
from counterground.masks import make_masks, read_masks
from counterground.offline import OFFLINE
from counterground.photos import (
    LabelSpace,
    load_photo,
    photo_size,
    prompt_templates,
    read_benchmark,
    read_class_names,
)
from counterground.results import open_run
from counterground.text import one_line

CORPUS = Path(__file__).parent / "corpus.tar.xz"
LONGEST = 4100
"""Upper bound on the characters of an error."""


@dataclass(frozen=True)
class Target:
    """A reader under test.

    Attributes:
        room: writes a complete folder.
        file: which of its files gets the bytes.
        read: reads the folder; returns how many rows or photos it found, None if they are not counted.
        count: counts them in the bytes without the library; None if it cannot tell.
        more: further seeds by name, besides the file as the room writes it.
    """

    room: Callable[[Path], Any]
    file: str
    read: Callable[[Path], int | None]
    count: Callable[[bytes], int | None] = lambda data: None  # noqa: ARG005
    more: Callable[[], dict[str, bytes]] = field(default=dict)


def check(name: str, data: bytes) -> str:
    """Read a folder with these bytes in it; return "read", or the error that the library gave.

    Raises:
        BaseException: whatever is neither success nor one line of ``CounterGroundError``: a finding.
    """
    target, place = TARGETS[name], _place(name)
    file = place.inside / target.file
    file.write_bytes(data)
    os.environ["COUNTERGROUND_CACHE"] = str(place.base / "cache")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = target.read(place.inside)
    except CounterGroundError as error:
        said = str(error)
        assert "\n" not in said, f"more than one line: {said!r}"
        assert len(said) < LONGEST, f"{len(said)} characters"
        assert one_line(said), "nothing is said"
        return said
    finally:
        _check_untouched(place, file)
    expected = target.count(data)
    assert found is None or expected is None or found == expected, f"{found} of {expected} were read"
    return "read"


@dataclass
class _Place:
    base: Path
    inside: Path
    before: dict[str, bytes]


@cache
def _place(name: str) -> _Place:
    """Make the folder of a target, three levels below one that must not change."""
    base = Path(tempfile.mkdtemp(prefix="fuzz-")) / "a" / "b"
    inside = base / "inside"
    shutil.copytree(_written(TARGETS[name].room), inside)
    (base / "canary").write_bytes(b"as it was")
    atexit.register(shutil.rmtree, base.parents[1], ignore_errors=True)
    return _Place(base, inside, _listing(base.parents[1]))


@cache
def _written(room: Callable[[Path], Any]) -> Path:
    """Write a room once: some take seconds, and several targets share a room."""
    base = Path(tempfile.mkdtemp(prefix="fuzz-room-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    os.environ["COUNTERGROUND_CACHE"] = str(base / "cache")
    (base / "inside").mkdir()
    room(base / "inside")
    return base / "inside"


def _clear(base: Path) -> None:
    for made in ("cache", "out"):
        shutil.rmtree(base / made, ignore_errors=True)


def _listing(top: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(top.rglob("*"))}


def _check_untouched(place: _Place, file: Path) -> None:
    """Remove the cache and ``out``, and check that nothing was written anywhere else."""
    _clear(place.base)
    now = _listing(place.base.parents[1])
    changed = [path for path in now | place.before if now.get(path) != place.before.get(path)]
    assert set(changed) <= {str(file)}, f"written outside: {changed}"


def seeds(name: str) -> dict[str, bytes]:
    """Return valid inputs of a target by file name."""
    target, place = TARGETS[name], _place(name)
    whole = place.before[str(place.inside / target.file)]
    found = {f"whole-{Path(target.file).name}": whole} | target.more()
    for data in found.values():
        know(data)
    return found


def corpus(name: str) -> dict[str, bytes]:
    """Return the valid inputs of a target, and what earlier runs made of them, by file name."""
    with tarfile.open(CORPUS) as packed:
        kept = {
            Path(member.name).name: packed.extractfile(member).read()  # type: ignore[union-attr]
            for member in packed
            if member.name.startswith(f"{name}/")
        }
    return kept | seeds(name)


def refuse_network() -> None:
    """Let nothing in this process leave the machine: a mutated address may belong to somebody.

    With ``--offline`` nothing waits between tries either; what a library does on its own is refused below.
    """
    os.environ[OFFLINE] = "1"
    connect = socket.socket.connect

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("no network here")

    def connect_here(self: socket.socket, address: Any) -> None:
        """Reach other processes, such as the one that forks trials; nothing else."""
        connect(self, address) if self.family == socket.AF_UNIX else refuse()

    socket.socket.connect = connect_here  # type: ignore[method-assign]
    socket.getaddrinfo = refuse


# Readers


def _photo(folder: Path) -> None:
    photo_size(folder / "photo")
    load_photo(folder / "photo")


def _benchmark(source: str) -> Callable[[Path], int]:
    def read(folder: Path) -> int:
        found = read_benchmark(folder / source)
        repr(found)
        return len(found)

    return read


def _imported(folder: Path) -> int:
    """Import; photos that are left out count, because they are reported one by one."""
    done = import_photos(folder.parent / "out" / "pool", folder / "photos.csv", ImportOptions(jobs=1))
    return done.added + done.present + len(done.rejected)


def _addresses(folder: Path) -> int:
    """Read addresses without fetching them, which only a private function does."""
    from counterground.construction.imports._table import is_address_table, read_addresses

    if not is_address_table(folder / "photos.csv", ImportOptions()):
        raise CounterGroundError("It is a manifest.")
    found = read_addresses(folder / "photos.csv", ImportOptions())
    repeated = sum(int(note.split()[1]) for note in found.notes if note.startswith("Skipped"))
    return len(found.candidates) + len(found.rejected) + repeated


def _unpacked(folder: Path) -> int:
    from counterground.benchmarks._archive import unpack

    out = folder.parent / "out"
    unpack(folder / "archive", out)
    return sum(path.is_file() for path in out.rglob("*"))


def _masks(source: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        made = make_masks(rooms.drawn(folder / "photos"), folder / source, folder.parent / "out" / "made")
        assert len(made.table) == len(rooms.PHOTOS)
        repr(made)

    return read


def _coco_masks_room(folder: Path) -> None:
    rooms.photos(folder / "photos")
    (folder / "instances.json").write_text(json.dumps(rooms.annotations()), encoding="utf-8")


def _read_masks(folder: Path) -> int:
    return len(read_masks(folder / "made").table)


def _run(folder: Path) -> None:
    from counterground.api import compare, scores

    run = open_run(folder / "run")
    repr(run)
    scores([run])
    compare([run], published=False)


def _report(discovery: str | None = None) -> Callable[[Path], None]:
    """Write the page of a run, without photos, which would take seconds more."""

    def read(folder: Path) -> None:
        from counterground.api import write_report

        given = discovery and folder / discovery
        write_report(folder / "run", folder.parent / "out" / "report.html", discovery=given, photos=False)

    return read


def _discovery(folder: Path) -> None:
    from counterground.discovery import read_discovery

    found = read_discovery(folder / "pairs")
    assert found is not None
    repr(found)
    found._repr_html_()


def _mitigation(folder: Path) -> None:
    from counterground.results import read_mitigation

    record = read_mitigation(folder / "run")
    for style in ("csv", "json", "markdown", "latex"):
        record.write(style)
    record._repr_html_()
    assert len(record.sentences) == 3
    _report()(folder)


def _head(folder: Path) -> None:
    from counterground.mitigation import read_head

    read_head(folder / "head.safetensors").logits(np.ones((2, 6), np.float32))


# Models


def _spec(folder: Path) -> None:
    """Check a specification as `evaluate` does before it loads anything; an endpoint is also opened."""
    _checked(folder, (folder / "spec").read_bytes().decode("utf-8", "surrogateescape"))


def _checked(folder: Path, text: str) -> None:
    from counterground.models import (
        check_specs,
        expected_kind,
        load_model,
        named_models,
        references_of,
        split_head,
    )
    from counterground.models._registry import find_family

    with contextlib.chdir(folder):
        named = named_models(text)
        for each in named:
            # Naming a user's module runs its code.
            if find_family(split_head(each.spec)[0]).prefix == "module":
                raise CounterGroundError("A module of one's own.")
        check_specs([each.spec for each in named])
        for each in named:
            expected_kind(each.spec)
            references_of(each.spec)
            if each.spec.startswith("http"):
                load_model(each)


def _model(spec: str) -> Callable[[Path], None]:
    return lambda folder: _checked(folder, spec)


def _onnx(folder: Path) -> None:
    from counterground.models import load_model

    with contextlib.chdir(folder):
        model = load_model("onnx:net.onnx", device="cpu")
        model.encode(model.preprocess(Image.new("RGB", rooms.SIZE))[None])


def _weights(name: str) -> Callable[[Path], None]:
    """Read only the weights, with a private function: networks that they fit are large."""

    def read(folder: Path) -> None:
        from counterground.models._weights import read_state_dict

        read_state_dict(folder / name, f"timm:resnet18@{name}")

    return read


def _aliases(folder: Path) -> int:
    return len(read_aliases(folder / "aliases.json", ("ox", "hen", "goat")))


def _layout(name: str) -> Callable[[Path], None]:
    def read(folder: Path) -> None:
        get_benchmark(name, archive=folder)

    return read


def _mnist(folder: Path) -> None:
    from counterground.paper.study.mnist import load_mnist

    load_mnist(folder)


def _coloredcoco(folder: Path) -> None:
    from counterground.paper.study.coco import load_coco_objects

    load_coco_objects(folder, 8, per_class={"train": 1, "validation": 1, "test": 1}, minimal_area=rooms.AREA)


# What collecting and labelling read


def _open_data(folder: Path) -> None:
    from counterground.construction.collection._open_data import list_open_data

    list_open_data(folder, {"ox": 5, "hen": [6]}, since="2020-01-01", licences=["cc-by", "cc0"])


def _answered(path: str) -> Callable[[Path], None]:
    """Read an answer of iNaturalist as if a server had sent it."""

    def read(folder: Path) -> None:
        from counterground.construction.collection import CollectOptions, _api, _listing
        from counterground.construction.collection._session import open_budget
        from counterground.construction.collection._taxa import Choice, Taxon
        from counterground.construction.pool import CANDIDATE_SCHEMA

        options = CollectOptions(api_url="http://127.0.0.1:1/v1", add=True)
        with contextlib.closing(open_budget(options)) as budget:
            api = _api.INaturalist(options, budget, lambda why: None)  # noqa: ARG005
            api._client.fetch = lambda _, take, **__: take(_answer(folder / path))  # type: ignore[method-assign]  # noqa: SLF001
            with contextlib.closing(api):
                if path == "taxa.json":
                    repr([api.search("ox"), api.taxon(5)])
                elif path == "places.json":
                    _listing.find_place(api, "Kruger")
                else:
                    choice = Choice("ox", (Taxon(5, "Bos"),), "name")
                    query = _listing.make_query(choice, options, None)
                    state = _listing.ListingState(query.to_setting())
                    pl.DataFrame(_listing.list_page(api, choice, query, state), CANDIDATE_SCHEMA)

    return read


def _answer(file: Path) -> Any:
    from counterground.http import Answer

    return Answer({"Content-Type": "application/json"}, file.read_bytes())


def _completion(folder: Path) -> None:
    """Read an answer of an endpoint, which is refused by a private error that means: ask again."""
    from counterground.models.generative._endpoint import _text, _TransientError, _UnfinishedError

    try:
        _text((folder / "completion.json").read_bytes())
    except (_TransientError, _UnfinishedError) as error:
        raise CounterGroundError(str(error)) from error


def _classes(folder: Path) -> None:
    from counterground.construction.collection import read_classes

    read_classes(folder / "names.txt")


def _labels(folder: Path) -> None:
    from counterground.construction.annotate._labels import read_labels

    read_labels(folder / "names.txt")


# Counts without the library


def _text(data: bytes) -> str | None:
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode("utf-8-sig")
    return None


def _csv_rows(data: bytes) -> int | None:
    text = _text(data)
    if text is None or ('"' in text.replace('""', "") and text.count('"') % 2):
        return None
    if "\r" in text.replace("\r\n", "") or "\n\n" in text.replace("\r\n", "\n"):
        return None  # readers disagree on whether empty lines, and lines that end otherwise, are rows
    header = text.split("\n", 1)[0]
    sign = next((sign for sign in ",;\t" if sign in header), ",")
    with contextlib.suppress(csv.Error):
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=sign))
        return len([row for row in rows if row]) - 1
    return None


def _json_lines(data: bytes) -> int:
    return sum(bool(line.strip()) for line in data.split(b"\n"))


def _parquet_rows(data: bytes) -> int | None:
    import pyarrow.parquet as pq

    with contextlib.suppress(Exception):
        return int(pq.ParquetFile(io.BytesIO(data)).metadata.num_rows)
    return None


def _members(data: bytes) -> Iterator[tarfile.TarInfo]:
    """Find members wherever a header stands, even after zeros, at which other readers stop."""
    with tarfile.open(fileobj=io.BytesIO(data), ignore_zeros=True) as tar:
        yield from (info for info in tar if info.isreg())


def _tar_photos(data: bytes) -> int | None:
    with contextlib.suppress(tarfile.TarError, EOFError, OSError, ValueError):
        kinds = [Path(info.name).suffix.lower() for info in _members(data)]
        return kinds.count(".png") if set(kinds) <= {".png", ".json"} else None
    return None


def _tar_files(data: bytes) -> int | None:
    if data[257:262] != b"ustar":  # compressed, or a zip
        return None
    with contextlib.suppress(tarfile.TarError, EOFError, OSError, ValueError):
        return sum(1 for _ in _members(data))
    return None


def _names_in(key: str | None) -> Callable[[bytes], int | None]:
    def count(data: bytes) -> int | None:
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            content = json.loads(data.decode("utf-8-sig"))
            return len(content if key is None else content[key])
        return None

    return count


def _lines(data: bytes) -> int | None:
    text = _text(data)
    return None if text is None else len(text.rstrip().split("\n"))


TARGETS: dict[str, Target] = {
    "photo": Target(
        lambda folder: (folder / "photo").write_bytes(rooms.picture(1)), "photo", _photo, more=rooms.images
    ),
    "manifest_csv": Target(rooms.manifest_csv, "photos.csv", _benchmark("photos.csv"), _csv_rows),
    "manifest_jsonl": Target(rooms.manifest_jsonl, "photos.jsonl", _benchmark("photos.jsonl"), _json_lines),
    "manifest_parquet": Target(
        rooms.manifest_parquet,
        "photos.parquet",
        _benchmark("photos.parquet"),
        _parquet_rows,
        rooms.wide_manifest,
    ),
    "coco": Target(rooms.coco, "instances.json", _benchmark("instances.json")),
    "native_description": Target(rooms.native, "benchmark.json", _benchmark("")),
    "native_labels": Target(rooms.native, "label_space.json", _benchmark("")),
    "native_photos": Target(rooms.native, "photos.parquet", _benchmark(""), _parquet_rows),
    "webdataset": Target(rooms.webdataset, "shard.tar", _benchmark(""), _tar_photos),
    "packed_description": Target(rooms.packed, "own/benchmark.json", _benchmark("own")),
    "hf_parquet": Target(rooms.hf_parquet, "data/train-00000.parquet", _benchmark(""), _parquet_rows),
    "hf_saved": Target(rooms.hf_saved, "dataset_info.json", _benchmark("")),
    "hf_arrow": Target(rooms.hf_saved, "data-00000-of-00001.arrow", _benchmark("")),
    "croissant": Target(rooms.croissant, "own/croissant.json", _benchmark("own/croissant.json")),
    "mm_spubench": Target(rooms.mm_spubench, "annotation.json", _benchmark(""), _names_in(None)),
    "spuriverse_shard": Target(
        rooms.spuriverse,
        "data/train-00000-of-00001.parquet",
        _benchmark(""),
        lambda data: None if (rows := _parquet_rows(data)) is None else 11 * rows,
    ),
    "spuriverse_questions": Target(rooms.spuriverse, "meta/seedbench_meta.csv", _benchmark("")),
    "metashift": Target(rooms.metashift, "imageID_to_group.pkl", _layout("metashift")),
    "waterbirds": Target(rooms.waterbirds, "metadata.csv", _layout("waterbirds")),
    "objectnet": Target(rooms.objectnet, "mappings/objectnet_to_imagenet_1k.json", _layout("objectnet")),
    "label_space": Target(
        rooms.label_space,
        "space.json",
        lambda folder: len(LabelSpace.load(folder / "space.json")),
        _names_in("names"),
    ),
    "class_names": Target(
        rooms.names, "names.txt", lambda folder: len(read_class_names(folder / "names.txt")), _lines
    ),
    "prompts": Target(
        rooms.prompts, "prompts.txt", lambda folder: len(prompt_templates(folder / "prompts.txt")), _lines
    ),
    "aliases": Target(rooms.aliases, "aliases.json", _aliases, _names_in(None)),
    "archive": Target(rooms.archive, "archive", _unpacked, _tar_files, rooms.archives),
    "import_files": Target(rooms.manifest_csv, "photos.csv", _imported, _csv_rows),
    "import_addresses": Target(rooms.addresses, "photos.csv", _addresses, _csv_rows),
    "mask_files": Target(rooms.mask_files, "masks/ox/p0.png", _masks("masks"), more=rooms.images),
    "mask_coco": Target(_coco_masks_room, "instances.json", _masks("instances.json")),
    "masks_table": Target(rooms.made_masks, "made/masks.csv", _read_masks),
    "masks_description": Target(rooms.made_masks, "made/masks.json", _read_masks),
    "run_description": Target(rooms.run, "run/run.json", _run),
    "run_predictions": Target(rooms.run, "run/predictions.parquet", _run),
    "run_scores": Target(rooms.run, "run/scores.parquet", _run),
    "report_run": Target(rooms.swapped, "run/run.json", _report()),
    "report_predictions": Target(rooms.swapped, "run/predictions.parquet", _report()),
    "report_discovery": Target(rooms.discovered, "pairs/discovery.json", _report("pairs")),
    "report_pairs": Target(rooms.discovered, "pairs/pairs.parquet", _report("pairs")),
    "report_cells": Target(rooms.discovered, "pairs/cells.parquet", _report("pairs")),
    "discovery": Target(rooms.discovered, "pairs/discovery.json", _discovery),
    "mitigation": Target(rooms.mitigated, "run/mitigation.json", _mitigation),
    "head": Target(rooms.head, "head.safetensors", _head),
    "mnist_images": Target(rooms.mnist, "train-images-idx3-ubyte.gz", _mnist),
    "mnist_labels": Target(rooms.mnist, "t10k-labels-idx1-ubyte", _mnist),
    "coloredcoco": Target(rooms.coloredcoco, "annotations/instances_train2017.json", _coloredcoco),
    "open_data_taxa": Target(rooms.open_data, "taxa.csv", _open_data),
    "open_data_observations": Target(rooms.open_data, "observations.csv", _open_data),
    "open_data_photos": Target(rooms.open_data, "photos.csv.gz", _open_data),
    "open_data_observers": Target(rooms.open_data, "observers.csv", _open_data),
    "inaturalist_taxa": Target(rooms.answers, "taxa.json", _answered("taxa.json")),
    "inaturalist_places": Target(rooms.answers, "places.json", _answered("places.json")),
    "inaturalist_observations": Target(rooms.answers, "observations.json", _answered("observations.json")),
    "collect_classes": Target(rooms.names, "names.txt", _classes),
    "label_names": Target(rooms.names, "names.txt", _labels),
    "model_completion": Target(rooms.answers, "completion.json", _completion),
    "model_spec": Target(rooms.models, "spec", _spec, more=rooms.specs),
    "model_onnx": Target(rooms.models, "net.onnx", _onnx),
    "model_onnx_description": Target(rooms.models, "net.onnx.json", _onnx),
    "model_hf": Target(rooms.models, "hf/config.json", _model("hf:hf")),
    "model_open_clip": Target(rooms.models, "clip/open_clip_config.json", _model("open_clip:clip")),
    "model_safetensors": Target(rooms.models, "weights.safetensors", _weights("weights.safetensors")),
    "model_pickle": Target(rooms.models, "weights.pth", _weights("weights.pth")),
}
