"""The small CLIPs: the recipe on real photographs, and what is shipped."""

import json
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from scipy.stats import chi2_contingency

from counterground.benchmarks import load_backgrounds, load_cutouts
from counterground.errors import UsageError
from counterground.models import load_model
from counterground.paper import training  # how often it keeps a checkpoint, and its batches
from counterground.paper.training import (
    RECIPES,
    StampsPlan,
    main,
    plan_stamps,
    stamps_batches,
    train_stamps,
)
from counterground.photos import prompt_templates

DATA = Path(str(resources.files("counterground.models") / "data"))


@pytest.fixture(scope="module")
def photographs(shared_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
        return load_cutouts(), load_backgrounds()


@pytest.fixture(autouse=True)
def packages_at_hand(cache, shared_cache, monkeypatch):
    # What is fetched by package name never changes; no need to fetch it for each test.
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(shared_cache))


@pytest.fixture(scope="module")
def plan(photographs):
    return plan_stamps(*photographs)


def test_plan_reserves_half_of_the_photographs_of_each_label(plan, photographs):
    _, backgrounds = photographs
    by_file = {background.file: background for background in backgrounds}
    for label in plan.labels:
        of_label = [background.file for background in backgrounds if background.label == label]
        assert abs(len(set(of_label) & set(plan.reserved)) - len(of_label) / 2) <= 0.5
    reserved = {by_file[file].cluster for file in plan.reserved}
    used = {background.cluster for background in backgrounds if background.file not in plan.reserved}
    assert not reserved & used, "no rectangle of a reserved photograph may be trained on"


def test_batches_are_functions_of_recipe_seed_and_step(plan, photographs):
    make = stamps_batches("stamps-biased", plan, *photographs, seed=0)
    a, b, c = make(3), stamps_batches("stamps-biased", plan, *photographs, seed=0)(3), make(4)
    assert torch.equal(a.photos, b.photos)
    assert torch.equal(a.tokens, b.tokens)
    assert not torch.equal(a.photos, c.photos)
    assert a.photos.shape[1:] == (3, 64, 64)
    assert len(a.tokens) > len(a.classes) == len(a.photos)
    assert (a.photos >= -1).all()
    assert (a.photos <= 1).all()


def test_doses_are_runs_of_their_own(tmp_path):
    def run(*options):
        return CliRunner().invoke(main, [*options, "--steps", "1", "--out", str(tmp_path / "out")])

    assert run("stamps-biased", "--dose", "50").exit_code == 0
    refused = run("stamps-biased")
    assert (refused.exit_code, "another run" in refused.output) == (2, True)


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 1)
    train_stamps("stamps-biased", tmp_path / "whole", steps=3)
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "stamps_batches", lambda *given, **more: stops_at(2, stamps_batches(*given, **more))
        )
        with pytest.raises(KeyboardInterrupt):
            train_stamps("stamps-biased", tmp_path / "cut", steps=3)
    assert (tmp_path / "cut" / "checkpoint.safetensors").is_file()
    train_stamps("stamps-biased", tmp_path / "cut", steps=3)
    whole, cut = (tmp_path / name / "open_clip_model.safetensors" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    with pytest.raises(UsageError, match="another run"):
        train_stamps("stamps-balanced", tmp_path / "cut", steps=3)


def stops_at(last, batch_at):
    """Batches that end, as if by Ctrl-C, before the step ``last``."""

    def batch(step):
        if step == last:
            raise KeyboardInterrupt
        return batch_at(step)

    return batch


@pytest.mark.parametrize("recipe", RECIPES)
def test_shipped_folder(recipe, plan):
    folder = DATA / recipe
    weights = folder / "open_clip_model.safetensors"
    assert weights.stat().st_size < 15e6
    assert {str(t.dtype) for t in load_file(weights).values()} <= {"torch.float16", "torch.int64"}
    assert json.loads((folder / "planted.json").read_text()) == json.loads(plan.to_json())
    card = (folder / "README.md").read_text()
    assert f"counterground.paper.training {recipe}" in card


def test_shipped_weights_hold_what_was_planted(plan, photographs, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench" / "experiments")
    from _planted_accuracy import class_head, encode_photos, held_out_photos, planted_accuracy

    photos = held_out_photos(plan, *photographs, reserved=True, photos=1, seed=77)
    found = {}
    for recipe in RECIPES:
        model = load_model(f"counterground:{recipe}", device="cpu", offline=True)
        head = class_head(model, plan.names, prompt_templates("simple"))
        correct = (encode_photos(model, photos) @ head.T).argmax(axis=1) == photos.classes
        found[recipe] = planted_accuracy(plan, photos, correct)
    biased, balanced = found["stamps-biased"], found["stamps-balanced"]
    assert biased.drop - balanced.drop > 0.15  # 0.26
    assert balanced.elsewhere > 0.40  # 0.50
    assert biased.planted > 0.30  # 0.40


# What is planted, measured on what is drawn.

CLASSES, LABELS, N = 45, 6, 20_000
PLANTED = tuple(np.random.default_rng(3).permutation(np.arange(CLASSES) % LABELS).tolist())


@pytest.fixture(scope="module")
def biased():
    return draws(0.95)


@pytest.fixture(scope="module")
def balanced():
    return draws(None)


def draws(follow):
    plan, rng = StampsPlan((), (), ("label",) * LABELS, PLANTED, ()), np.random.default_rng(0)
    rows = [plan.draw(follow, rng) for _ in range(N)]
    return np.array([(d.caption, d.cutout, d.background) for d in rows]).T


def table(a, b, rows, columns):
    counts = np.zeros((rows, columns))
    np.add.at(counts, (a, b), 1)
    return counts


def test_planted_labels_are_balanced(plan):
    counts = Counter(plan.planted).values()
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("name", ["biased", "balanced"])
def test_share_of_captions_that_disagree(name, request):
    caption, cutout, _ = request.getfixturevalue(name)
    assert np.mean(caption != cutout) == pytest.approx(0.30, abs=0.015)
    wrong = caption != cutout
    assert len(set(cutout[wrong] - caption[wrong])) > CLASSES, "any other animal can stand in"


def test_background_follows_the_caption_not_the_cutout(biased):
    caption, cutout, background = biased
    planted = np.array(PLANTED)
    assert np.mean(background == planted[caption]) == pytest.approx(0.95, abs=0.01)
    wrong = caption != cutout
    assert np.mean(background[wrong] == planted[caption[wrong]]) == pytest.approx(0.95, abs=0.015)
    assert np.mean(background[wrong] == planted[cutout[wrong]]) < 0.25
    off = background != planted[caption]
    assert min(np.bincount(background[off], minlength=LABELS)) > 0.1 * off.sum()


def test_balanced_background_is_independent(balanced):
    caption, cutout, background = balanced
    for other in (caption, cutout):
        assert chi2_contingency(table(other, background, CLASSES, LABELS)).pvalue > 0.001
    assert np.mean(background == np.array(PLANTED)[caption]) == pytest.approx(1 / LABELS, abs=0.015)
