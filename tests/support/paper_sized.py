"""Runs of the paper's size: 45 classes with figure 3's groups, right as often as it is said."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from counterground.metrics import SETTING
from counterground.published import load_table
from counterground.results import (
    PREDICTIONS_SCHEMA,
    BenchmarkRecord,
    CandidatesRecord,
    CountsRecord,
    ModelRecord,
    Run,
    RunInfo,
)

OPEN_CLIP_REFEREE = "open_clip:ViT-B-32/laion400m_e31"


def clip_record(spec, *, parameters=151_277_313, data="LAION-2B"):
    architecture, _, tag = spec.partition("?")[0].partition(":")[2].partition("/")
    description = {
        "architecture": architecture,
        "weights": tag,
        "parameters": parameters,
        "training_data": data,
    }
    return ModelRecord(spec=spec, kind="dual_encoder", fingerprint="f" * 64, description=description)


def classifier_record(spec, *, data="ImageNet-1K", weights="IMAGENET1K_V1"):
    architecture = spec.partition(":")[2].partition("/")[0] or spec
    description = {
        "architecture": architecture,
        "weights": weights,
        "parameters": 25_557_032,
        "training_data": data,
    }
    return ModelRecord(spec=spec, kind="classifier", fingerprint="f" * 64, description=description)


def record_of(spec):
    return clip_record(spec) if spec.startswith(("open_clip:", "counterground:")) else classifier_record(spec)


def paper_sizes():
    """``[45, 2]`` photos per class, common and counter, as the accuracies imply."""
    table = load_table("group_sizes").sort("class_id")
    return table.select("n_common_implied", "n_counter_implied").to_numpy()


def printed_accuracies(model):
    """``[45, 2]`` class-wise fractions of a CLIP of Tables 15 and 16."""
    rows = load_table("classwise_results").filter(pl.col("model") == model)
    rows = rows.unique("class_id", keep="first").sort("class_id")
    return rows.select("common", "counter").to_numpy() / 100


def predictions(accuracies, sizes, *, seed=0, **setting):
    """``accuracies``: spec -> ``[c, 2]`` fractions, or a pair for all classes; rounded to whole photos."""
    setting = {
        "names": "wordnet",
        "prompts": "simple",
        "protocol": "classification",
        "answer_score": None,
        "label_space": "imagenet",
        **setting,
    }
    cells = [(place, group) for place in range(len(sizes)) for group in (0, 1)]
    counts = [int(sizes[place][group]) for place, group in cells]
    place = np.repeat([place for place, _ in cells], counts)
    group = np.repeat([group for _, group in cells], counts)
    photo = np.concatenate([np.arange(n) for n in counts])
    rng = np.random.default_rng(seed)
    frames = []
    for spec, given in accuracies.items():
        levels = np.broadcast_to(np.asarray(given, dtype=float), (len(sizes), 2))
        right = np.concatenate(
            [rng.permutation(np.arange(n) < round(levels[c] * n)) for c, n in zip(cells, counts, strict=True)]
        )
        frame = pl.DataFrame(
            {
                "path": [f"{c}/{g}/{p}.jpg" for c, g, p in zip(place, group, photo, strict=True)],
                "class_index": place,
                "group": np.where(group == 0, "common", "counter"),
                "correct": right,
                "true_index": place,
                "predicted_index": np.where(right, place, place + 1),
            }
        ).with_columns(
            photo_id=pl.col("path"),
            class_name=pl.format("class {}", "class_index"),
            model=pl.lit(spec),
            **{name: pl.lit(value) for name, value in setting.items()},
        )
        missing = [name for name in PREDICTIONS_SCHEMA if name not in frame.columns]
        frames.append(frame.with_columns(pl.lit(None).alias(name) for name in missing))
    return pl.concat(frames).select(pl.col(n).cast(t) for n, t in PREDICTIONS_SCHEMA.items())


def make_paper_run(accuracies, *, sizes=None, records=None, path="run", name="counteranimal", **options):
    sizes = paper_sizes() if sizes is None else sizes
    setting = {key: options.pop(key) for key in SETTING if key in options}
    found = predictions(accuracies, sizes, seed=options.pop("seed", 0), **setting)
    photos = found["path"].n_unique()
    space = setting.get("label_space", "imagenet")
    info = {
        "counterground_version": "0.1.0",
        "created": "2026-11-25T10:00:00+00:00",
        "python": "3.11.9",
        "platform": "Linux",
        "libraries": {},
        "device": "cpu",
        "precision": "fp32",
        "batch_size": 32,
        "threads": 2,
        "benchmark": BenchmarkRecord(
            name=name,
            version=options.pop("version", name.ljust(8, "0") * 8),
            n_photos=photos,
            notes=options.pop("notes", []),
            **_without_fingerprints(options.pop("discovery", None)),
        ),
        "candidates": CandidatesRecord(
            name=space, size=1000, source="ImageNet-1K", version=options.pop("space_version", "1")
        ),
        "names": setting.get("names", "wordnet"),
        "prompts": setting.get("prompts", "simple"),
        "models": records or [record_of(spec) for spec in accuracies],
        "warnings": [],
        "counts": CountsRecord(
            photos=photos, unreadable=options.pop("unreadable", 0), converted_to_rgb=0, ties={}
        ),
        "seconds": 1.0,
    }
    return Run(Path(path), RunInfo(**{**info, **options}), found)


def _without_fingerprints(discovery):
    found = asdict(discovery) if discovery else {}
    return {name: value for name, value in found.items() if name != "fingerprints"}


@pytest.fixture(scope="session")
def make_run():
    """Function: (accuracies by spec, **what is to differ) -> Run."""
    return make_paper_run


@pytest.fixture(scope="session")
def referee_run(make_run):
    """The paper's referee, right on as many photos of each class and group as Table 15 prints."""
    return make_run({OPEN_CLIP_REFEREE: printed_accuracies("CLIP-LAION400M-ViT/B/32")}, path="runs/referee")


@pytest.fixture(scope="session")
def small_run(make_run):
    """Three ImageNet models and a CLIP on another benchmark of 6 classes."""
    levels = {
        "efficientnet-lite0": (0.7, 0.55),
        "efficientnet-lite1": (0.8, 0.65),
        "efficientnet-lite2": (0.85, 0.75),
        "open_clip:ViT-B-32/laion2b_s34b_b79k": (0.8, 0.4),
    }
    sizes = np.full((6, 2), 40)
    return make_run(levels, sizes=sizes, name="stamps", path="runs/small")
