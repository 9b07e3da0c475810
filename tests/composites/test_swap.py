"""Runs on composites: what networks that look at one part only rely on, and what a run records."""

import hashlib
import json
import shlex
from dataclasses import replace

import polars as pl
import pytest
from disc_photos import (
    MODELS,
    QUICK,
    background_only,
    soft_discs,
    swapped_discs,
)

import counterground as cg
from counterground import models
from counterground.comparison import selection_of
from counterground.errors import CounterGroundError, UsageError
from counterground.metrics import swap_effects
from counterground.results import repeat_command
from counterground.settings import SwapSettings

discs, run = soft_discs, swapped_discs


@pytest.fixture(scope="module")
def effects(run):
    rows = run.effects(by_class=False).filter(pl.col("column").ne_missing("background"))
    return {
        (model, name): (value, low, high)
        for model, name, value, low, high in rows.select(
            "model", "metric", "value", "low", "high"
        ).iter_rows()
    }


def test_a_model_that_sees_the_background_only_relies_on_it_entirely(effects):
    assert effects["background", "background_effect"][0] == 1
    assert effects["background", "observed_drop"][0] == 1
    assert effects["background", "size_effect"][0] == 0
    assert effects["background", "rest"][0] == 0
    assert effects["background", "background_only"][0] == 0.5


def test_a_model_that_sees_the_object_only_does_not_rely_on_the_background(effects):
    for name in ("background_effect", "observed_drop", "size_effect", "bg_gap", "flip_share", "adversarial"):
        assert effects["foreground", name][0] == 0, name
    for name in ("pasted_cost", "refilled_cost", "same_label_cost"):
        assert effects["foreground", name][0] == 0, name
    assert effects["foreground", "mixed_rand"][0] == 1


def test_a_coin_relies_on_nothing_and_is_right_by_chance(run, effects):
    _, low, high = effects["coin", "background_effect"]
    assert low < 0 < high
    correct = run.predictions.filter(pl.col("model") == "coin")["correct"].mean()
    assert 0.44 < correct < 0.56  # 3 standard errors of 720 throws


def test_a_head_is_fitted_on_the_photos_as_they_are_not_on_composites(discs, tmp_path):
    network, corner, _ = background_only()
    model = (network[0], corner, models.HeadSpec("prototypes"))
    rare = (pl.col("group") == "counter") & ~pl.col("path").str.contains(r"/[01]\.png")
    learnt = replace(discs, photos=discs.photos.filter(~rare))  # the class goes with the background
    run = cg.swap(learnt, {"corner": model}, out=tmp_path / "run", **QUICK)
    effect = run.effects(by_class=False).filter(metric="background_effect")
    assert effect["value"].to_list() == [1]
    assert run.info.models[0].description["head"]["photos"] == len(learnt)
    with pytest.raises(UsageError, match=r"corner: a head is fitted on photos as they are.*original to"):
        cg.swap(learnt, {"corner": model}, out=tmp_path / "same", kinds="same", **QUICK)


def test_the_run_says_what_was_swapped(run, discs):
    record = json.loads((run.path / "run.json").read_text())["intervention"]
    assert (record["kind"], record["foregrounds"], record["backgrounds"]) == ("swap", 24, 24)
    assert record["source"]["version"] == discs.version
    assert record["opencv"][0].isdigit()
    words = shlex.split(repeat_command(run))
    assert words[-6:-2] == ["--label-space", "benchmark", "--backgrounds-per-label", "3"]
    assert cg.open_run(run.path).info.settings == {"backgrounds_per_label": 3, "label_space": "benchmark"}


def test_the_same_command_writes_the_same_bytes_and_another_seed_others(run, discs, tmp_path):
    again = cg.swap(discs, MODELS, out=tmp_path / "again", **QUICK)
    other = cg.swap(discs, MODELS, out=tmp_path / "other", seed=1, **QUICK)
    first, second, third = (
        hashlib.sha256((each.path / "predictions.parquet").read_bytes()).hexdigest()
        for each in (run, again, other)
    )
    assert first == second != third


def test_composites_of_several_kinds_have_no_drop_together(run, discs, tmp_path):
    """Not in scores, nor beside the drop of the photos as they are."""
    plain = cg.evaluate(discs, MODELS, out=tmp_path / "plain", label_space="benchmark", report=False)
    for each in (run, cg.open_run(run.path)):
        assert "drop" not in each.estimates()["metric"]
        assert not {"common", "counter"} & set(each.estimates()["level"])
        assert not each.estimates().filter(metric="background_effect").is_empty()
    both = cg.compare([plain, run])
    assert set(both.points["source"]) == {"plain"}
    assert set(both.tests.filter(source="run")["metric"]) == {"accuracy"}
    assert ("left_out", "run") in {(each.code, each.subject) for each in both.findings}


def test_the_referee_of_counteranimal_chose_its_composites_too(run):
    """Whoever swaps backgrounds of CounterAnimal measures pairs that were chosen on the same photos."""
    named = run.info.intervention.source.model_copy(update={"name": "CounterAnimal"})
    of = run.info.intervention.model_copy(update={"source": named})
    theirs = replace(run, info=run.info.model_copy(update={"intervention": of}))
    assert not selection_of(run).on_these_photos
    assert selection_of(theirs).on_these_photos
    verdicts = {each.model: each.verdict for each in cg.check(theirs, max_drop=0.1).verdicts}
    assert verdicts["background"] == "undecided"
    assert cg.check(run, max_drop=0.1, models="background").verdict == "fail"


class SeesTheCorner(models.Generative):
    """A generative model that names the class whose common background has the colour of the corner."""

    def __init__(self):
        self.network, self.preprocess, self.names = background_only()

    def generate(self, image, question, *, max_new_tokens):
        return self.names[int(self.network(self.preprocess(image)[None]).argmax())]


def test_generative_models_are_asked_about_composites(discs, tmp_path):
    settings = SwapSettings(protocol="free-form", kinds=["same", "other"], foregrounds=4)
    run = cg.swap(discs, {"talks": SeesTheCorner}, out=tmp_path / "run", settings=settings, **QUICK)
    assert len(run.predictions) == 4 * 6
    by_group = dict(run.predictions.group_by("group").agg(pl.mean("correct")).iter_rows())
    assert by_group == {"common": 1, "counter": 0}


def test_masks_come_from_a_folder_and_composites_are_not_swapped_again(discs, tmp_path):
    with pytest.raises(UsageError, match="composites already"):
        cg.swap(
            replace(discs, photos=discs.photos.with_columns(swap=pl.lit("original"))),
            MODELS,
            out=tmp_path / "none",
            **QUICK,
        )
    bare = cg.Benchmark(discs.name, discs.root, discs.photos.drop("mask"), discs.classes)
    with pytest.raises(CounterGroundError, match="--masks"):
        cg.swap(bare, MODELS, out=tmp_path / "none", **QUICK)
    run = cg.swap(
        bare, MODELS, out=tmp_path / "run", masks=discs.root / "masks", kinds=["same", "other"], **QUICK
    )
    assert run.info.settings["masks"] == str(discs.root / "masks")
    effects = swap_effects(run.rows, design=run.design, by_class=False)
    found = effects.filter(pl.col("metric") == "background_effect").select("model", "value")
    assert dict(found.iter_rows())["background"] == 1
