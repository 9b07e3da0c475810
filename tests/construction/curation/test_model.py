"""Signals that need a model: with a classifier whose logits can be worked out by hand, and with real ones."""

from __future__ import annotations

import math
import sys

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageOps

from counterground.construction.curation import curate
from counterground.construction.settings import CurateSettings
from counterground.errors import CounterGroundError, UsageError

MODULE = """
import torch
from torchvision.transforms.functional import pil_to_tensor

SEEN = []

class Mean(torch.nn.Module):
    '''Logits are 10 times the mean red, green and blue (0 to 1), and 0 for grey.'''
    def forward(self, batch):
        return torch.cat([10 * batch.mean(dim=(2, 3)), torch.zeros(len(batch), 1)], dim=1)

def preprocess(image):
    SEEN.append(image.size)
    return pil_to_tensor(image.resize((8, 8))).float() / 255

def colours():
    return Mean(), preprocess, ["red", "green", "blue", "grey"]
"""


@pytest.fixture
def colours(tmp_path, monkeypatch):
    """``my_colours:colours``, and the sizes of the images it was given."""
    (tmp_path / "my_colours.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("my_colours", None)
    yield sys
    sys.modules.pop("my_colours", None)


PROBE = 8  # images by which a model is known again


def seen():
    return sys.modules["my_colours"].SEEN


def plain(red, green, blue, size=(120, 90)):
    return Image.new("RGB", size, (red, green, blue))


def softmax(logits):
    odds = np.exp(np.array(logits) - max(logits))
    return odds / odds.sum()


@pytest.fixture
def painted(make_pool, colours):
    """Colours filed as colours: clear, wrong, close, of no class at all, and clear in one corner only."""
    corner = plain(0, 200, 200)  # 4/9 of it become red, and then no colour leads in the mean
    corner.paste((250, 0, 0), (0, 0, 80, 60))
    return make_pool(
        {
            "red/clear.png": plain(250, 20, 20),
            "red/wrong.png": plain(10, 20, 250),
            "red/close.png": plain(200, 199, 0),
            "green/close.png": plain(200, 199, 0, (200, 90)),
            "red/third.png": plain(120, 200, 199),
            "red/unclear.png": plain(90, 90, 90),
            "red/corner.png": corner,
            "blue/clear.png": plain(20, 20, 250),
        }
    )


def row_of(pool, signal, path):
    found = pool.signals().filter((pl.col("signal") == signal) & (pl.col("path") == f"files/{path}"))
    return found.row(0, named=True)


def test_ranks_are_those_of_the_logits(painted):
    curate(painted.root, model="my_colours:colours")
    rank = {path: row_of(painted, "class rank", path) for path in ("red/clear.png", "red/wrong.png")}
    assert rank["red/clear.png"]["value"] == 1
    assert not rank["red/clear.png"]["flagged"]
    # red 10 of 255, green 20, blue 250: red is third of four, the limit for four names is one
    wrong = rank["red/wrong.png"]
    assert wrong["value"] == 3
    assert wrong["flagged"]
    assert wrong["reason"] == "label noise"
    assert wrong["related"] == "blue"
    chance = softmax([10 * value / 255 for value in (10, 20, 250)] + [0])[2]
    assert f"'blue' is first and has {100 * chance:.0f} %" in wrong["explanation"]
    assert "ranks 'red' 3 of 4 names (limit 1)" in wrong["explanation"]


def test_a_close_second_class_is_ambiguous_only_where_the_class_is_one_of_the_two(painted):
    curate(painted.root, model="my_colours:colours")
    close = row_of(painted, "second class", "red/close.png")
    probability = np.sort(softmax([10 * 200 / 255, 10 * 199 / 255, 0, 0]))
    assert close["value"] == pytest.approx(probability[-1] - probability[-2], abs=1e-6)
    assert close["flagged"]
    assert close["reason"] == "ambiguity"
    assert close["related"] == "green"
    assert row_of(painted, "second class", "green/close.png")["related"] == "red"
    assert not row_of(painted, "second class", "red/third.png")["flagged"]
    assert row_of(painted, "second class", "red/third.png")["related"] is None
    assert not row_of(painted, "second class", "red/clear.png")["flagged"]


def test_a_photo_is_unclear_where_no_name_leads(painted):
    curate(painted.root, model="my_colours:colours")
    unclear = row_of(painted, "margin", "red/unclear.png")
    assert unclear["flagged"]
    assert unclear["reason"] == "clarity"
    assert unclear["value"] == pytest.approx(0, abs=1e-6)
    assert not row_of(painted, "margin", "red/clear.png")["flagged"]


def test_a_model_whose_preprocessing_is_random_is_refused_and_nothing_is_stored(painted, tmp_path):
    """Its features would also answer later runs of the same model, which try only photos that they encode."""
    module = MODULE + (
        "\nimport random\n"
        "def flipping():\n"
        "    flip = lambda image: preprocess(image) * (1 - 0.9 * random.random())\n"
        "    return Mean(), flip, ['red', 'green', 'blue', 'grey']\n"
    )
    (tmp_path / "my_colours.py").write_text(module)
    with pytest.raises(CounterGroundError, match="preprocessing the same photo again gave other pixels"):
        curate(painted.root, model="my_colours:flipping")
    assert painted.signals().filter(signal="class rank").is_empty()


def test_known_photos_are_not_encoded_again(painted, make_pool):
    curate(painted.root, model="my_colours:colours")
    before = painted.signals()
    seen().clear()
    curate(painted.root, model="my_colours:colours")
    assert len(seen()) == PROBE
    assert painted.signals().equals(before)
    make_pool({"a_first/new.png": plain(250, 250, 40), "red/new.png": plain(240, 20, 20)})
    with pytest.raises(UsageError, match="no output for class 'a first'"):
        curate(painted.root, model="my_colours:colours")


def test_without_a_model_its_earlier_signals_stay_and_are_told(painted):
    curate(painted.root, model="my_colours:colours")
    ranks = painted.signals().filter(pl.col("signal") == "class rank")
    report = curate(painted.root)
    assert painted.signals().filter(pl.col("signal") == "class rank").equals(ranks)
    assert report.notes == ("The signals that need a model are from an earlier run of my_colours:colours.",)


def test_close_features_are_duplicates(make_pool, colours, flagged_of, rows_of):
    pool = make_pool(
        {
            "red/large.png": plain(250, 20, 20, (200, 150)),
            "red/small.png": plain(240, 20, 20, (150, 200)).resize((100, 130)),
            "blue/far.png": plain(20, 20, 250),
        }
    )
    curate(pool.root, CurateSettings(min_similarity=0.99), model="my_colours:colours")
    one, other = np.array([250, 20, 20]), np.array([240, 20, 20])
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    assert flagged_of(pool, "similar features") == ["small.png"]
    row = rows_of(pool, "similar features")["small.png"]
    assert row["value"] == pytest.approx(cosine, abs=1e-5)
    assert row["related"] == "files/red/large.png"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("my_colours:nothing", "has no 'nothing'"),
        ("efficientnet-lite9", "efficientnet-lite"),
        ("paper:imagenet", "needs one CLIP or classifier"),
        ("efficientnet-lite0", "no output for classes 'blue'.*, '[a-z ]+'"),
    ],
)
def test_models_that_cannot_judge_are_refused_before_any_photo_is_measured(painted, model, said, cache):
    with pytest.raises(CounterGroundError, match=said):
        curate(painted.root, model=model)
    assert painted.signals().is_empty()
    assert not (cache / "measures").exists()


def test_photos_that_can_no_longer_be_read_keep_no_signals_of_their_content(make_pool, colours, animals):
    pool = make_pool({"red/1.jpg": animals["panda"], "blue/2.jpg": animals["giraffe"]})
    curate(pool.root, model="my_colours:colours")
    for photo in pool.photos()["path"]:
        (pool.root / photo).write_bytes(b"no photo")
    curate(pool.root, model="my_colours:colours")
    assert pool.signals()["signal"].unique().to_list() == ["unreadable"]


def test_a_clip_ranks_the_classes_of_the_pool_among_imagenet(make_pool, animals, tiny_clip):
    pool = make_pool(
        {
            "ice_bear/1.jpg": animals["polar_bear"],
            "ice_bear/2.jpg": animals["panda"],
            "okapi_of_the_zoo/3.jpg": animals["giraffe"],
        }
    )
    spec = f"open_clip:{tiny_clip}"
    curate(pool.root, model=spec)
    ranks = pool.signals().filter(pl.col("signal") == "class rank")
    assert len(ranks) == 3
    # OpenAI's 1,000 names are 998 different ones, the ice bear among them; the okapi comes on top
    assert ranks["explanation"].str.contains("of 999 names").all()
    assert ranks["value"].is_between(1, 999).all()
    again = pool.signals()
    curate(pool.root, model=spec)
    assert pool.signals().equals(again)


def test_an_imagenet_model_finds_the_photo_that_is_misfiled(make_pool, animals, flagged_of, rows_of):
    pool = make_pool(
        {
            "giant_panda/panda.jpg": animals["panda"],
            "giant_panda/mirrored.jpg": ImageOps.mirror(animals["panda"]),
            "giant_panda/macaw.jpg": animals["scarlet_macaw"],
            "koala/koala.jpg": animals["koala"],
            "macaw/twin.jpg": animals["scarlet_macaw"].resize((300, 257)),
        }
    )
    report = curate(pool.root, CurateSettings(min_similarity=0.9), model="efficientnet-lite0")
    assert flagged_of(pool, "class rank") == ["macaw.jpg"]
    assert rows_of(pool, "class rank")["macaw.jpg"]["related"] == "macaw"
    assert "of 1,000 names" in rows_of(pool, "class rank")["koala.jpg"]["explanation"]
    # a mirrored copy has another perceptual hash, and close features
    assert "mirrored.jpg" not in flagged_of(pool, "perceptual hash")
    mirrored = {*flagged_of(pool, "similar features")} & {"panda.jpg", "mirrored.jpg"}
    assert len(mirrored) == 1
    assert "files/giant_panda/macaw.jpg" in report.queue["path"][:2]
    assert "judge by looking" in report.notes[0]
    assert math.isclose(pool.setting("curate")["limits"]["min_similarity"], 0.9)
