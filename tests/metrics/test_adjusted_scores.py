"""The table of contrasts with covariates held: names, missing numbers, models that share photos."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from counterground.errors import CounterGroundError, UsageError
from counterground.metrics import (
    ADJUSTED_SCHEMA,
    DROP,
    SETTING_SCHEMA,
    Adjustment,
    Confidence,
    Contrast,
    Sampling,
    find_covariates,
    score_adjusted,
    score_contrast,
)

N = 400


@pytest.fixture
def predictions():
    """Two models on 400 photos of 5 classes, with size, place and a covariate of its own."""
    rng = np.random.default_rng(1)
    counter, index = rng.random(N) < 0.5, rng.integers(0, 5, N)
    area = np.exp(rng.normal(-2, 0.5, N) - 0.2 * counter)
    names = [f"{number:03}" for number in range(N)]
    photos = pl.DataFrame(
        {
            "path": names,
            "photo_id": names,
            "class_index": index.astype(np.int32),
            "class_name": [f"class {number}" for number in index],
            "background": None,
            "group": np.where(counter, "counter", "common"),
            "cluster": [f"c{number}" for number in rng.integers(0, 60, N)],
            "object_area": area,
            "object_distance": rng.random(N),
            "photo_pixels": 65536.0,
            "blur": rng.normal(size=N),
            "weather": rng.choice(["fog", "clear"], N),
        },
        schema_overrides={"background": pl.String},
    )
    chance = 0.9 + 0.15 * np.log(area) - 0.1 * counter
    models = [
        photos.with_columns(
            model=pl.lit(name),
            correct=pl.Series(rng.random(N) < chance),
            **{setting: pl.lit(None, kind) for setting, kind in SETTING_SCHEMA.items()},
        )
        for name in ("a", "b")
    ]
    return pl.concat(models)


def figures(rows, model="a"):
    return {
        row["metric"]: row
        for row in rows.filter(pl.col("covariate").is_null(), model=model).iter_rows(named=True)
    }


def test_the_rows_are_those_of_the_adjustment(predictions):
    rows = score_adjusted(predictions, DROP, ["size", "position"])
    assert rows.schema == ADJUSTED_SCHEMA
    assert set(rows["covariates"]) == {"object_area, object_distance"}
    for model in ("a", "b"):
        seen = predictions.filter(model=model)
        cluster = np.unique(seen["cluster"], return_inverse=True)[1]
        found = Adjustment(
            Sampling(cluster, cluster.max() + 1),
            (seen["group"] == "common").to_numpy(),
            (seen["group"] == "counter").to_numpy(),
            seen["class_index"].to_numpy(),
            {
                "object_area": np.log(seen["object_area"].to_numpy()),
                "object_distance": seen["object_distance"].to_numpy(),
            },
        )
        contrast, told = found.of(seen["correct"].to_numpy()), figures(rows, model)
        assert list(told) == ["unadjusted", "adjusted", "difference"]
        for name, interval in contrast._asdict().items():
            for field in ("value", "low", "high", "p_value", "n", "clusters"):
                assert told[name][field] == pytest.approx(getattr(interval, field), abs=1e-12), (name, field)
            assert (told[name]["strata"], told[name]["missing"], told[name]["shared_slopes"]) == (5, 0, True)
        shift = rows.filter(model=model, covariate="object_area", metric="shift")["value"].item()
        assert shift == pytest.approx(found.overlap[0].shift)
        assert shift > 0


def test_the_unadjusted_row_is_the_contrast(predictions):
    contrast = Contrast.parse("fog: weather=fog - weather=clear within class_name, group")
    told = figures(score_adjusted(predictions, contrast, ["blur"]))["unadjusted"]
    score = score_contrast(predictions, contrast).filter(
        pl.col("group").is_null(), pl.col("class_index").is_null(), model="a", metric="fog"
    )
    assert told["strata"] == 10
    for field in ("value", "low", "high", "p_value", "n", "clusters"):
        assert told[field] == pytest.approx(score[field].item(), abs=1e-12)


def test_photos_without_a_covariate_are_counted_and_left_out_of_all_figures(predictions):
    lacking = pl.col("path").is_in([f"{number:03}" for number in range(30)])
    gaps = predictions.with_columns(object_area=pl.when(~lacking).then("object_area"))
    gaps = gaps.with_columns(object_distance=pl.when(pl.col("path") != "040").then("object_distance"))
    found = score_adjusted(gaps, DROP, ["size", "position"])
    without = score_adjusted(
        predictions.filter(~lacking, pl.col("path") != "040"), DROP, ["size", "position"]
    )
    assert set(found["missing"]) == {31}
    assert figures(found)["adjusted"]["n"] == N - 31
    assert_frame_equal(found.drop("missing"), without.drop("missing"))


def test_an_area_of_nothing_is_missing(predictions):
    none = predictions.with_columns(
        object_area=pl.when(pl.col("path") > "003").then("object_area").otherwise(0)
    )
    assert set(score_adjusted(none, DROP, ["size"])["missing"]) == {4}


def test_a_covariate_of_no_photo_is_refused(predictions):
    none = predictions.with_columns(object_area=pl.lit(None, pl.Float64))
    with pytest.raises(UsageError, match="No photo of the contrast 'drop' has object_area: hold other"):
        score_adjusted(none, DROP, ["size"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["sise"],
            "There is no covariate 'sise'; there are size, position, photo, .*blur.* Did you mean 'size'",
        ),
        (["weather"], "The column 'weather' has texts, .* after 'within' of the contrast instead"),
        (["size", "object_area"], "size, object_area names a covariate twice"),
        ([], "Name covariates to hold: size, position, photo"),
    ],
)
def test_names_that_cannot_be_held(predictions, names, message):
    with pytest.raises(UsageError, match=message):
        find_covariates(names, predictions.schema)


def test_a_covariate_that_was_not_measured_says_what_measures_it(predictions):
    with pytest.raises(UsageError, match=r"object_area is not known of these photos\. evaluate measures"):
        score_adjusted(predictions.drop("object_area"), DROP, ["size"])
    schema = predictions.drop("object_area").schema
    with pytest.raises(UsageError, match=r": evaluate again\.$"):
        find_covariates(["size"], schema)
    message = r": evaluate again\. The manifest's column 'size' is not used for it: call it object_area if"
    with pytest.raises(UsageError, match=message):
        find_covariates(["size"], {**schema, "size": pl.Float64()})


def test_what_cannot_be_adjusted_names_the_contrast(predictions):
    with pytest.raises(CounterGroundError, match=r"'drop' cannot be adjusted\. There is no photo_pixels"):
        score_adjusted(predictions, DROP, ["photo"])
    far = predictions.with_columns(blur=pl.col("blur") + 3 * (pl.col("group") == "counter"))
    message = r"'drop' cannot be adjusted\. Its sides do not overlap: in blur, common lies [23]\.\d+ .* below"
    with pytest.raises(CounterGroundError, match=message):
        score_adjusted(far, DROP, ["size", "blur"])


def test_a_side_that_is_an_average_is_refused(predictions):
    with pytest.raises(UsageError, match="'gap' has an average of cells as a side"):
        score_adjusted(predictions, Contrast.parse("gap: average(training) - group=counter"), ["size"])


def test_intervals_of_runs_that_could_stop_are_wider(predictions):
    once, anytime = (
        figures(score_adjusted(predictions, DROP, ["size"], confidence=confidence))["adjusted"]
        for confidence in (Confidence(), Confidence(anytime=True))
    )
    assert anytime["value"] == once["value"]
    assert anytime["low"] < once["low"]
    assert anytime["anytime"]


def test_a_contrast_without_photos_is_not_said_to_lack_a_covariate(predictions):
    ungrouped = predictions.with_columns(group=pl.lit(None, pl.String))
    with pytest.raises(CounterGroundError, match="No stratum of class_name has photos of both common and"):
        score_adjusted(ungrouped, DROP, ["size"])
