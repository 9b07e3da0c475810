"""The order of photos, and a confidence sequence that errs rarely however often one looks."""

import numpy as np
import polars as pl
import pytest

from counterground.decision import Until, look
from counterground.errors import UsageError
from counterground.metrics import Confidence, Interval, drop_interval

ANYTIME = Confidence(anytime=True)


def photos(classes=4, per_cell=12, clusters=None, seed=0):
    rng = np.random.default_rng(seed)
    n = 2 * classes * per_cell
    names = None if clusters is None else [f"observer {code}" for code in rng.integers(0, clusters, n)]
    return pl.DataFrame(
        {
            "path": [f"{number}.jpg" for number in range(n)],
            "photo_id": [f"content {number}" for number in range(n)],
            "class_index": np.repeat(np.arange(classes), 2 * per_cell),
            "group": np.tile(np.repeat(["common", "counter"], per_cell), classes),
            "cluster": pl.Series(names or [None] * n, dtype=pl.String),
        }
    )


def cells(frame, rows):
    return frame[rows.tolist()].group_by("class_index", "group").len()["len"].to_list()


@pytest.mark.parametrize("clusters", [None, 15])
def test_each_photo_is_in_one_look_and_each_class_and_group_in_all(clusters):
    frame = photos(clusters=clusters)
    looks = Until().looks(frame)
    assert sorted(np.concatenate(looks)) == list(range(len(frame)))
    assert all((np.diff(rows) > 0).all() for rows in looks)
    for count in range(1, len(looks) + 1):
        held = cells(frame, np.concatenate(looks[:count]))
        assert len(held) == 8
        assert min(held) >= 4


@pytest.mark.parametrize("clusters", [None, 15])
def test_classes_and_groups_grow_alike(clusters):
    frame = photos(clusters=clusters)
    for count, looks in enumerate([Until().looks(frame)[:n] for n in (1, 2, 3)]):
        assert cells(frame, np.concatenate(looks)) == [4 + count] * 8


def generalists():
    """Half of the photos are by ten observers of all 20 classes, who alone have a drop, of 60 points."""
    rows = [
        (index, group, who, 0.2 if group == "counter" and who else 0.8)
        for index in range(20)
        for group in ("common", "counter")
        for who in [f"observer {number}" for number in range(10)] + [None] * 10
    ]
    columns = dict(zip(("class_index", "group", "cluster", "p"), zip(*rows, strict=True), strict=True))
    frame = pl.DataFrame(columns).with_row_index("number")
    return frame.with_columns(path=pl.format("{}.jpg", "number"), photo_id=pl.format("content {}", "number"))


def test_a_look_does_not_prefer_clusters_of_many_classes():
    """Their share of photos is 0.5, and a drop that only they have is 30 points, at every look."""
    frame, rng = generalists(), np.random.default_rng(3)
    shares, missed = [], 0
    for seed in range(30):
        looks = Until(seed=seed).looks(frame)
        right = rng.random(len(frame)) < frame["p"].to_numpy()
        shares.append(frame[looks[0].tolist()]["cluster"].is_not_null().mean())
        held = [np.concatenate(looks[: count + 1]) for count in range(5)]
        columns = [frame[name].to_numpy() for name in ("class_index", "group", "cluster")]
        found = [
            drop_interval(right[rows], *(column[rows] for column in columns), confidence=ANYTIME)
            for rows in held
        ]
        missed += any(not each.low <= 0.3 <= each.high for each in found)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert missed / 30 <= 0.05


def test_the_order_depends_on_the_seed_and_not_on_the_order_of_the_rows():
    frame = photos(clusters=15)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1)

    def paths(table, seed=0):
        return [sorted(table[rows.tolist()]["path"]) for rows in Until(seed=seed).looks(table)]

    assert paths(frame) == paths(shuffled)
    assert paths(frame)[0] != paths(frame, seed=1)[0]


def test_photos_that_show_no_drop_are_in_no_look():
    frame = photos()
    alone = frame.with_columns(
        group=pl.when(pl.col("class_index") == 3)
        .then(pl.lit("common"))
        .when(pl.col("path") == "0.jpg")
        .then(None)
        .otherwise("group")
    )
    used = alone[np.concatenate(Until().looks(alone)).tolist()]
    assert set(used["class_index"]) == {0, 1, 2}
    assert len(used) == 3 * 24 - 1


def test_photos_without_a_pair_are_refused():
    with pytest.raises(UsageError, match="no drop to decide on"):
        Until().looks(photos().with_columns(group=pl.lit("common")))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.11, 0.2, "above"), (0.0, 0.09, "below"), (0.05, 0.2, None), (None, None, None)],
)
def test_a_verdict_needs_the_whole_interval(low, high, verdict):
    assert Until(max_drop=0.1).verdict(Interval(0.1, low, high, 9, 9)) == verdict


def sequences_that_err(confidence, replications=40):
    """Share of sequences in which any look misses the true drop of 20 points; clusters lie in both groups."""
    frame = photos(classes=3, per_cell=24, clusters=40)
    looks = Until().looks(frame)
    group, cluster = frame["group"].to_numpy(), frame["cluster"].to_numpy()
    names, code = np.unique(cluster, return_inverse=True)
    rng, missed = np.random.default_rng(5), 0
    for _ in range(replications):
        # Half of the photos of a cluster and group answer as one, which keeps accuracies at 0.8 and 0.6.
        shared = rng.random((len(names), 2))[code, (group == "counter").astype(int)]
        draw = np.where(rng.random(len(code)) < 0.5, shared, rng.random(len(code)))
        right = draw < np.where(group == "common", 0.8, 0.6)
        for count in range(1, len(looks) + 1):
            rows = np.concatenate(looks[:count])
            columns = (frame["class_index"].to_numpy()[rows], group[rows], cluster[rows])
            found = drop_interval(right[rows], *columns, confidence=confidence)
            if not found.low <= 0.2 <= found.high:
                missed += 1
                break
    return missed / replications


@pytest.mark.slow
def test_a_sequence_errs_rarely_and_ordinary_intervals_often():
    assert sequences_that_err(Confidence(anytime=True)) <= 0.05
    assert sequences_that_err(Confidence()) > 0.1


def test_models_and_settings_share_the_error():
    frame = photos().with_columns(
        correct=pl.Series(np.random.default_rng(2).random(96) < 0.6),
        **{
            name: pl.lit("x") for name in ("names", "protocol", "as_published", "answer_score", "label_space")
        },
        model=pl.lit("m"),
    )
    frame = pl.concat([frame.with_columns(prompts=pl.lit(text)) for text in ("yes", "no")])
    columns = (frame[:96][name] for name in ("correct", "class_index", "group", "cluster"))
    alone = drop_interval(*columns, confidence=ANYTIME.shared_by(2 * 3))
    assert [interval for _, interval in look(frame, models=3)] == [alone, alone]
