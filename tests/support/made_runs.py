"""Runs with made-up predictions and real scores: the columns and records of a real run, without a model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from counterground.results import (
    PREDICTIONS_SCHEMA,
    BenchmarkRecord,
    CandidatesRecord,
    CountsRecord,
    InterventionRecord,
    ModelRecord,
    Run,
    RunInfo,
)

ANIMALS = [
    "ice bear",
    "black swan",
    "flamingo",
    "vulture",
    "ostrich",
    "brambling",
    "bulbul",
    "dung beetle",
    "goose",
]
BACKGROUNDS = ["snow", "grass", "water", "sky", "forest"]


def make_predictions(
    levels: dict[str, tuple[float, float]],
    *,
    classes: list[str],
    per_group: int = 20,
    groups: bool = True,
    lacking: dict[int, str] | None = None,
    label_space: str = "imagenet",
) -> pl.DataFrame:
    """``levels``: accuracies a model is drawn with; ``lacking``: class -> its group without photos."""
    rows = []
    for place, (model, level) in enumerate(levels.items()):
        rng = np.random.default_rng(place)
        for index, name in enumerate(classes):
            shift = 0.2 * np.sin(2.3 * index)
            for side, group in enumerate(("common", "counter")):
                if (lacking or {}).get(index) == group:
                    continue
                for photo in range(per_group):
                    right = bool(rng.random() < np.clip(level[side] + shift * (side - 0.5), 0.02, 0.98))
                    background = BACKGROUNDS[(index + side) % len(BACKGROUNDS)]
                    rows.append(
                        {
                            "path": f"{index}/{group}/{photo}.jpg",
                            "photo_id": f"{index}-{group}-{photo}",
                            "class_index": index,
                            "class_name": name,
                            "background": background,
                            "group": group if groups else None,
                            "cluster": f"{background}-{photo % 5}",
                            "model": model,
                            "names": "openai",
                            "prompts": "simple",
                            "protocol": "classification",
                            "answer_score": None,
                            "label_space": label_space,
                            "true_index": index,
                            "predicted_index": index if right else (index + 1) % len(classes),
                            "predicted_name": name,
                            "correct": right,
                            "true_rank": 0 if right else int(rng.integers(1, 12)),
                            "confidence": float(rng.uniform(0.3, 0.99)),
                            "top2_gap": float(rng.uniform(0.01, 0.4)),
                            "loss_sum": None,
                            "loss_mean": None,
                        }
                    )
    return pl.DataFrame(rows, schema=PREDICTIONS_SCHEMA)


def write_run(run, folder):
    """Write the files of a run that ``open_run`` reads; return the folder."""
    folder.mkdir(parents=True)
    run.predictions.write_parquet(folder / "predictions.parquet", metadata=run.info.as_metadata)
    run.estimates().write_parquet(folder / "scores.parquet")
    (folder / "run.json").write_text(run.info.model_dump_json(), "utf-8")
    return folder


def fresh_run(
    levels,
    *,
    classes=None,
    name="stamps",
    notes=(),
    warnings=(),
    model_warnings=None,
    path="run",
    version="ab12" * 16,
    **options,
):
    """Return a run of made-up predictions; ``options`` are those of make_predictions."""
    predictions = make_predictions(levels, classes=classes or ANIMALS, **options)
    photos = predictions["path"].n_unique()
    info = RunInfo(
        counterground_version="0.1.0",
        created="2025-11-25T10:00:00+00:00",
        python="3.11.9",
        platform="Linux, 2 cores",
        libraries={"torch": "2.13.0", "timm": "1.0.20"},
        device="cpu",
        precision="fp32",
        batch_size=32,
        threads=2,
        benchmark=BenchmarkRecord(name=name, version=version, n_photos=photos, notes=list(notes)),
        candidates=CandidatesRecord(name="imagenet", size=1000, source="ImageNet-1K"),
        names="openai",
        prompts="simple",
        models=[
            ModelRecord(
                spec=spec,
                kind="classifier",
                fingerprint="f" * 64,
                description={"parameters": 4652008, "training_data": "ImageNet-1K", "warnings": []},
            )
            for spec in levels
        ],
        warnings=list(warnings),
        model_warnings=model_warnings or {},
        counts=CountsRecord(photos=photos, unreadable=0, converted_to_rgb=3, ties=dict.fromkeys(levels, 0)),
        seconds=75.5,
    )
    return Run(Path(path), info, predictions)


def of_composites(run, source):
    """Return a run as if its photos were made by swapping backgrounds in those of another run."""
    made = InterventionRecord(
        kind="swap",
        version=2,
        opencv="4",
        source=source.info.benchmark,
        foregrounds=9,
        backgrounds=9,
    )
    return replace(run, info=run.info.model_copy(update={"intervention": made}))


@pytest.fixture(scope="session")
def make_run():
    """Function: (levels, **options of make_predictions and of RunInfo) -> Run."""
    return fresh_run


@pytest.fixture(scope="session")
def four_models(make_run):
    """The demo's shape: two ImageNet models and the two small CLIPs on one benchmark with groups."""
    return make_run(
        {
            "efficientnet-lite0": (0.81, 0.52),
            "efficientnet-lite1": (0.84, 0.61),
            "counterground:stamps-biased": (0.74, 0.31),
            "counterground:stamps-balanced": (0.70, 0.66),
        },
        notes=["Results are conditional on the 51 cut-outs; the cluster is the background photograph."],
    )
