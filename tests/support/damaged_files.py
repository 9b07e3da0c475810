"""Every kind of file that is read back, made small, and damaged in every way: what its readers then say."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from drawn_masks import save_masks
from made_pools import fill_pool
from noise_photos import save_animals

import counterground as cg
from counterground.construction.collection._api import _AnswerCache

# Private modules: each kind of file is written and read alone, not by the command that also writes others.
from counterground.construction.curation._measures import MeasureStore, PixelMeasures
from counterground.construction.pool import TASKS, open_pool
from counterground.discovery import read_discovery
from counterground.errors import CounterGroundError
from counterground.files import (
    DamagedCacheWarning,
    cache_dir,
    read_checked,
    write_checked,
    write_parquet,
    write_record,
)
from counterground.inference.generative._generation import Answer, AnswerStore
from counterground.inference.store import Block, CropStore, Decoded, FeatureStore
from counterground.masks import MaskDecisions, read_masks, standing
from counterground.mitigation import read_head
from counterground.mitigation._export import write_head
from counterground.mitigation._method import MitigatedHead
from counterground.paper.figures._material import read_study
from counterground.paper.study._grid import read_figures, run_grid
from counterground.paper.training import train
from counterground.paper.training._loop import Schedule
from counterground.photos import UnreadablePhoto, photo_geometry, read_benchmark, read_mask
from counterground.results import (
    Accuracies,
    Figure,
    MethodRecord,
    MitigationRecord,
    PartRecord,
    open_run,
    read_mitigation,
)

BRIGHTNESS = "colour_model:brightness"
_FLIPS = (0x01, 0xFF, 0x80, 0x20)


@dataclass(frozen=True)
class Kind:
    """A file, and what is read of it: a value that can be compared; None where it must be made again."""

    file: Path
    read: Callable[[], Any]


@dataclass
class Outcome:
    """What became of the damaged copies of a file; ``wrong`` lists what was missed."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def damaged(data: bytes, most: int) -> Iterator[tuple[str, bytes]]:
    """Yield a name and the bytes of damaged copies: cut, emptied, blocks zeroed, ``most`` flips at most."""
    yield "emptied", b""
    for part in (1, 2, 3):
        yield f"cut to {part}/4", data[: len(data) * part // 4]
    yield "cut by one byte", data[:-1]
    length = max(1, min(512, len(data) // 4))
    for start in range(0, len(data), max(length, len(data) // 8)):
        yield (
            f"zeroed from {start}",
            data[:start] + bytes(len(data[start : start + length])) + data[start + length :],
        )
    places = range(len(data))
    if len(data) > most:
        places = sorted(np.random.default_rng(0).choice(len(data), most, replace=False).tolist())
    for number, place in enumerate(places):
        changed = data[place] ^ _FLIPS[number % len(_FLIPS)]
        yield f"byte {place}", data[:place] + bytes([changed]) + data[place + 1 :]


def damage(kind: Kind, most: int) -> Outcome:
    """Damage a file in every way and read it; it is put back in the end.

    Each reading must give what the undamaged file gives (``unchanged``), say that it is made again
    (``rebuilt``), or be refused in one line (``refused``).
    """
    whole, outcome = kind.file.read_bytes(), Outcome()
    expected = kind.read()
    assert expected is not None
    for what, data in damaged(whole, most):
        if data == whole:
            continue
        kind.file.write_bytes(data)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                found = kind.read()
            except (CounterGroundError, UnreadablePhoto) as error:
                line = str(error)
                if "\n" in line or not line:
                    outcome.wrong.append(f"{what}: not one line: {line}")
                outcome.counts["refused"] += 1
            except Exception as error:
                outcome.wrong.append(f"{what}: {type(error).__name__}: {error}")
            else:
                again = any(issubclass(one.category, DamagedCacheWarning) for one in said)
                if found is not None and found != expected:
                    outcome.wrong.append(f"{what}: another result")
                elif found is None and not again:
                    outcome.wrong.append(f"{what}: not said to be damaged")
                outcome.counts["rebuilt" if again else "unchanged"] += 1
        kind.file.write_bytes(whole)
    assert kind.read() == expected
    return outcome


def cache_kinds(folder: Path) -> dict[str, Kind]:
    """Files of the cache, which are made again."""
    return {
        "features": _features(folder),
        "crops": _crops(),
        "head, runtime, measures of geometry: files with a checksum": _checked(folder),
        "geometry of objects": _geometry(folder),
        "measures of curate": _measures(folder),
        "answers of generative models": _answers(folder),
        "answers of the iNaturalist API": _inaturalist(),
    }


def result_kinds(folder: Path) -> dict[str, Kind]:
    """Files of results, which are refused."""
    save_animals(folder / "photos", per_group=4)
    cg.evaluate(str(folder / "photos"), BRIGHTNESS, label_space="benchmark", out=folder / "run", report=False)
    cg.discover(
        str(folder / "photos"), BRIGHTNESS, out=folder / "pairs", label_space="benchmark", min_drop=0,
        split="none", write_anyway=True,
    )  # fmt: skip
    tables = {
        f"run: {name}": Kind(folder / "run" / name, lambda: _run(folder / "run"))
        for name in ("run.json", "predictions.parquet", "scores.parquet")
    }
    pairs = {
        f"pairs: {name}": Kind(folder / "pairs" / name, lambda: repr(_told(read_discovery(folder / "pairs"))))
        for name in ("discovery.json", "pairs.parquet", "cells.parquet")
    }
    return {
        **tables,
        **pairs,
        "mitigation.json": _mitigation(folder),
        "exported head": _head(folder),
        **_study(folder),
        "figures of a training": _cell(folder),
        "checkpoint": _checkpoint(folder),
    }


def decision_kinds(folder: Path) -> dict[str, Kind]:
    """What people decided, and masks."""
    return {"pool: decisions.sqlite": _pool(folder), **_masks(folder)}


def _features(folder: Path) -> Kind:
    ids = [f"{number:064x}" for number in range(4)]
    features = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    FeatureStore(folder / "features", {}).put(
        ids, Block(features, np.array([False, True, False, False]), (None, None, "truncated", None))
    )

    def read() -> Any:
        found = FeatureStore(folder / "features", {}).get(ids)
        return found and (found.features.tolist(), found.converted.tolist(), found.reasons)

    return Kind(next((folder / "features").glob("*.safetensors")), read)


def _crops() -> Kind:
    store, ids = CropStore(10**9), ["a" * 64, "b" * 64]
    crop = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)
    store.put("8 x 8", ids, [Decoded(crop), Decoded(None, reason="empty file")])

    def read() -> Any:
        found = store.get("8 x 8", ids)
        return found and [
            (each.prepared is not None and each.prepared.tolist(), each.reason, each.converted)
            for each in found
        ]

    return Kind(next((cache_dir() / "crops").glob("*/*.safetensors")), read)


def _checked(folder: Path) -> Kind:
    write_checked(folder / "text.head", bytes(range(256)) * 2)
    return Kind(folder / "text.head", lambda: read_checked(folder / "text.head"))


def _geometry(folder: Path) -> Kind:
    benchmark = read_benchmark(save_animals(folder / "measured", per_group=1))
    kept = folder / "geometry"
    photo_geometry(benchmark, kept)
    return Kind(next(kept.iterdir()), lambda: photo_geometry(benchmark, kept).columns.rows())  # noqa: PLW0108 - read anew


def _measures(folder: Path) -> Kind:
    store = MeasureStore(folder / "measures")
    values = {name: float(place) for place, name in enumerate(PixelMeasures._fields)}
    measures = PixelMeasures(**{**values, "width": 8, "height": 8, "phash": 2**63 + 5})
    store.put({"a" * 64: measures, "b" * 64: measures})
    return Kind(next(store.folder.iterdir()), lambda: store.read().rows() or None)


def _answers(folder: Path) -> Kind:
    file = folder / "answers.sqlite"
    with closing(AnswerStore(file)) as store:
        for number in range(20):
            store.put(f"{number:064x}", "What is this?", Answer(f"a zebra, number {number}", number % 2 == 0))

    def read() -> Any:
        with closing(AnswerStore(file)) as store:
            found = [store.get(f"{number:064x}", "What is this?") for number in range(20)]
        return found if all(found) else None

    return Kind(file, read)


def _inaturalist() -> Kind:
    urls = [f"https://api.example.org/v1/taxa/{number}" for number in range(10)]
    with closing(_AnswerCache()) as cache:
        for number, url in enumerate(urls):
            cache.keep(url, {"results": [{"id": number, "name": f"Equus {number}"}]}, 10**6)

    def read() -> Any:
        with closing(_AnswerCache()) as cache:
            found = [cache.find(url) for url in urls]
        # What cannot be found any more is asked for again: an address that changed is one nobody asked for.
        return found if all(found) else [{"results": [{"id": n, "name": f"Equus {n}"}]} for n in range(10)]

    return Kind(cache_dir() / "inaturalist" / "answers.sqlite", read)


def _told(discovery: Any) -> Any:
    return discovery.pairs.rows(), discovery.cells.rows(), discovery.sentence, discovery.exceeds_chance


def _run(folder: Path) -> Any:
    run = open_run(folder)
    return run.info, run.scores.rows(), run.predictions.rows()


def _mitigation(folder: Path) -> Kind:
    accuracies = Accuracies(
        common=Figure(value=0.9), counter=Figure(value=0.4), drop=Figure(value=0.5), worst_group=0
    )
    method = MethodRecord(
        name="l2", title="t", source="s", model="m2", group_labels={}, chosen_by=None, tried=1, settings=[],
        mitigated=accuracies, cost=Figure(value=0.1), gain=Figure(value=0.2), cpu_seconds=1,
    )  # fmt: skip
    record = MitigationRecord(
        model="m", benchmark="b@1", contrast="drop: group=common - group=counter",
        parts=[PartRecord(photos=9, clusters=3)], seed=0, tests=0, unmitigated=accuracies, methods=[method],
    )  # fmt: skip
    (folder / "mitigated").mkdir()
    write_record(folder / "mitigated" / "mitigation.json", record.model_dump_json(indent=2))
    return Kind(folder / "mitigated" / "mitigation.json", lambda: read_mitigation(folder / "mitigated"))


def _head(folder: Path) -> Kind:
    weight = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    write_head(MitigatedHead(weight, bias=weight[0]), folder / "mitigated.safetensors", {"photos": 12})

    def read() -> Any:
        head = read_head(folder / "mitigated.safetensors")
        return head.weight.tolist(), head.bias.tolist(), head.projection, head.shift, head.normalise

    return Kind(folder / "mitigated.safetensors", read)


def _study(folder: Path) -> dict[str, Kind]:
    study = folder / "study"
    columns = ("mu_spu", "p_spu", "prompt", "error_misleads", "exact_error_misleads")
    grid = write_parquet(study / "grid.parquet", pl.DataFrame({name: [0.1, 0.2, 0.3] for name in columns}))
    write_record(study / "run.json", json.dumps({"study": "theory"}, indent=2), {"grid.parquet": grid})
    names = ("run.json", "grid.parquet")
    return {
        f"study: {name}": Kind(study / name, lambda: read_study(study).frames["grid"].rows())  # noqa: PLW0108 - read anew
        for name in names
    }


def _figures(cell: int, checkpoint: Path) -> dict[str, float]:
    return {"accuracy": 0.25 * cell, "drop": 0.125}


def _cell(folder: Path) -> Kind:
    file = folder / "cells" / "3.json"

    def read() -> Any:
        run_grid({3: file}, _figures, jobs=1)
        return read_figures(file, ["accuracy", "drop"])

    read()
    return Kind(file, read)


def _checkpoint(folder: Path) -> Kind:
    file = folder / "checkpoint.safetensors"

    def read() -> Any:
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 1)
        inputs = [torch.full((1, 2), float(step)) for step in range(3)]
        losses = train(
            model, inputs.__getitem__, lambda network, batch: network(batch).square().mean(),
            Schedule(steps=3), checkpoint=file, checkpoint_every=1, identity="a line",
        )  # fmt: skip
        return losses, model.weight.tolist()

    read()
    return Kind(file, read)


def _pool(folder: Path) -> Kind:
    root = folder / "pool"
    with fill_pool(root, {"ice bear": 4, "flamingo": 4}, licence=lambda _: "cc0") as pool:
        paths = pool.photos()["path"].to_list()
        for number, path in enumerate(paths):
            pool.decide(path, annotator="ann", task="background", labels=["snow"], seconds=number)
        pool.decide(paths[0], annotator="ben", task="review", labels=["ambiguity"], seconds=1.5)
        pool.decide(paths[0], annotator="ben", task="background", labels=["grass"])
        pool.undo("ben", "background")
        pool.set_setting("background_labels", ["snow", "grass"])
        pool.add_candidates(
            [{"key": "inaturalist:1", "class_name": "flamingo", "position": 0, "url": "https://x.org"}]
        )
        pool.mark_candidates([("inaturalist:1", "flamingo", "failed", "gone")])

    def read() -> Any:
        for left in root.glob("decisions.sqlite-*"):  # of another copy of the file
            left.unlink()
        with open_pool(root) as pool:
            frames = (pool.photos(), pool.decisions(), pool.candidates(), *map(pool.verdicts, TASKS))
            frozen = pool.freeze()
            return [frame.rows() for frame in frames], frozen.version, frozen.notes, pool.background_labels()

    return Kind(root / "decisions.sqlite", read)


def _masks(folder: Path) -> dict[str, Kind]:
    masks = save_masks(folder)
    reviewed = MaskDecisions(masks.folder, create=True)
    path = masks.table["path"][0]
    reviewed.decide(path, "accepted", annotator="ann", token="1", judged=None)
    reviewed.decide(masks.table["path"][1], "rejected", annotator="ann", token="2")
    reviewed.undo("ann", token="3")

    def table() -> Any:
        found = read_masks(masks.folder, reviewed=False)
        return found.table.rows(), found.description, found.notes

    return {
        "masks.json": Kind(masks.folder / "masks.json", table),
        "masks.csv": Kind(masks.folder / "masks.csv", table),
        "masks: decisions.sqlite": Kind(masks.folder / "decisions.sqlite", lambda: standing(masks.folder)),
        "mask": _mask(masks.folder / masks.table["mask"].drop_nulls()[0]),
    }


def _mask(file: Path) -> Kind:
    return Kind(file, lambda: read_mask(file).tolist())
