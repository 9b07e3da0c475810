"""The paper's models, the reproduction's and those of runs as points."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from paper_sized import OPEN_CLIP_REFEREE, classifier_record, clip_record, paper_sizes

from counterground.comparison import POINTS_SCHEMA, full_comparison, model_points
from counterground.errors import UsageError
from counterground.published import load_table, published_models


def test_the_43_models_stand_as_printed_in_fractions():
    points = model_points()
    printed = published_models()
    assert points.schema == pl.Schema(POINTS_SCHEMA)
    assert points["model"].to_list() == printed["model"].to_list()
    for name in ("common", "counter"):
        assert points[name].to_numpy() == pytest.approx(printed[name].to_numpy() / 100)
    assert points["drop"].to_numpy() == pytest.approx(printed["drop"].to_numpy() / 100, abs=0.00011)
    assert points["parameters"].null_count() == points["data_size"].null_count() == 0
    assert points["comparable"].all()
    assert points["drop_low"].null_count() == 43


@pytest.mark.parametrize(
    ("setting", "misprinted"),
    [
        ("one-prompt", {}),
        ("openai-prompts", {"CLIP-LAION2B-ViT/G/14": 9.97, "CLIP-LAION400M-ViT/B/16": 18.03}),
        ("1-vs-20", {"RN50": 15.12}),
        ("unbalanced", {}),
    ],
)
def test_drops_of_printed_rows_are_common_minus_counter_also_where_another_is_printed(setting, misprinted):
    points = model_points(setting=setting)
    assert points["drop"].to_numpy() == pytest.approx((points["common"] - points["counter"]).to_numpy())
    both = points.join(published_models(setting), on="model", suffix="_printed")
    off = both.filter((100 * pl.col("drop") - pl.col("drop_printed")).abs() > 0.02)
    found = dict(off.select("model", 100 * pl.col("drop")).iter_rows())
    assert found == pytest.approx(misprinted)
    assert off["note"].str.contains("the drop is printed").all()


def test_1_vs_20_has_the_lvlms_too():
    points = model_points(setting="1-vs-20")
    assert points.height == 45
    assert points.filter(pl.col("family") == "lvlm")["label"].to_list() == [
        "MiniGPT4-Viccuna7B",
        "LLaVA1.5-7B",
    ]
    assert set(points["label_space"]) == {"confusable"}
    asked = points.select(pl.col("family") == "lvlm", "protocol", "answer_score").unique().sort("family")
    assert asked.rows() == [(False, "classification", None), (True, "answer-loss", "mean")]
    with pytest.raises(UsageError, match="one-prompt"):
        model_points(setting="1-vs-5")


def test_every_row_of_the_reproduction_is_one_of_the_papers():
    points = model_points(published=False, reproduction=True)
    assert points.height == 30
    assert set(points["model"]) <= set(published_models()["model"])
    theirs = load_table("reproduction_metu_2025")
    assert sorted(points["drop"] * 100) == pytest.approx(sorted(theirs["drop"]), abs=0.011)
    joined = points.join(model_points(), on="model", suffix="_paper")
    assert joined.filter(pl.col("parameters") != pl.col("parameters_paper")).is_empty()
    assert joined.filter(pl.col("high_quality") != pl.col("high_quality_paper")).is_empty()


def test_a_run_on_the_papers_photos_is_one_of_its_models(referee_run):
    row = model_points([referee_run], published=False).row(0, named=True)
    assert (row["model"], row["source"], row["paper_model"]) == (
        OPEN_CLIP_REFEREE,
        "referee",
        "CLIP-LAION400M-ViT/B/32",
    )
    assert (row["backbone"], row["pretrain_dataset"], row["data_size"]) == (
        "ViT/B/32",
        "LAION400M",
        400_000_000,
    )
    assert row["comparable"] is True
    assert (row["n_common"], row["n_counter"]) == tuple(paper_sizes().sum(axis=0))
    # Table 3: 67.13 and 36.95; the class-wise tables carry the misprint of class 14.
    assert (row["common"], row["counter"]) == pytest.approx((0.6713, 0.3695), abs=0.0012)
    assert row["drop_low"] < row["drop"] < row["drop_high"]


def test_other_checkpoints_are_not_the_model_of_table_3(make_run):
    """Table 9 names them alike; on the same architecture, data sets have the paper's word."""
    data = {
        "laion2b_e16": "LAION-2B",
        "laion2b_s34b_b79k": "LAION-2B",
        "laion400m_e32": "LAION-400M",
        "datacomp_m_s128m_b4k": "DataComp-medium",
        "elsewhere": "DataComp-1B",
        "mine": "my photos",
    }
    records = [clip_record(f"open_clip:ViT-B-32/{tag}", data=name) for tag, name in data.items()]
    run = make_run({record.spec: (0.7, 0.5) for record in records}, records=records)
    found = model_points([run], published=False)
    assert found["paper_model"].to_list() == [None, "CLIP-LAION2B-ViT/B/32", None, None, None, None]
    words = ["LAION2B", "LAION2B", "LAION400M", "DataComp-M", "DataComp1B", "my photos"]
    assert found["pretrain_dataset"].to_list() == words
    millions = [2320, 2320, 400, 14, 1400, None]
    assert (found["data_size"] // 1_000_000).to_list() == millions


@pytest.mark.parametrize(
    ("record", "family"),
    [
        (clip_record("open_clip:ViT-B-32/x"), "clip"),
        (clip_record("open_clip:ViT-B-32/x").model_copy(update={"kind": "generative"}), "lvlm"),
        (classifier_record("timm:a"), "imagenet"),
        (classifier_record("timm:a", data="ImageNet-21K, then ImageNet-1K"), "other"),
        (classifier_record("onnx:a", data=None), "other"),
    ],
)
def test_families_follow_kind_and_training_data(make_run, record, family):
    run = make_run({record.spec: (0.8, 0.6)}, sizes=np.full((3, 2), 10), records=[record])
    assert model_points([run], published=False)["family"].to_list() == [family]


@pytest.mark.parametrize("spec", [OPEN_CLIP_REFEREE, "torchvision:resnet50"])
@pytest.mark.parametrize("about", ["mitigation", "head"])
def test_another_head_makes_the_papers_weights_another_model(spec, about, make_run):
    """It is in no line of a family, is not the paper's model, and chose no backgrounds."""
    record = clip_record(spec) if spec.startswith("open_clip") else classifier_record(spec)
    description = {**record.description, about: {"method": "leace"}}
    other = record.model_copy(
        update={"name": "m + leace", "description": description, "fingerprint": "e" * 64}
    )
    run = make_run({"m + leace": (0.7, 0.5)}, records=[other])
    point = model_points([run], published=False).row(0, named=True)
    assert (point["family"], point["paper_model"]) == ("other", None)
    assert ("chose_here", "m + leace") not in {
        (each.code, each.subject) for each in full_comparison(run).findings
    }


def test_other_photos_or_names_are_not_comparable_and_say_why(small_run, make_run):
    row = model_points([small_run], published=False).row(0, named=True)
    assert row["comparable"] is False
    assert row["note"].startswith("stamps has 6 classes")
    one = make_run({"m": (0.7, 0.5)}, sizes=paper_sizes()[:1], name="one")
    assert "one has 1 class" in model_points([one], published=False)["note"][0]
    sizes = paper_sizes().copy()
    sizes[:10] //= 2
    part = make_run({OPEN_CLIP_REFEREE: (0.7, 0.5)}, sizes=sizes)
    assert "other sizes than the paper's" in model_points([part], published=False)["note"][0]
    own = make_run({OPEN_CLIP_REFEREE: (0.7, 0.5)}, label_space="benchmark")
    assert "candidate names are benchmark" in model_points([own], published=False)["note"][0]


def test_figure_3s_25_prairie_chickens_are_as_good_as_259(make_run):
    sizes = paper_sizes().copy()
    sizes[22, 0] = 25
    run = make_run({OPEN_CLIP_REFEREE: (0.7, 0.5)}, sizes=sizes)
    assert model_points([run], published=False)["comparable"].all()


def test_models_without_groups_are_left_out(small_run):
    bare = small_run.predictions.with_columns(group=pl.lit(None, pl.String))
    assert model_points([replace(small_run, predictions=bare)], published=False).is_empty()


def test_names_of_runs_hold_no_path(make_run, tmp_path):
    sizes = np.full((3, 2), 10)
    runs = [
        make_run({"efficientnet-lite0": (level, 0.6)}, sizes=sizes, path=tmp_path / place)
        for level, place in ((0.8, "x/runs/run"), (0.7, "y/runs/run"), (0.6, "y/other"))
    ]
    names = ["x/runs/run", "y/runs/run", "other"]
    assert model_points(runs, published=False)["source"].to_list() == names
    assert model_points(runs[::-1], published=False)["source"].to_list() == names[::-1]


@pytest.mark.parametrize("name", ["paper", "reproduction"])
def test_a_folder_called_like_a_published_source_is_still_a_run(name, small_run):
    named = replace(small_run, path=Path("runs") / name)
    found = full_comparison([named])
    own = full_comparison([small_run])
    assert set(found.points["source"]) == {"paper", "reproduction", f"runs/{name}"}
    for figures in ("residual", "residual_low", "rank_high"):
        assert found.models[figures].equals(own.models[figures])
    assert [line.models for line in found.robustness.lines] == [line.models for line in own.robustness.lines]
