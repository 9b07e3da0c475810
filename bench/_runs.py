"""Runs of made-up models on photos of CounterAnimal's class and group sizes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl

from counterground.files import write_text
from counterground.published import load_table
from counterground.results import (
    PREDICTIONS_SCHEMA,
    BenchmarkRecord,
    CandidatesRecord,
    CountsRecord,
    ModelRecord,
    RunInfo,
)

NAMES = 1000


def make_photos(scale: float = 1.0, seed: int = 0) -> pl.DataFrame:
    """Return CounterAnimal's 13,100 photos, or ``scale`` times as many; observers took a few to hundreds.

    The columns are those of ``predictions.parquet`` that describe a photo.
    """
    random = np.random.default_rng(seed)
    sizes = load_table("group_sizes").sort("class_id")
    counts = np.round(scale * sizes.select("n_common", "n_counter").to_numpy()).astype(int).ravel()
    cell = np.repeat(np.arange(len(counts)), counts)
    n = len(cell)
    observer = (n / 2 * random.random(n) ** 2.5).astype(int)  # some took one photo, some hundreds
    place = np.arange(n)
    names = [f"animal {k:02d}" for k in range(sizes.height)]
    group = np.array(["common", "counter"])[cell % 2]
    return pl.DataFrame(
        {
            "path": [f"{names[c // 2]}/{group[k]}-grass/{k:08d}.jpg" for k, c in enumerate(cell)],
            "photo_id": [hashlib.sha256(str(k).encode()).hexdigest() for k in place],
            "class_index": cell // 2,
            "class_name": [names[c // 2] for c in cell],
            "background": [("grass", "snow")[c % 2] for c in cell],
            "group": group,
            "cluster": [f"observer-{k}" for k in observer],
        }
    )


def make_model(photos: pl.DataFrame, name: str, seed: int) -> pl.DataFrame:
    """Return the rows of a model in ``predictions.parquet``; photos hard for one are hard for all."""
    random = np.random.default_rng([1, seed])
    n, true = photos.height, photos["class_index"].to_numpy()
    hard = np.random.default_rng(2).normal(size=n)
    counter = (photos["group"] == "counter").to_numpy()
    place = 1.2 - (0.6 + 0.02 * seed) * counter - hard + random.normal(0.02 * seed, 0.8, n)
    right = place > 0
    guess = np.where(right, true, (true + random.integers(1, 8, n)) % NAMES)
    return photos.with_columns(
        model=pl.lit(name),
        names=pl.lit("openai"),
        prompts=pl.lit("simple"),
        protocol=pl.lit("classification"),
        answer_score=pl.lit(None),
        label_space=pl.lit("imagenet"),
        true_index=pl.col("class_index"),
        predicted_index=pl.Series(guess),
        predicted_name=pl.Series(np.char.add("name ", np.arange(NAMES).astype(str))[guess]),
        correct=pl.Series(right),
        true_rank=pl.Series(np.where(right, 0, random.integers(1, 9, n))),
        confidence=pl.Series(random.uniform(0.1, 1, n)),
        top2_gap=pl.Series(np.round(random.uniform(0, 0.3, n), 4)),
        loss_sum=pl.lit(None),
        loss_mean=pl.lit(None),
    ).select([pl.col(column).cast(kind) for column, kind in PREDICTIONS_SCHEMA.items()])


def model_names(models: int) -> list[str]:
    """Return the names of the made-up models."""
    return [f"open_clip:made-up-{k:03d}" for k in range(models)]


def run_info(benchmark: BenchmarkRecord, models: list[ModelRecord]) -> RunInfo:
    """Return the ``run.json`` of made-up models."""
    return RunInfo(
        counterground_version="0",
        git=None,
        created="2026-01-01T00:00:00+00:00",
        python="3",
        platform="any",
        libraries={},
        device="cpu",
        precision="fp32",
        batch_size=32,
        threads=1,
        benchmark=benchmark,
        candidates=CandidatesRecord(name="imagenet", size=NAMES, source="ImageNet-1K"),
        names="openai",
        prompts="simple",
        models=models,
        warnings=[],
        counts=CountsRecord(photos=benchmark.n_photos, unreadable=0, converted_to_rgb=0, ties={}),
        seconds=1.0,
    )


def _records(models: int) -> list[ModelRecord]:
    """Every third model is a classifier."""
    return [
        ModelRecord(
            name=name,
            spec=name,
            kind="dual_encoder" if k % 3 else "classifier",
            fingerprint=hashlib.sha256(name.encode()).hexdigest(),
            description={"training_data": "ImageNet-1K"} if k % 3 == 0 else {},
        )
        for k, name in enumerate(model_names(models))
    ]


def write_made_run(folder: Path, photos: pl.DataFrame, models: int) -> None:
    """Write a run without its scores, model by model, in bounded memory."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for seed, name in enumerate(model_names(models)):
        parts.append(folder / f"part-{seed:03d}.parquet")
        make_model(photos, name, seed).write_parquet(parts[-1])
    pl.scan_parquet(parts).sink_parquet(folder / "predictions.parquet", maintain_order=True)
    for part in parts:
        part.unlink()
    benchmark = BenchmarkRecord(name="made-up", version="0" * 64, n_photos=photos.height, notes=[])
    info = run_info(benchmark, _records(models))
    write_text(folder / "run.json", info.model_dump_json(indent=2) + "\n")
