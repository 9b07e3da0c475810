"""The tool finds what was planted: a referee trained to rely on backgrounds, through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import counterground.models
from counterground.benchmarks import StampsSettings, build_stamps
from counterground.discovery import discover_pairs
from counterground.settings import DiscoverSettings


def discover(name: str, out: Path):
    settings = DiscoverSettings(min_photos=2, label_space="benchmark", device="cpu")
    benchmark = build_stamps(StampsSettings(placements=1))
    return discover_pairs(benchmark, f"counterground:{name}", settings, out)


@pytest.fixture
def planted() -> dict[str, str]:
    folder = Path(counterground.models.__file__).parent / "data" / "stamps-biased"
    record = json.loads((folder / "planted.json").read_text())
    return record.get("planted", record)


@pytest.mark.slow
def test_discover_recovers_the_planted_background(planted, tmp_path, shared_cache, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
    biased = discover("stamps-biased", tmp_path / "biased")
    right = [planted[row["class_name"]] == row["common"] for row in biased.pairs.iter_rows(named=True)]
    assert sum(right) > len(planted) / 2
    balanced = discover("stamps-balanced", tmp_path / "balanced")
    by_chance = [planted[row["class_name"]] == row["common"] for row in balanced.pairs.iter_rows(named=True)]
    assert sum(by_chance) < len(planted) / 2
    assert biased.reported_drop.low > 0.2
    assert balanced.reported_drop.low < 0 < balanced.reported_drop.high
    assert (biased.exceeds_chance, balanced.exceeds_chance) == (True, False)
    assert "inflated, too" not in biased.sentence
    assert biased.reported_drop.value - balanced.reported_drop.value > 0.2
    assert set(biased.benchmark.photos["group"]) == {"common", "counter"}
    assert biased.cells.filter(pl.col("half") == "reports")["n"].sum() > 500
