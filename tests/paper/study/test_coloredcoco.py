"""The study of coloured objects: the data's correlations, losses, resuming, what is chosen and said."""

import json
import signal
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

import forked
import numpy as np
import open_clip
import polars as pl
import pytest
import torch
from PIL import ImageColor
from random_clip import save_clip
from safetensors.torch import load
from torch.nn.functional import normalize

from counterground.cli import main
from counterground.errors import UsageError
from counterground.files import DamagedCacheWarning
from counterground.paper.settings import OBJECTIVES, CocoSettings
from counterground.paper.study import (
    _finetune,  # its schedule, which two steps stand in for
    _objects,  # its sizes, which fewer stand in for
    coloredcoco,  # its caches
)
from counterground.paper.study._finetune import (
    Learner,
    Machine,
    Recipe,
    accuracies,
    clip_loss,
    finetune,
    load_start,
    photos_of,
    small_start,
)
from counterground.paper.study._objects import (
    BIASED,
    COLORS,
    OTHERS,
    Objects,
    load_stamps_objects,
    on_color,
    paint,
    paint_elsewhere,
)
from counterground.paper.study.coloredcoco import Source, file_of, make_study, trials

NAMES = tuple(f"kind{label}" for label in range(9))


def drawn(train=40, test=20) -> Objects:
    """Nine classes of noise that no network tells apart in a few steps, on a transparent ground."""
    rng = np.random.default_rng(0)
    pixels, classes, individuals = {}, {}, {}
    for part, n in (("train", train), ("validation", test), ("test", test)):
        images = np.zeros((9 * n, 32, 32, 4), np.uint8)
        images[:, 12:20, 12:20] = rng.integers(0, 256, (9 * n, 8, 8, 4))
        images[:, 12:20, 12:20, 3] = 255
        pixels[part], classes[part] = images, np.arange(9 * n) % 9
        individuals[part] = [f"{part}{row}" for row in range(9 * n)]
    return Objects(NAMES, pixels, classes, individuals, (3, 1, 2, 0, 4, 5, 8, 7, 6), "drawn")


@pytest.fixture(scope="module")
def objects():
    return drawn()


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    """Steps take half as long where the weights of words are half as many."""
    return save_clip(tmp_path_factory.mktemp("clip"), text_width=16)


@pytest.fixture(scope="module")
def start(tiny_clip):
    return load_start(f"open_clip:{tiny_clip}")


@pytest.mark.parametrize("strength", [0.5, 0.8, 1.0])
def test_each_class_has_its_colour_as_often_as_said(objects, strength):
    photos = paint(objects, "train", strength, seed=1)
    for label in range(9):
        colors = Counter(photos.colors[photos.classes == label].tolist())
        assert colors.pop(objects.biased[label]) == 40 * strength
        assert set(colors) <= set(range(9, 19))
        assert max(colors.values(), default=0) <= 40 * (1 - strength)
    if strength < 1:
        assert set(photos.colors.tolist()) == set(range(19))


def test_a_class_spreads_evenly_where_colours_tell_nothing_and_elsewhere():
    many = drawn(train=2, test=152)
    balanced = paint(many, "test", None, seed=1)
    elsewhere = paint_elsewhere(many, "test", seed=1)
    for label in range(9):
        colors = Counter(balanced.colors[balanced.classes == label].tolist())
        assert colors == dict.fromkeys(range(19), 8)
        others = Counter(elsewhere.colors[elsewhere.classes == label].tolist())
        assert others == dict.fromkeys(set(range(9)) - {many.biased[label]}, 19)


def test_a_stronger_tie_only_recolours(objects):
    weak, strong = (paint(objects, "train", strength, seed=2) for strength in (0.5, 0.9))
    own = np.array(objects.biased)[weak.classes]
    changed = weak.colors != strong.colors
    assert ((strong.colors == own) >= (weak.colors == own)).all()
    assert (strong.colors[changed] == own[changed]).all()
    assert not np.array_equal(paint(objects, "train", 0.5, seed=3).colors, weak.colors)


def test_colours_are_far_apart_and_painted_at_three_quarters():
    rgb = [np.array(ImageColor.getrgb(color)) for color in (*BIASED.values(), *OTHERS.values())]
    near = [(a, b) for a, b in combinations(range(19), 2) if ((rgb[a] - rgb[b]) ** 2).sum() <= 2500]
    assert near == []
    pixels = np.array([[[[10, 20, 30, 255], [10, 20, 30, 0], [100, 100, 100, 51]]]], np.uint8)
    painted = on_color(pixels, np.array([COLORS.index("gold")]))[0, 0]
    assert painted.tolist() == [[10, 20, 30], [191, 161, 0], [173, 149, 20]]


def tower(tokens_as_features):
    """A stand-in that is not one: encoders that return what they are given."""

    class Given(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logit_scale = torch.nn.Parameter(torch.tensor(2.0))

        def encode_image(self, photos):
            return photos

        def encode_text(self, tokens):
            return tokens_as_features[tokens]

    return Given()


def test_the_loss_equals_open_clips_own():
    torch.manual_seed(0)
    images, texts = torch.randn(8, 5), torch.randn(6, 5)
    model = tower(texts)
    tokens = torch.arange(6)
    which = torch.tensor([0, 3, 3, 5, 0, 0, 1, 2])
    pairs = normalize(images, dim=-1), normalize(texts[which], dim=-1)
    scale = model.logit_scale.exp()
    torch.testing.assert_close(clip_loss(model, images, tokens, which), open_clip.ClipLoss()(*pairs, scale))


def test_a_scale_beyond_the_cap_is_capped_and_still_learns():
    model = tower(torch.eye(2))
    with torch.no_grad():
        model.logit_scale.fill_(4.6055)  # log 100 in half precision, as in released CLIPs
    captions_swapped = torch.eye(2)[[1, 0]] + 1.0
    clip_loss(model, captions_swapped, torch.arange(2), torch.tensor([0, 1])).backward()
    assert float(model.logit_scale.detach().exp()) == pytest.approx(100, abs=1e-3)
    assert float(model.logit_scale.grad) > 0


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_learns_the_colour_and_fails_where_it_misleads(start, objects, objective):
    photos = photos_of(start, objects, 1.0, 0)
    first = accuracies(Learner(start, objects, "obj", Machine()), objects, photos)
    found = finetune(
        start, objects, photos, objective, Recipe(5e-3, 1e-3, 5, 8, 36), seed=0, machine=Machine()
    )
    assert abs(first["id"] - 1 / 9) < 0.12
    assert found["id"] > 0.6
    assert found["ood"] < 0.1
    assert found["follows"] > 0.6


def test_the_start_is_not_changed_and_training_repeats_itself(start, objects):
    weights = {name: value.clone() for name, value in start.model.state_dict().items()}
    photos = photos_of(start, objects, 0.8, 0)
    recipe = Recipe(1e-3, 1e-3, 0, 1, 36)
    runs = [
        finetune(start, objects, photos, "supervised", recipe, seed=4, machine=Machine()) for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert all(torch.equal(value, weights[name]) for name, value in start.model.state_dict().items())


_TRAINING = """
import sys
from pathlib import Path
import torch
torch.set_num_threads({threads})
sys.path.insert(0, {tests!r})
from test_coloredcoco import train_drawn
train_drawn({spec!r}, Path({checkpoint!r}))
"""


def train_drawn(spec: str, checkpoint: Path) -> dict[str, float]:
    start, objects = load_start(spec), drawn()
    photos = photos_of(start, objects, 0.8, 0)
    recipe = Recipe(1e-3, 1e-3, 10, 11, 36)
    return finetune(start, objects, photos, "obj", recipe, seed=0, machine=Machine(), checkpoint=checkpoint)


def losses(checkpoint):
    return load(checkpoint.read_bytes())["losses"]


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_figures(tiny_clip, tmp_path):
    checkpoint = tmp_path / "killed.safetensors"
    facts = {"tests": str(Path(__file__).parent), "threads": torch.get_num_threads()}
    facts |= {"spec": f"open_clip:{tiny_clip}", "checkpoint": str(checkpoint)}
    running = forked.start(_TRAINING.format(**facts))
    while not checkpoint.exists():
        assert running.is_alive()
        time.sleep(0.005)
    running.kill()
    running.join()
    assert running.exitcode == -signal.SIGKILL
    done = losses(checkpoint)
    assert 50 <= len(done) < 110
    resumed = train_drawn(facts["spec"], checkpoint)
    whole = train_drawn(facts["spec"], tmp_path / "whole.safetensors")
    assert resumed == whole
    assert torch.equal(losses(checkpoint), losses(tmp_path / "whole.safetensors"))


def test_only_openclip_models_can_be_fine_tuned():
    with pytest.raises(UsageError, match="torchvision:resnet50: fine-tuning takes OpenCLIP models"):
        load_start("torchvision:resnet50")


@pytest.mark.slow
def test_stamps_of_the_test_are_animals_that_training_never_saw(shared_cache, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
    held = []
    sizes = {"train": 240, "validation": 40, "test": 80}
    for seed, few in enumerate((sizes, {"train": 12, "validation": 2, "test": 2})):
        with monkeypatch.context() as patch:
            if few != sizes:  # which individuals are drawn can be seen in few photos
                patch.setattr(_objects, "_SIZES", few)
            objects = load_stamps_objects(seed)
        assert len(objects.names) == 9
        assert sorted(objects.biased) == list(range(9))
        seen = set(objects.individuals["train"])
        held.append(set(objects.individuals["test"]))
        assert not seen & held[-1]
        assert set(objects.individuals["validation"]) == held[-1]
        assert len(seen | held[-1]) == 46
        for part, n in few.items():
            assert Counter(objects.classes[part].tolist()) == dict.fromkeys(range(9), n)
        coverage = objects.pixels["train"][..., 3] > 127
        assert coverage.mean(axis=(1, 2)).min() > 0.04
    assert held[0] != held[1]


@pytest.mark.slow
def test_the_small_clip_sees_no_test_photo_and_is_kept(objects, tmp_path, monkeypatch):
    monkeypatch.setattr(_finetune, "_PRETRAINING", _finetune.Schedule(steps=2))
    blind = drawn()
    for part in ("validation", "test"):
        blind.pixels[part][:] = 0
    one, two = (small_start(each, 0, tmp_path / str(place)) for place, each in enumerate((objects, blind)))
    pairs = zip(one.model.state_dict().values(), two.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    file = next((tmp_path / "0").glob("*.safetensors"))
    made = file.stat().st_mtime_ns
    small_start(objects, 0, tmp_path / "0")
    assert file.stat().st_mtime_ns == made
    file.write_bytes(b"broken")
    with pytest.warns(DamagedCacheWarning, match=file.name):
        again = small_start(objects, 0, tmp_path / "0")
    pairs = zip(one.model.state_dict().values(), again.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_grid_is_table_7s():
    assert len(trials(CocoSettings(coco=Path()))) == 2 * (1 + 3 * 18)
    assert None in CocoSettings(quick=True).all_strengths


def test_other_weights_under_the_same_path_are_trained_anew(tmp_path):
    source = Source(None, 64, None, tmp_path / "small")
    folder = tmp_path / "clip"
    folder.mkdir()
    found = []
    for seed in (0, 1, 0):
        save_clip(folder, seed=seed, text_width=16)
        coloredcoco._start.cache_clear()
        trial = trials(CocoSettings(seeds=1, models=(f"open_clip:{folder}",)))[1]
        found.append(file_of(trial, source, Machine(), tmp_path))
    assert found[0] == found[2] != found[1]
    assert file_of(trial, source, Machine("cuda:1"), tmp_path) != found[0]


@pytest.mark.slow
def test_table_7_has_our_values_beside_it_only_on_its_own_photos(tmp_path, shared_cache, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
    keys = {"model": "open_clip:RN50/openai", "strength": 0.8, "objective": "obj", "seed": 0}
    figures = {"id": 0.5123, "ood": 0.25, "drop": 0.2623, "follows": 0.5, "validation": 0.5}
    setting = {"learning_rate": 1e-3, "weight_decay": 0.1, "warmup_steps": 0}
    rows = pl.DataFrame([keys | figures | setting])
    monkeypatch.setattr(coloredcoco, "load_coco_objects", lambda *_given: drawn())
    for coco, printed in ((None, False), (tmp_path, True)):
        study = make_study(rows, Source(coco, 64, None, tmp_path), CocoSettings(models=(keys["model"],)), {})
        row = study.results["results"].row(0, named=True)
        assert row["id"] == 0.5123
        assert ("printed_id" in row) == printed
    assert [row[f"printed_{name}"] for name in ("id", "ood", "drop")] == pytest.approx(
        [0.9567, 0.0078, 0.9489]
    )


@pytest.mark.slow
def test_the_command_leaves_a_page_and_resumes(tiny_clip, tmp_path, shared_cache, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
    monkeypatch.setattr(_objects, "_SIZES", {"train": 40, "validation": 10, "test": 20})
    out = tmp_path / "out"
    command = f"paper study coloredcoco --model open_clip:{tiny_clip} --strength 80% --no-control --seeds 1"
    command = f"{command} --objective obj --objective supervised --epochs 1 --jobs 1".split()
    assert main([*command, "--out", str(out)]) == 0
    assert "supervised" in (out / "index.html").read_text()
    kept = {file: file.stat().st_mtime_ns for file in (out / "trainings").iterdir()}
    assert sorted(file.suffix for file in kept) == [".json"] * 3
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["objectives"] == ["obj", "supervised"]
    assert main([*command, "--out", str(out)]) == 0
    assert all(file.stat().st_mtime_ns == made for file, made in kept.items())
    assert main(["paper", "study", "theory", "--quick", "--out", str(out)]) == 1
