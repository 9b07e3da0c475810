"""The pool: nothing is lost, nothing is done twice, nothing is decided in silence."""

import sqlite3

import polars as pl
import pytest

from counterground.benchmarks import open_benchmark
from counterground.construction.pool import class_folder
from counterground.errors import CounterGroundError, UsageError

CLASSES = ("ice bear", "flamingo")


def paths(pool):
    return pool.photos()["path"].to_list()


def decide(pool, path, label, by="ann", task="background", **more):
    return pool.decide(path, annotator=by, task=task, labels=[label], **more)


def verdict(pool, path, task="background"):
    return pool.verdicts(task).row(by_predicate=pl.col("path") == path, named=True)


@pytest.mark.parametrize(
    "path", ["files/../../etc/passwd", "/etc/passwd", "a.png", "files", "files//a.png", "files/x\\y"]
)
def test_places_outside_the_pool_are_refused(pool, path):
    with pytest.raises(CounterGroundError, match="not a file below files"):
        pool.add_photos([{"path": path, "photo_id": "0" * 64, "class_name": "x"}])


def test_links_are_refused(pool, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    (pool.files / "link.png").symlink_to(secret)
    (pool.files / "out").symlink_to(tmp_path)
    for path in ("files/link.png", "files/out/secret.png"):
        with pytest.raises(CounterGroundError, match="link"):
            pool.photo_file(path)


def test_class_folders_differ_and_are_plain():
    names = [
        "ice bear",
        "ice_bear",
        "Ice bear",
        "a/b",
        "a_b",
        "..",
        "con",
        "é",
        "e",
        "",
        "x" * 200,
        "x" * 201,
    ]
    folders = [class_folder(name) for name in names]
    assert len({folder.lower() for folder in folders}) == len(names)
    assert folders[0] == "ice_bear"
    assert all(folder.isascii() and "/" not in folder and not folder.startswith(".") for folder in folders)


def test_sending_twice_decides_once(pool):
    path = paths(pool)[0]
    assert decide(pool, path, "snow", token="t") == decide(pool, path, "snow", token="t")
    decide(pool, path, "grass")
    pool.undo("ann", "background", token="u")
    pool.undo("ann", "background", token="u")
    assert verdict(pool, path)["label"] == "snow"
    assert len(pool.decisions()) == 3
    with pytest.raises(UsageError, match="belongs to"):
        decide(pool, paths(pool)[1], "snow", token="t")


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("background", ["snwo"], "Did you mean 'snow'"),
        ("background", [], "one label or several"),
        ("background", ["snow", "snow"], "one label or several"),
        ("background", ["later", "snow"], "one label or several"),
        ("review", ["keep", "clarity"], "one label or several"),
        ("reviews", ["keep"], "Did you mean 'review'"),
    ],
)
def test_what_is_no_decision_is_refused(pool, task, labels, message):
    with pytest.raises(UsageError, match=message):
        pool.decide(paths(pool)[0], annotator="ann", task=task, labels=labels)
    assert pool.decisions().is_empty()


def test_unknown_photos_and_annotators_without_a_name_are_refused(pool):
    with pytest.raises(UsageError, match="no photo"):
        decide(pool, "files/none.png", "snow")
    with pytest.raises(UsageError, match="needs its annotator"):
        decide(pool, paths(pool)[0], "snow", by=" ")


def test_many_decisions_are_all_or_none(pool):
    good = {"path": paths(pool)[0], "annotator": "imported", "task": "background", "labels": ["snow"]}
    with pytest.raises(UsageError, match=r"no photo 'files/none\.png'"):
        pool.decide_all([good, good | {"path": "files/none.png"}])
    assert pool.decisions().is_empty()
    pool.decide_all([good])
    assert verdict(pool, good["path"])["label"] == "snow"


def test_the_database_itself_refuses_to_forget(pool):
    decide(pool, paths(pool)[0], "snow")
    with sqlite3.connect(pool.root / "decisions.sqlite") as raw:
        for statement in ("DELETE FROM decision", "UPDATE decision SET labels = '[\"sky\"]'"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                raw.execute(statement)


def test_freezing_says_what_is_left_out(pool):
    listed = paths(pool)
    for path in listed[:6]:
        decide(pool, path, "keep", task="review")
        decide(pool, path, "snow")
    decide(pool, listed[0], "clarity", task="review")
    decide(pool, listed[1], "ambiguity", by="ben", task="review")
    decide(pool, listed[2], "grass", by="ben")
    benchmark = open_benchmark(pool.root)
    assert benchmark.photos["path"].to_list() == listed[2:]
    assert benchmark.photos["background"].to_list() == [None, "snow", "snow", "snow", None, None]
    assert set(benchmark.classes.names) == set(CLASSES)
    settle = "settle this in `counterground data label`, page Disagreements."
    assert benchmark.notes == (
        "1 of 8 photos of the pool were discarded (clarity 1).",
        f"1 of 8 photos are left out, since annotators disagree on keeping them: {settle}",
        "2 of 8 photos were included without a review.",
        "2 of 6 photos have no background label yet.",
        f"1 of 6 photos have no background, since annotators disagree on it: {settle}",
    )
