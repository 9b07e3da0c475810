"""`counterground scores --adjust`: what is shown, in every format, and what is refused in one line."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from made_runs import write_run

import counterground as cg
from counterground.cli import main
from counterground.metrics import ADJUSTED_SCHEMA, DROP, Contrast, score_adjusted

LEVELS = {"good": (0.9, 0.6), "poor": (0.6, 0.3)}


@pytest.fixture
def run_of(make_run, tmp_path, monkeypatch):
    """Function: (*changes of columns) -> folder of a run with size, position, weather and blur."""
    monkeypatch.chdir(tmp_path)

    def write(*changes, path="run", alone=False, **options):
        run = make_run(LEVELS, path=path, **options)
        rng = np.random.default_rng(3)
        photos = run.predictions.select("path", "group").unique(maintain_order=True)
        counter = (photos["group"] == "counter").to_numpy()
        further = photos.select("path").with_columns(
            object_area=np.exp(rng.normal(-2, 0.4, len(photos)) - 0.15 * counter),
            object_distance=rng.random(len(photos)),
            photo_pixels=pl.lit(65536.0),
            blur=rng.normal(size=len(photos)),
            weather=pl.Series(rng.choice(["fog", "clear"], len(photos))),
        )
        predictions = run.predictions.join(
            further.with_columns(*changes), on="path", how="left", maintain_order="left"
        )
        if alone:
            predictions = predictions.with_columns(cluster=pl.lit(None, pl.String))
        write_run(replace(run, predictions=predictions), tmp_path / path)
        return path

    return write


@pytest.fixture
def refused(capsys):
    """Return the one line of a failure, and its exit status."""

    def run(*words):
        status = main(["scores", *words])
        error = capsys.readouterr().err
        assert len(error.strip().splitlines()) == 1
        return status, error

    return run


def test_unadjusted_adjusted_and_difference_stand_side_by_side(run_of, shown):
    text = shown(run_of(), "--adjust", "size,position", "--format", "markdown")
    head, _, *lines = text.splitlines()
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        "Model",
        "Unadjusted",
        "Adjusted",
        "Difference",
        "n",
    ]
    assert [line.split("|")[1].strip() for line in lines[:2]] == ["good", "poor"]
    assert lines[0].split("|")[5].strip() == "360"
    caption = " ".join(text.replace("\\", "").split())
    for part in (
        "drop: group=common - group=counter.",
        "95 % intervals for other photos.",
        "Held: object_area (logarithm), object_distance, by one linear model for each side,",
        "with an intercept for each of 9 strata of class_name (too few photos for models of their own).",
        "In object_area, common lies 0.",
        "standard deviations above counter;",
        "outside the range of the other.",
        "Only these covariates are held. The sides may differ in others",
    ):
        assert part in caption, part


def test_csv_json_and_parquet_have_the_rows(run_of, shown, tmp_path):
    run = run_of()
    wanted = score_adjusted(pl.read_parquet(tmp_path / run / "predictions.parquet"), DROP, ["size", "blur"])
    words = (run, "--adjust", "size", "--adjust", "blur")
    rows = list(csv.DictReader(io.StringIO(shown(*words, "--format", "csv"))))
    assert list(rows[0]) == list(ADJUSTED_SCHEMA)
    assert [float(row["value"]) for row in rows] == wanted["value"].to_list()
    assert [row["value"] for row in json.loads(shown(*words, "--format", "json"))] == wanted[
        "value"
    ].to_list()
    shown(*words, "--format", "parquet", "-o", "adjusted.parquet")
    assert pl.read_parquet("adjusted.parquet").equals(wanted)
    assert cg.scores(run, adjust=["size", "blur"]).equals(wanted)


def test_another_contrast_can_be_adjusted(run_of, shown):
    expression = "fog: weather=fog - weather=clear within class_name, group"
    rows = csv.DictReader(
        io.StringIO(shown(run_of(), "--adjust", "blur", "--contrast", expression, "--format", "csv"))
    )
    assert {(row["contrast"], row["strata"]) for row in rows} == {("fog", "18")}
    table = shown("run", "--adjust", "blur", "--contrast", expression)
    assert "18 strata of class_name and group" in " ".join(table.split())
    found = cg.scores("run", adjust="blur", contrast=Contrast.parse(expression))
    assert set(found["contrast"]) == {"fog"}


def test_large_classes_have_models_of_their_own(run_of, shown):
    text = " ".join(shown(run_of(alone=True, per_group=40), "--adjust", "blur").split())
    assert "Held: blur, by linear models for each side in each of 9 strata of class_name." in text


def test_photos_that_lack_a_covariate_are_counted(run_of, shown):
    lacking = pl.col("path").str.starts_with("0/common/1")
    run = run_of(pl.when(~lacking).then("blur").alias("blur"))
    text = " ".join(shown(run, "--adjust", "blur").split())
    assert "11 photos lack a covariate and are left out of all three figures." in text


def test_several_runs_are_told_apart(run_of, shown):
    first, second = run_of(path="runs/a"), run_of(path="runs/b")
    rows = list(csv.DictReader(io.StringIO(shown(first, second, "--adjust", "size", "--format", "csv"))))
    assert {row["run"] for row in rows} == {"runs/a", "runs/b"}
    assert "| Run |" in shown(first, second, "--adjust", "size", "--format", "markdown")


def test_latex_and_a_notebook_show_it(run_of, shown):
    run = run_of()
    assert r"\toprule" in shown(run, "--adjust", "size", "--format", "latex")
    assert "<table" in cg.format_scores(run, adjust="size")._repr_html_()
    assert "good" in str(cg.format_scores(run, adjust="size"))
    assert "shape:" not in str(cg.format_scores(run, adjust="size"))


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--adjust", "sise"], 2, "There is no covariate 'sise'; there are size, position, photo, blur"),
        (["--adjust", "weather"], 2, "The column 'weather' has texts"),
        (["--adjust", "photo"], 1, "There is no photo_pixels to hold: it is the same in every photo."),
        (
            ["--adjust", "size", "--by", "class"],
            2,
            "--adjust is shown over all classes: leave out --by class",
        ),
        (["--adjust", "size", "--format", "bibtex"], 2, "leave out --format bibtex"),
        (["--adjust", ","], 2, "Name covariates to hold: size, position, photo"),
    ],
)
def test_mistakes_are_one_line(run_of, refused, words, status, message):
    found, error = refused(run_of(), *words)
    assert (found, message in error) == (status, True), error


def test_sides_that_do_not_overlap_are_refused_in_one_line(run_of, refused):
    far = pl.col("blur") + 3 * pl.col("path").str.contains("counter")
    status, error = refused(run_of(far.alias("blur")), "--adjust", "size,blur")
    assert status == 1
    assert "Its sides do not overlap: in blur, common lies 3." in error
    assert "standard deviations below counter (limit 1)" in error


def test_a_run_without_covariates_says_what_measures_them(make_run, tmp_path, refused):
    write_run(make_run(LEVELS), tmp_path / "run")
    status, error = refused(str(tmp_path / "run"), "--adjust", "position")
    assert status == 2
    assert "object_distance is not known of these photos. evaluate measures" in error
    _, remedy, rest = error.partition("evaluate again.")
    assert remedy
    assert "column" not in rest


def test_a_manifests_own_size_is_not_taken_for_the_objects(make_run, tmp_path, refused):
    run = make_run(LEVELS)
    write_run(replace(run, predictions=run.predictions.with_columns(size=pl.lit(0.1))), tmp_path / "run")
    _, error = refused(str(tmp_path / "run"), "--adjust", "size")
    assert "The manifest's column 'size' is not used for it: call it object_area if it is that." in error
