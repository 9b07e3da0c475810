"""A benchmark that another package adds, used through the commands."""

import sys

import numpy as np
import polars as pl
import pytest
from other_package import install
from PIL import Image

from counterground.benchmarks import open_benchmark
from counterground.cli import main
from counterground.errors import UsageError

CODE = """
from pathlib import Path
from counterground.benchmarks import BuiltInBenchmark
from counterground.photos import read_benchmark

FOLDER = Path({folder!r})
MINE = BuiltInBenchmark(
    name="mine",
    description="two animals of noise",
    n_photos=4,
    folder=lambda: FOLDER,
    is_ready=FOLDER.is_dir,
    get=lambda source, show_progress: read_benchmark(source or FOLDER),
)
"""


@pytest.fixture
def added(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for name in ("zebra", "ostrich"):
        for group in ("common-grass", "counter-sand"):
            folder = tmp_path / "photos" / name / group
            folder.mkdir(parents=True)
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / "photo.png")
    code = CODE.format(folder=str(tmp_path / "photos"))
    install(tmp_path / "site", "mine", code, {"counterground.benchmarks": {"mine": "mine:MINE"}})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    sys.modules.pop("mine", None)


def test_a_benchmark_of_another_package_is_listed_got_and_evaluated(added, tmp_path, capsys):
    assert main(["benchmarks"]) == 0
    assert "two animals of noise" in capsys.readouterr().out
    assert main(["benchmarks", "get", "mine"]) == 0
    assert "4 photos of 2 classes" in capsys.readouterr().out
    run = ["evaluate", "mine", "-m", "counterground:stamps-biased", "--out", str(tmp_path / "run")]
    assert main(run) == 0
    assert (tmp_path / "run" / "predictions.parquet").is_file()


def test_a_benchmark_may_be_given_by_anything_that_is_a_path(added, tmp_path):
    class Elsewhere:
        def __fspath__(self):
            return str(tmp_path / "photos")

    assert open_benchmark(Elsewhere()).version == open_benchmark(tmp_path / "photos").version


@pytest.mark.parametrize("given", [pl.DataFrame({"path": ["a.jpg"]}), None, 3, b"stamps"])
def test_what_is_no_benchmark_is_named(given):
    with pytest.raises(UsageError, match=rf"not {type(given).__name__}: .* with Benchmark\.from_frame"):
        open_benchmark(given)


def test_an_opened_benchmark_is_returned_as_it_is(photos):
    opened = open_benchmark(photos)
    assert open_benchmark(opened) is opened
