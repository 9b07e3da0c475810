"""`counterground scores --effects`: what is shown of a run of composites, and what is refused in one line."""

import json
from dataclasses import replace

import polars as pl
import pytest
from made_runs import write_run

import counterground as cg
from counterground.cli import main
from counterground.metrics import SCORES_SCHEMA, swap_design, swap_effects
from counterground.results import open_run

KINDS = ["original", "pasted", "refilled", "same", "other", "grey", "background_only"]


@pytest.fixture
def swapped(make_run, tmp_path, monkeypatch):
    """A run of two models, of which one needs the common background, on seven kinds of composites."""
    monkeypatch.chdir(tmp_path)
    run = make_run({"biased": (0.9, 0.3), "fair": (0.8, 0.8)}, classes=["ox", "yak"], per_group=70)
    number = pl.col("path").str.extract(r"(\d+)\.jpg").cast(pl.Int64)
    photo = number // len(KINDS)
    predictions = run.predictions.with_columns(
        swap=number.replace_strict(dict(enumerate(KINDS * 10))),
        foreground=pl.format("{}-{}", "class_index", photo),
        background_photo=pl.format("{}-{}", "background", photo),
        background_class=pl.lit("dog"),
        own_group=pl.lit(None, pl.String),
        background_cluster=pl.format("{}-{}", "background", photo),
    ).with_columns(cluster="foreground")
    columns = ["class_name", "group", "background", "cluster", "swap", "background_cluster"]
    design = swap_design(predictions.select(columns))
    benchmark = run.info.benchmark.model_copy(update={"design": design.to_json()})
    info = run.info.model_copy(update={"benchmark": benchmark})
    write_run(replace(run, info=info, predictions=predictions), tmp_path / "swapped")
    write_run(make_run({"biased": (0.9, 0.3)}, path="plain"), tmp_path / "plain")
    return open_run("swapped")


def shown(capsys, *words):
    assert main(["scores", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_table_has_the_decomposition_of_each_model(swapped, capsys):
    text = shown(capsys, "swapped", "--effects", "--format", "markdown")
    expected = swap_effects(swapped.predictions, design=swapped.design, chance=0.001, by_class=False)
    effects = expected.filter(metric="background_effect")
    assert effects.height == 2
    for row in effects.iter_rows(named=True):
        assert f"= background | {100 * row['value']:.1f} [{100 * row['low']:.1f}, ".replace("-", "−") in text
    assert "Chance | 0.1 |" in text
    assert "grass, against plain grey" in text
    assert "other foregrounds and background photographs" in text


def test_a_background_effect_of_more_classes_than_the_drop_stands_apart(swapped, tmp_path, capsys):
    placed = {"grey": "placed_common", "background_only": "placed_counter"}
    swap = pl.when(class_name="ox").then(pl.col("swap").replace(placed)).otherwise("swap")
    write_run(replace(swapped, predictions=swapped.predictions.with_columns(swap)), tmp_path / "some")
    text = " ".join(shown(capsys, "some", "--effects", "--format", "markdown").split())
    found = open_run("some").effects(by_class=False)
    for name, title in (
        ("background_effect", "Background effect, of all classes"),
        ("background_part", "= background, of these classes"),
    ):
        rows = found.filter(metric=name)
        assert rows.height == 2
        for row in rows.iter_rows(named=True):
            assert f"{title} | {100 * row['value']:.1f} [".replace("-", "−") in text
    assert "| = background |" not in text
    text = shown(capsys, "some", "--effects", "--by", "class", "--format", "markdown")
    assert "| = background |" in text
    assert "all classes" not in text


def test_rows_are_those_of_the_metrics_over_all_or_by_class(swapped, capsys):
    rows = json.loads(shown(capsys, "swapped", "--effects", "--format", "json"))["rows"]
    assert list(rows[0]) == list(SCORES_SCHEMA)
    assert {row["class_index"] for row in rows} == {None}
    rows = json.loads(shown(capsys, "swapped", "--effects", "--by", "class", "--format", "json"))["rows"]
    assert {row["class_name"] for row in rows} == {"ox", "yak"}
    heights = [cg.scores(swapped, effects=True, by=by).height for by in (None, "class")]
    assert sum(heights) == swap_effects(swapped.predictions, design=swapped.design, chance=0.001).height


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plain", "--effects"], "not of composites (there is no column swap)"),
        (["swapped", "--effects", "--by", "background"], "leave out by background"),
        (["swapped", "--effects", "--contrast", "drop"], "leave out the contrast"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_line(swapped, capsys, words, said):
    assert main(["scores", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
