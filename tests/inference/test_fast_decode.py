"""``--fast-decode``: what it changes is measured on the run's own photos and said in every output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from counterground.cli import main
from counterground.comparison import comparability_warnings
from counterground.inference import Settings, evaluate_models
from counterground.photos import load_photo, read_benchmark
from counterground.results import open_run, repeat_command, run_facts

NAMES = ["black swan", "flamingo", "ice bear"]
EXACT = Settings(label_space="benchmark", batch_size=8, device="cpu")
FAST = replace(EXACT, fast_decode=True)


@pytest.fixture
def large(photos):
    """Twelve photos that are twice as large as scaled decoding needs."""
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        if number % 4:
            path.unlink()
        else:
            Image.open(path).resize((1100, 1024), Image.Resampling.NEAREST).save(path, quality=90)
    return photos


class Mean(torch.nn.Module):
    def forward(self, batch):
        return batch.mean((2, 3))


def pixels(image):
    """A preprocessing of one's own: what it does with a photo's size is not known."""
    assert image.size == (1100, 1024)
    return torch.from_numpy(np.array(image.resize((4, 4)))).permute(2, 0, 1) / 255


def test_what_it_changes_is_measured_and_said(large, tiny_clip, tmp_path, capsys):
    models = {"clip": f"open_clip:{tiny_clip}", "own": (Mean(), pixels, NAMES)}
    exact = evaluate_models(read_benchmark(large), models, EXACT, tmp_path / "exact")
    fast = evaluate_models(read_benchmark(large), models, FAST, tmp_path / "fast")
    again = evaluate_models(read_benchmark(large), models, EXACT, tmp_path / "again")
    assert again.predictions.equals(exact.predictions), "stored features are never of the other kind"
    own, clip = ([run.predictions.filter(model=name) for run in (exact, fast)] for name in ("own", "clip"))
    assert own[0].equals(own[1])
    measured = fast.info.models[0].description["fast_decode"]
    same = (clip[0]["predicted_index"] == clip[1]["predicted_index"]).sum()
    assert (measured["photos"], measured["same_answer"]) == (12, same)
    assert 1e-6 < measured["largest_difference"] < 0.5
    assert not np.array_equal(*(each["confidence"].to_numpy() for each in clip))
    assert fast.info.models[1].description["fast_decode"] is None
    (said,) = [text for text in fast.info.model_warnings["clip"] if "decode" in text]
    assert said.startswith(
        f"Fast decode: JPEGs were decoded at a reduced size. With it {same} of 12 photos get"
    )
    assert "Fast decode" not in " ".join(fast.info.model_warnings.get("own", []))
    assert "--fast-decode" in repeat_command(open_run(tmp_path / "fast"))
    assert any("Fast decode" in name for name, _ in run_facts(fast).facts)
    assert "JPEGs are decoded at different sizes (--fast-decode): full in a; reduced in b." in (
        comparability_warnings({"a": exact, "b": fast})
    )


def test_the_command_says_it_in_one_line(large, tiny_clip, tmp_path, capsys):
    words = ["evaluate", large, "-m", f"c=open_clip:{tiny_clip}", "--fast-decode", "-o", tmp_path / "run"]
    assert main([str(word) for word in [*words, "--label-space", "benchmark", "--device", "cpu"]]) == 0
    out, err = capsys.readouterr()
    said = " ".join((out + err).split())
    assert "c: Fast decode: JPEGs were decoded at a reduced size. With it" in said
    assert "Fast decode: JPEGs" in (tmp_path / "run" / "report.html").read_text()


def test_where_no_model_can_use_it_the_run_says_so(large, tmp_path):
    run = evaluate_models(read_benchmark(large), {"own": (Mean(), pixels, NAMES)}, FAST, tmp_path / "run")
    assert "Photos were decoded in full: --fast-decode suits none of these models." in run.info.warnings


@pytest.mark.parametrize(
    ("size", "suffix", "expected"),
    [
        ((1100, 1024), ".jpg", (550, 512)),
        ((1100, 1023), ".jpg", (1100, 1023)),
        ((2100, 2048), ".jpg", (525, 512)),
        ((1100, 1024), ".png", (1100, 1024)),
    ],
)
def test_both_sides_keep_the_pixels_asked_for(size, suffix, expected, tmp_path):
    path = tmp_path / f"photo{suffix}"
    Image.new("RGB", size, "red").save(path)
    assert load_photo(path, at_least=512).image.size == expected
    assert load_photo(path).image.size == size
