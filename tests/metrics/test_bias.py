"""The bias ratio: which mistakes on counter photos follow the background, computed by hand."""

import polars as pl
import pytest
from made_runs import make_predictions

from counterground.metrics import balanced_interval, score_predictions

BEAR, SWAN, GOOSE, OSTRICH, OUTSIDE = range(5)
COMMON = [(BEAR, "snow"), (SWAN, "water"), (GOOSE, "water"), (GOOSE, "grass"), (OSTRICH, "sand")]
COUNTER = [  # true class, background, predicted class, whether it follows, chance
    (BEAR, "grass", GOOSE, True, 1 / 3),
    (BEAR, "grass", SWAN, False, 1 / 3),
    (SWAN, "grass", OSTRICH, False, 1 / 3),
    (GOOSE, "sand", OSTRICH, True, 1 / 3),
    (OSTRICH, "water", SWAN, True, 2 / 3),
    (OSTRICH, "water", OSTRICH, None, None),
    (OSTRICH, "water", OUTSIDE, None, None),
    (OSTRICH, None, SWAN, None, None),
]


@pytest.fixture(scope="module")
def frame():
    photos = [(true, background, true, "common") for true, background in COMMON]
    photos += [(true, background, predicted, "counter") for true, background, predicted, *_ in COUNTER]
    named = pl.DataFrame(photos, ["true_index", "background", "predicted_index", "group"], orient="row")
    rows = make_predictions({"a": (1.0, 1.0)}, classes=["bear"], per_group=7)[: len(named)]
    return rows.with_columns(
        named.cast({"true_index": pl.Int32, "predicted_index": pl.Int32}),
        class_index=named["true_index"].cast(pl.Int32),
        correct=named["true_index"] == named["predicted_index"],
        cluster=named["background"],
    ).sort("path")


def bias(frame):
    rows = score_predictions(frame, by_class=False).filter(pl.col("metric").str.starts_with("bias"))
    assert rows["level"].to_list() == ["counter"] * 2
    return rows.to_dicts()


def test_mistakes_are_counted_by_hand(frame):
    ratio, chance = bias(frame)
    counted = [(follows, share, place) for _, place, _, follows, share in COUNTER if follows is not None]
    follows, shares, places = zip(*counted, strict=True)
    assert ratio["value"] == pytest.approx(3 / 5)
    assert chance["value"] == pytest.approx(sum(shares) / 5) == pytest.approx(2 / 5)
    assert ratio["n"] == chance["n"] == 5
    interval = balanced_interval(follows, [0] * 5, places)
    assert (ratio["low"], ratio["high"], ratio["clusters"]) == (interval.low, interval.high, 3)


@pytest.mark.parametrize("column", ["group", "background", "predicted_index"])
def test_what_cannot_be_told_is_null(frame, column):
    assert [row["value"] for row in bias(frame.with_columns(pl.lit(None).alias(column)))] == [None, None]
    if column != "group":
        assert [row["value"] for row in bias(frame.drop(column))] == [None, None]


def test_without_mistakes_it_is_null(frame):
    right = frame.with_columns(predicted_index="true_index", correct=True)
    assert [row["value"] for row in bias(right)] == [None, None]
