"""Every count of a pool's summary, its page and the command, against the pool itself."""

import re
from collections import Counter

import polars as pl
import pytest
from click.testing import CliRunner
from made_pools import fill_pool

from counterground.construction.cli import pool as command
from counterground.construction.pool_page import summarise_pool, write_pool_report
from counterground.metrics import agreement, cohen_kappa

SIDES = ("kept", "discarded", "disagreed", "undecided")
NASTY = "<b>bold</b> & \"co\" 'x'"


def event(path, annotator, task, *labels, **more):
    return {"path": path, "annotator": annotator, "task": task, "labels": list(labels)} | more


@pytest.fixture
def pool(tmp_path):
    """Three classes whose every count is known; see the tests."""
    licences = ("cc-by", "cc0", None)
    pool = fill_pool(
        tmp_path / "pool",
        {"ice bear": 8, "flamingo": 6, NASTY: 2},
        licence=lambda number: licences[number % 3],
    )
    paths = pool.photos()["path"].to_list()
    bears, birds = ([path for path in paths if name in path] for name in ("ice_bear", "flamingo"))
    pool.decide_all(
        [
            # Bears: 5 kept (one settled), 1 discarded, 1 disputed, 1 undecided and postponed.
            *(event(path, "ann", "review", "keep", seconds=2.0) for path in bears[:4]),
            *(event(path, "bob", "review", "keep", seconds=9.0) for path in bears[:3]),
            event(bears[4], "ann", "review", "clarity", "ambiguity", seconds=4.0),
            event(bears[5], "ann", "review", "keep", seconds=3.0),
            event(bears[5], "bob", "review", "duplicate"),
            event(bears[6], "ann", "review", "keep"),
            event(bears[6], "bob", "review", "label noise"),
            event(bears[6], "cyd", "review", "keep", adjudicates=True),
            event(bears[7], "ann", "review", "later", seconds=30.0),
            # Flamingos: 2 kept, 2 discarded as label noise, 2 undecided.
            *(event(path, "ann", "review", "keep") for path in birds[:2]),
            *(event(path, "bob", "review", "label noise") for path in birds[2:4]),
            *(event(path, "ann", "background", "snow", "ground", seconds=1.0) for path in bears[:3]),
            *(event(path, "bob", "background", "snow") for path in bears[:2]),
            event(bears[2], "bob", "background", "water"),
            event(bears[3], "ann", "background", "grass"),
            event(bears[4], "ann", "background", "sky"),  # discarded: counts nowhere
            event(birds[0], "ann", "background", "water"),
            event(birds[4], "ann", "background", "water"),  # undecided, and stands
        ]
    )
    pool.decide(birds[1], annotator="ann", task="background", labels=["indoor"])
    pool.undo("ann", "background")
    pool.add_candidates([{"key": "inaturalist:9", "class_name": "dugong", "position": 0}])
    return pool


def test_every_photo_is_counted_once_on_one_side(pool):
    summary = summarise_pool(pool)
    rows = {row["class_name"]: row for row in summary.classes.iter_rows(named=True)}
    assert list(rows) == [NASTY, "dugong", "flamingo", "ice bear"]
    assert rows["ice bear"] == {
        "class_name": "ice bear",
        "photos": 8,
        "kept": 5,
        "undecided": 1,
        "disagreed": 1,
        "discarded": 1,
        "labelled": 3,
        "unlabelled": 2,
        "unsettled": 1,
    }
    sides = ("kept", "discarded", "disagreed", "undecided", "labelled", "unlabelled", "unsettled")
    assert [rows["flamingo"][name] for name in sides] == [2, 2, 0, 2, 2, 2, 0]
    assert rows[NASTY]["undecided"] == rows[NASTY]["unlabelled"] == 2
    assert set(rows["dugong"].values()) == {"dugong", 0}
    assert set(summary.discards.rows()) == {("ice bear", "clarity", 1), ("flamingo", "label noise", 2)}


def test_backgrounds_and_licences_are_those_of_the_frozen_benchmark(pool):
    summary, frozen = summarise_pool(pool), pool.freeze()
    expected = Counter(frozen.photos.drop_nulls("background").select("class_name", "background").rows())
    found = {(name, label): n for name, label, n in summary.backgrounds.iter_rows()}
    assert found == dict(expected)
    assert found["ice bear", "snow"] == 2
    assert summary.total("kept") + summary.total("undecided") == len(frozen.photos)
    assert summary.total("labelled") == sum(expected.values())
    licences = {licence: counts for licence, *counts in summary.licences.iter_rows()}
    everywhere, standing = Counter(pool.photos()["licence"]), Counter(frozen.photos["licence"])
    assert licences == {licence: [n, standing[licence]] for licence, n in everywhere.items()}


def test_agreement_is_that_of_votes_and_its_thinness_is_told(pool):
    summary = summarise_pool(pool)
    whole = summary.agreement.filter(pl.col("class_name").is_null(), pl.col("label").is_null())
    review = whole.row(by_predicate=pl.col("task") == "review", named=True)
    ann = ["keep"] * 5
    bob = ["keep"] * 3 + ["duplicate", "label noise"]
    assert (review["photos"], review["agreement"]) == (5, 3 / 5)
    assert review["kappa"] == pytest.approx(cohen_kappa(ann, bob))
    assert whole.row(by_predicate=pl.col("task") == "background", named=True)["agreement"] == 2 / 3
    assert [warning.split()[0] for warning in summary.warnings] == ["5", "3"]


def test_agreement_has_one_interval_wherever_it_is_shown(tmp_path):
    pool = fill_pool(tmp_path / "pool", {"ice bear": 20}, observation=lambda number: str(number // 5))
    for number, path in enumerate(pool.photos()["path"]):
        for name, every in (("ann", 7), ("ben", 3)):
            label = "rock" if number % every == 0 else "snow"
            pool.decide(path, annotator=name, task="background", labels=[label])
    votes = pool.votes()
    assert votes["cluster"].n_unique() == 4
    by_observation, apart = agreement(votes), agreement(votes.drop("cluster"))
    found = summarise_pool(pool).agreement
    whole = pl.col("class_name").is_null() & pl.col("label").is_null()
    assert found.filter(whole).equals(by_observation.filter(whole))
    assert found["low"][0] != apart["low"][0]


def test_the_page_and_the_terminal_say_what_the_pool_says(pool, tmp_path):
    ran = CliRunner().invoke(command, [str(pool.root), "-o", str(tmp_path / "pool.html")])
    assert ran.exit_code == 0, ran.output
    summary = summarise_pool(pool)
    lines = [line.split()[-6:] for line in ran.output.splitlines()]
    html = (tmp_path / "pool.html").read_text("utf-8")
    assert not re.search(r"<script|<b>bold|(?:src|href|url)\s*[=(]", html)
    cells = re.sub(r"(<[^>]+>)+", " ", html)
    for row in summary.classes.iter_rows(named=True):
        counts = [str(row[name]) for name in ("photos", *SIDES, "unlabelled")]
        assert counts in lines
        assert " ".join(counts) in cells
    assert "review all, first labels 5 60.0 " in cells
    (tmp_path / "out").mkdir()
    page = write_pool_report(summary, tmp_path / "out")
    assert (page, page.read_text("utf-8")) == (tmp_path / "out" / "pool.html", html)
