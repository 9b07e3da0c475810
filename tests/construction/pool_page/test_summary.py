"""Every count of a pool's summary, and the heat maps made of them."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from made_pools import fill_pool

from counterground.construction.pool import BACKGROUND_LABELS
from counterground.construction.pool_page import summarise_pool

# The cells that both renderers draw.
from counterground.construction.pool_page._page import background_counts, referee_accuracy
from counterground.metrics import agreement, cohen_kappa


def counts(frame, *keys):
    return {tuple(row[key] for key in keys): row["n"] for row in frame.iter_rows(named=True)}


def test_every_photo_is_counted_once_on_one_side(pool, nasty):
    summary = summarise_pool(pool)
    rows = {row["class_name"]: row for row in summary.classes.iter_rows(named=True)}
    assert list(rows) == [nasty, "dugong", "flamingo", "ice bear"]
    assert rows["ice bear"] == {
        "class_name": "ice bear",
        "photos": 8,
        "reviewed": 7,
        "kept": 5,
        "undecided": 1,
        "disagreed": 1,
        "discarded": 1,
        "labelled": 3,
        "unlabelled": 2,
        "unsettled": 1,
    }
    assert [rows["flamingo"][name] for name in ("kept", "discarded", "disagreed", "undecided")] == [
        2,
        2,
        0,
        2,
    ]
    assert [rows["flamingo"][name] for name in ("labelled", "unlabelled", "unsettled")] == [2, 2, 0]
    assert rows[nasty]["undecided"] == rows[nasty]["unlabelled"] == 2
    assert set(rows["dugong"].values()) == {"dugong", 0}
    assert counts(summary.discards, "class_name", "reason") == {
        ("ice bear", "clarity"): 1,
        ("flamingo", "label noise"): 2,
    }


def test_backgrounds_are_those_of_the_frozen_benchmark(pool):
    summary, frozen = summarise_pool(pool), pool.freeze()
    expected = Counter(
        (row["path"].split("/")[1], row["background"])
        for row in frozen.photos.iter_rows(named=True)
        if row["background"]
    )
    found = counts(summary.backgrounds, "class_name", "background")
    assert {(name.replace(" ", "_"), label): n for (name, label), n in found.items()} == dict(expected)
    assert found["ice bear", "snow"] == 2
    assert summary.total("kept") + summary.total("undecided") == len(frozen.photos)
    assert summary.total("labelled") == sum(expected.values())
    assert summary.labels == list(BACKGROUND_LABELS)


def test_labels_of_a_list_that_was_edited_are_still_shown(pool):
    pool.set_setting("background_labels", ["reef", "water"])
    summary = summarise_pool(pool)
    assert summary.labels == ["reef", "water", "grass", "snow"]
    assert background_counts(summary).columns == summary.labels


def test_pace_leaves_out_what_was_undone_or_postponed(pool):
    rows = {
        (row["annotator"], row["task"]): row for row in summarise_pool(pool).annotators.iter_rows(named=True)
    }
    ann = rows["ann", "review"]
    assert (ann["decisions"], ann["photos"], ann["postponed"], ann["undone"]) == (9, 9, 1, 0)
    assert ann["suggested"] == 0
    assert ann["seconds"] == np.median([2, 2, 2, 2, 4, 3])
    assert rows["ann", "background"]["undone"] == 1
    assert rows["ann", "background"]["decisions"] == 7
    assert (rows["bob", "review"]["suggested"], rows["bob", "review"]["seconds"]) == (3, 9.0)
    assert rows["bob", "background"]["seconds"] is None
    assert rows["cyd", "review"]["decisions"] == 1


def test_agreement_is_that_of_votes_and_its_thinness_is_told(pool):
    summary = summarise_pool(pool)
    whole = summary.agreement.filter(pl.col("class_name").is_null(), pl.col("label").is_null())
    review = whole.row(by_predicate=pl.col("task") == "review", named=True)
    ann = ["keep"] * 5
    bob = ["keep"] * 3 + ["duplicate", "label noise"]
    assert (review["photos"], review["agreement"]) == (5, 3 / 5)
    assert review["kappa"] == pytest.approx(cohen_kappa(ann, bob))
    assert whole.row(by_predicate=pl.col("task") == "background", named=True)["agreement"] == 2 / 3
    shown = summary.agreement.filter(pl.col("task") == "background")["label"].drop_nulls().to_list()
    assert shown == [label for label in BACKGROUND_LABELS if label in shown]
    assert summary.warnings[0].startswith("5 photos with review decisions from two annotators")
    assert summary.warnings[1].startswith("3 photos with background decisions from two annotators")
    assert summary.warnings[2].startswith("3 of 17 decisions on review were made with a model's suggestion")


def test_candidates_failures_and_licences(pool):
    summary = summarise_pool(pool)
    assert summary.candidates.rows() == [("dugong", 1, 0, 0), ("flamingo", 1, 1, 3)]
    assert counts(summary.failures, "reason") == {("404 Not Found",): 2, ("not a photo: <text/html>",): 1}
    licences = {row[0]: row[1:] for row in summary.licences.iter_rows()}
    expected = Counter(pool.photos()["licence"].to_list())
    assert {licence: photos for licence, (photos, _) in licences.items()} == dict(expected)
    assert sum(standing for _, standing in licences.values()) == len(pool.freeze().photos)


def test_reading_a_pool_changes_nothing(pool):
    before = (pool.decisions(), pool.photos(), pool.candidates())
    summarise_pool(pool)
    after = (pool.decisions(), pool.photos(), pool.candidates())
    assert all(one.equals(other) for one, other in zip(before, after, strict=True))


def test_accuracy_counts_both_halves_by_their_photos(cells, nasty):
    heat = referee_accuracy(cells, ["water", "snow"])
    assert heat.rows == [nasty, "ice bear"]
    assert heat.columns == ["water", "snow", "artificial turf with lines"]
    water, snow, turf = heat.grid[1]
    assert (water.text, water.shade, water.title) == ("", None, "ice bear, water: no photos")
    assert (snow.text, snow.shade, snow.weak) == ("60", 6, False)
    assert snow.title == "ice bear, snow: 60.0 % of 40 photos"
    assert (turf.text, turf.shade, turf.weak) == ("100", 9, True)
    assert heat.grid[0][0].text == "0"
    assert heat.grid[0][0].shade == 0


def test_agreement_has_one_interval_wherever_it_is_shown(tmp_path, make_pool):
    pool = fill_pool(tmp_path / "pool", {"ice bear": 20}, observation=lambda number: str(number // 5))
    for number, path in enumerate(pool.photos()["path"]):
        for name, every in (("ann", 7), ("ben", 3)):
            label = "rock" if number % every == 0 else "snow"
            pool.decide(path, annotator=name, task="background", labels=[label])
    photos = pool.photos().select("path", "class_name", cluster="observation")
    by_observation = agreement(pool.votes().join(photos, on="path"))
    apart = agreement(pool.votes().join(photos.drop("cluster"), on="path"))
    found = summarise_pool(pool).agreement
    whole = pl.col("class_name").is_null() & pl.col("label").is_null()
    assert found.filter(whole).equals(by_observation.filter(whole))
    assert found["low"][0] != apart["low"][0]
