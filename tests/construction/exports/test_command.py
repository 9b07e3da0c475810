"""``counterground data export``: options in, folders out, one line where it cannot be done."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner
from made_pools import fill_pool
from noise_photos import ANIMALS

from counterground.construction.cli import export as command
from counterground.errors import UsageError
from counterground.photos import read_benchmark, write_benchmark


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str):
        result = CliRunner().invoke(command, arguments)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_a_benchmark_is_exported_and_evaluated_from_there(run, grouped, tmp_path):
    write_benchmark(grouped, tmp_path / "written")
    result = run(
        *("written", "--format", "webdataset", "--format", "huggingface", "--out", "shared"),
        *("-X", "title=Three animals", "-X", "creators=Zoë"),
    )
    assert result.exit_code == 0
    assert "48 photos exported.\n" in result.output
    assert "webdataset: " in result.output
    assert "Note: For non-commercial use only (NC): 12 photos." in result.output
    for form in ("webdataset", "huggingface"):
        assert read_benchmark(f"shared/{form}").version == grouped.version
        assert "Three animals" in (tmp_path / "shared" / form / "README.md").read_text()


def test_a_pool_and_pairs_of_it_say_how_they_were_made(run, tmp_path):
    pool = fill_pool(tmp_path / "pool", dict.fromkeys(ANIMALS, 16), licence=lambda _: "cc0")
    first, second, *_ = pool.photos()["path"]
    pool.decide(first, annotator="ann", task="review", labels=["clarity"])
    pool.decide(second, annotator="ann", task="background", labels=["snow"])
    result = run("pool", "--format", "parquet", "--out", "shared")
    assert "47 photos exported.\n" in result.output
    assert read_benchmark("shared").version == pool.freeze().version
    frozen = pool.freeze()
    pairs = replace(frozen, photos=frozen.photos.head(5))
    write_benchmark(pairs, tmp_path / "pairs")
    run("pairs", "--format", "webdataset", "--out", "pairs-shared")
    for folder in ("shared", "pairs-shared"):
        text = (tmp_path / folder / "README.md").read_text()
        assert "48 photos of 3 classes: 0 kept, 1 discarded" in text
        for row in ("| clarity | 1 |", "| ann | review | 1 | 1 | 0 | 0 |", "| ann | background | 1 |"):
            assert row in text
        assert "1 of 48 photos of the pool were discarded" in text


def test_wrong_options_are_refused(run, photos):
    with pytest.raises(UsageError, match="Unknown format 'zip'"):
        run(str(photos), "--format", "zip", "--out", "x")
