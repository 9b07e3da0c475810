"""The tool finds what was planted: a referee trained to rely on backgrounds, through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import counterground as cg
import counterground.models
from counterground.benchmarks import open_benchmark
from counterground.discovery import discover_pairs
from counterground.settings import DiscoverSettings


def discover(name: str, out: Path):
    settings = DiscoverSettings(min_photos=2, label_space="benchmark", device="cpu")
    return discover_pairs(open_benchmark("stamps-reserved"), f"counterground:{name}", settings, out)


@pytest.fixture
def planted() -> dict[str, str]:
    folder = Path(counterground.models.__file__).parent / "data" / "stamps-biased"
    record = json.loads((folder / "planted.json").read_text())
    return record.get("planted", record)


@pytest.mark.slow
def test_discover_recovers_the_planted_background(planted, tmp_path, shared_cache, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
    right = {}
    for name in ("stamps-biased", "stamps-balanced"):
        pairs = discover(name, tmp_path / name).pairs.iter_rows(named=True)
        right[name] = [planted[row["class_name"]] == row["common"] for row in pairs]
    assert np.mean(right["stamps-biased"]) > 0.7  # 32 of 36
    assert np.mean(right["stamps-balanced"]) < 0.5  # 12 of 43; by chance a sixth

    pairs = tmp_path / "stamps-biased"
    models = ("counterground:stamps-biased", "counterground:stamps-balanced")
    run = cg.evaluate(pairs, models, out=tmp_path / "run", label_space="benchmark", report=False)
    drops = cg.scores(run).filter(pl.col("class_index").is_null(), metric="drop")
    biased, balanced = (drops.row(by_predicate=pl.col("model") == model, named=True) for model in models)
    assert biased["low"] > 0.15
    assert balanced["low"] < 0 < balanced["high"]
    assert biased["value"] - balanced["value"] > 0.2
