"""Models of one run share the decoding of each photo, and change none of each other's numbers."""

from __future__ import annotations

import pydoc

import numpy as np
import pytest
import torch
from colour_model import pixels
from PIL import Image

from counterground.inference import evaluate_models
from counterground.models import load_model
from counterground.photos import load_photo, read_benchmark
from counterground.settings import Settings

NAMES = ["black swan", "flamingo", "ice bear"]
SETTINGS = Settings(label_space="benchmark", batch_size=8, device="cpu")


class Mean(torch.nn.Module):
    def forward(self, batch):
        return batch.mean((2, 3))


def shrinking(image):
    """Changes the image that it is given, as PIL's ``thumbnail`` does."""
    image.thumbnail((4, 4))
    return pixels(image)


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded, in order."""
    paths = []

    def counting(path, **how):
        paths.append(path)
        return load_photo(path, **how)

    monkeypatch.setattr("counterground.inference._encode.load_photo", counting)
    return paths


def run_on(photos, models, out):
    return evaluate_models(read_benchmark(photos), models, SETTINGS, out).predictions


def test_each_photo_is_decoded_once_for_all_models(photos, tiny_clip, tmp_path, cache, decoded):
    models = {"clip": f"open_clip:{tiny_clip}", "a": (Mean(), shrinking, NAMES), "b": (Mean(), pixels, NAMES)}
    together = run_on(photos, models, tmp_path / "together")
    count = len(read_benchmark(photos).photos)
    assert len(set(decoded)) == count
    tried = 3 * 2  # each model on one photo first, which is prepared again
    assert len(decoded) == count + tried
    (cache / "features").rename(cache / "elsewhere")
    alone = [run_on(photos, {name: model}, tmp_path / name) for name, model in models.items()]
    for each in alone:
        assert together.filter(model=each["model"][0]).equals(each)


def test_a_model_that_is_stored_asks_for_no_photo(photos, tiny_clip, tmp_path, decoded):
    run_on(photos, {"a": (Mean(), pixels, NAMES)}, tmp_path / "first")
    decoded.clear()
    both = {"a": (Mean(), pixels, NAMES), "clip": f"open_clip:{tiny_clip}"}
    assert run_on(photos, both, tmp_path / "both")["model"].n_unique() == 2
    assert len(decoded) == len(read_benchmark(photos).photos) + 2


def test_a_photo_without_rgb_is_lost_to_those_alone_who_need_it(photos, tiny_clip, tmp_path):
    """An image of floating-point pixels has no RGB, which ``?as_published`` does not ask for first."""
    path = sorted(photos.rglob("*.jpg"))[0]
    Image.fromarray(np.full((40, 40), 0.5, dtype=np.float32)).save(path, "TIFF")
    models = {"clip": f"open_clip:{tiny_clip}?as_published", "a": (Mean(), pixels, NAMES)}
    settings = Settings(label_space="benchmark", batch_size=8, device="cpu")
    run = evaluate_models(read_benchmark(photos), models, settings, tmp_path / "run")
    assert run.info.counts.unreadable == 1
    assert "floating-point" in (tmp_path / "run" / "unreadable.csv").read_text()


def test_a_photo_for_which_memory_lacked_is_tried_again(photos, tiny_clip, tmp_path, monkeypatch):
    def lacking(path, data, *how):
        if path.name == lost.name and path.parent == lost.parent:
            raise MemoryError
        return decode(path, data, *how)

    lost = sorted(photos.rglob("*.jpg"))[3]
    module = "counterground.photos._photo._decode"
    decode = pydoc.locate(module)
    with monkeypatch.context() as patch:
        patch.setattr(module, lacking)
        first = evaluate_models(
            read_benchmark(photos), f"open_clip:{tiny_clip}", SETTINGS, tmp_path / "first"
        )
    assert first.info.counts.unreadable == 1
    assert "not enough memory" in (tmp_path / "first" / "unreadable.csv").read_text()
    again = evaluate_models(read_benchmark(photos), f"open_clip:{tiny_clip}", SETTINGS, tmp_path / "again")
    assert again.info.counts.unreadable == 0


def test_a_model_may_describe_its_parameters_in_words(photos, tmp_path):
    model = load_model("counterground:stamps-biased", device="cpu")
    model.description = {**model.description, "parameters": "86M"}
    assert len(run_on(photos, {"a": model}, tmp_path / "run")) == len(read_benchmark(photos).photos)
