"""MultiColoredMNIST: correlations are those of the data made; a killed grid ends in the same figures."""

import gzip
import struct
import time
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import polars as pl
import pytest
import torch

from counterground.cli import main
from counterground.errors import CounterGroundError, UsageError
from counterground.paper.settings import ColoredSettings
from counterground.paper.study.mnist import (
    Cell,
    Digits,
    Setting,
    color_digits,
    compare_methods,
    draw_colored,
    load_mnist,
    run_trainings,
    study_multicoloredmnist,
    summarise,
    train_cell,
)


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits as bars at a place of their own, with noise: enough to learn from."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 10
    images = rng.integers(0, 40, (n, 28, 28))
    for image, label in zip(images, labels, strict=True):
        image[4:24, 2 * label + 3 : 2 * label + 7] += 200
    return images.astype(np.uint8), labels.astype(np.uint8)


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(*drawn(3000, 0), *drawn(1000, 1), "drawn")


@pytest.fixture
def files(tmp_path, digits):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name, values in (
        ("train-images-idx3-ubyte", digits.train),
        ("train-labels-idx1-ubyte", digits.train_labels),
        ("t10k-images-idx3-ubyte.gz", digits.test),
        ("t10k-labels-idx1-ubyte.gz", digits.test_labels),
    ):
        head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
        data = head + values.tobytes()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    return tmp_path


@pytest.mark.parametrize(("k", "p_inv", "p_spu"), [(2, 0.75, 0.9), (5, 0.9, 0.75), (10, 0.75, 0.9)])
def test_the_data_have_the_correlations_they_are_said_to_have(k, p_inv, p_spu):
    labels = (np.arange(60_000) % 10).astype(np.uint8)
    images = np.full((60_000, 28, 28), 255, np.uint8)
    setting = Setting(k, p_inv, p_spu)
    sets = {tie: color_digits(images[:, :1, :1], labels, setting, tie, 3) for tie in ("train", "rand", "rev")}
    for data in sets.values():
        assert set(data.digit) == set(data.label) == set(range(k))
        assert np.mean(data.label == data.digit) == pytest.approx(p_inv, abs=0.012)
    tied = {tie: data.label < 2 for tie, data in sets.items()}
    follows = {tie: np.mean((data.color == data.label)[tied[tie]]) for tie, data in sets.items()}
    assert follows["train"] == pytest.approx(p_spu, abs=0.015)
    assert follows["rand"] == pytest.approx(1 / k, abs=0.015)
    assert follows["rev"] == pytest.approx(0.1 / (k - 1), abs=0.015)
    swapped = np.mean((sets["rev"].color == 1 - sets["rev"].label)[tied["rev"]])
    assert swapped == pytest.approx(0.9, abs=0.015)
    for tie, data in sets.items():
        if k > 2:
            assert np.mean((data.color == data.label)[~tied[tie]]) == pytest.approx(1 / k, abs=0.02)
    wrong = sets["train"].label != sets["train"].digit
    followed = np.mean((sets["train"].color == sets["train"].label)[wrong & tied["train"]])
    assert followed == pytest.approx(p_spu, abs=0.03)  # the colour follows the label, not the digit


@pytest.mark.slow
def test_a_model_that_learns_colour_fails_where_it_misleads(digits):
    found = train_cell(digits, Cell(2, 0.75, 0.95, "contrastive", 0), Path(), epochs=20)
    assert found["validation"] > 0.85
    assert found["rev"] < 0.4
    assert np.isnan(found["rest"])


@pytest.mark.slow
def test_a_killed_grid_ends_in_the_same_figures(files, tmp_path):
    command = ["paper", "study", "multicoloredmnist", "--quick", "--k", "2"]
    command += ["--mnist", str(files), "--jobs", "1", "--seeds", "2", "--out"]
    out, whole = tmp_path / "killed", tmp_path / "whole"
    running = forked.start(forked.COMMAND, *command, out)
    while len(list(out.glob("trainings/*.json"))) < 2:
        assert running.is_alive()
        time.sleep(0.05)
    running.kill()
    running.join()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("trainings/*.json")}
    assert 2 <= len(kept) < 4
    for folder in (out, whole):
        done = forked.command(*command, folder)
        assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mtime_ns == made for path, made in kept.items())
    assert (out / "table8.parquet").read_bytes() == (whole / "table8.parquet").read_bytes()


@pytest.mark.slow
def test_the_number_of_jobs_changes_nothing(digits, tmp_path):
    settings = ColoredSettings(k=(2,), p_inv=(0.9,), p_spu=(0.9,), seeds=1, epochs=1)
    one, two = (run_trainings(digits, replace(settings, jobs=n), tmp_path / str(n)) for n in (1, 2))
    assert one.equals(two, null_equal=True)


def test_differences_are_paired_by_seed():
    rows = [
        {"k": k, "p_inv": 0.9, "p_spu": 0.9, "method": method, "seed": seed}
        | {"rand": 0.5 + gap, "rev": 0.2, "rest": float("nan"), "validation": 0.9}
        for k in (2, 3)
        for seed, shift in enumerate((0.01, 0.02, 0.03))
        for method, gap in (("contrastive", shift), ("supervised", 0.0))
    ]
    found = {row["measure"]: row for row in compare_methods(pl.DataFrame(rows)).to_dicts()}
    assert found["rand"]["difference"] == pytest.approx(0.02)
    reach = 4.302653 * 0.01 / 3**0.5
    assert (found["rand"]["low"], found["rand"]["high"]) == pytest.approx((0.02 - reach, 0.02 + reach))
    assert found["rev"]["difference"] == 0
    assert found["rest"]["difference"] is None
    table = summarise(pl.DataFrame(rows))
    assert table["printed_rev_mean"].to_list() == [50.08, 50.13, 45.55, 44.74]
    marks = {tuple(np.round(line.get_ydata(), 6)) for line in draw_colored(table).axes[0].get_lines()}
    assert (52.0, 52.0) in marks
    assert (71.56, 69.05) in marks


def test_missing_and_damaged_files_are_named(files, tmp_path, capsys):
    with pytest.raises(UsageError, match="train-images-idx3-ubyte"):
        load_mnist(tmp_path / "nowhere")
    image = files / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(CounterGroundError, match=r"t10k-images.*damaged"):
        load_mnist(files)
    out = tmp_path / "out"
    assert main(["paper", "study", "multicoloredmnist", "--mnist", str(files), "--out", str(out)]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_other_digits_are_trained_anew(files, tmp_path):
    settings = ColoredSettings(k=(2,), p_inv=(0.9,), p_spu=(0.9,), seeds=1, epochs=1)
    found = load_mnist(files)
    fewer = replace(found, train=found.train[:500], train_labels=found.train_labels[:500])
    both = [run_trainings(each, replace(settings, jobs=1), tmp_path / "trainings") for each in (found, fewer)]
    assert [frame["train_pairs"].to_list() for frame in both] == [[600.0] * 2, [100.0] * 2]


def test_a_study_leaves_the_threads_and_random_numbers_of_its_program(files, tmp_path):
    settings = ColoredSettings(k=(2,), p_inv=(0.9,), p_spu=(0.9,), seeds=1, epochs=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        torch.manual_seed(7)
        page = study_multicoloredmnist(str(tmp_path / "study"), replace(settings, mnist=files, jobs=1))
        assert (page.is_file(), torch.get_num_threads()) == (True, 3)
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(7)))
    finally:
        torch.set_num_threads(threads)
