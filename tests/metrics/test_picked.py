"""Contrasts picked after looking: of how many, corrected together with their intervals."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from counterground import metrics
from counterground.metrics import (
    DESIGN,
    DROP,
    Answers,
    Compared,
    Contrast,
    Design,
    Stratification,
    compare_answers,
    corrected_differences,
    holm,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "experiments"))
from picked import picked

PHOTOS = pl.DataFrame(
    {
        "class_name": ["a", "b"] * 12,
        "place": ["land", "sea", "air", "ice"] * 6,
        "group": ["common", "counter"] * 12,
        "size": np.arange(24) / 24,
    }
)
SETTING = ("openai", "simple", "classification", None, "benchmark")
GAP = Contrast("gap", "place=land", "place=sea")


@pytest.mark.parametrize(
    ("design", "contrast", "of"),
    [
        (DESIGN, GAP, 6),
        (Design(contrasts=(DROP, GAP)), Contrast("other", "place=sea", "place=land"), 1),
        (DESIGN, DROP, 1),
        (Design(contrasts=(GAP,)), DROP, 1),  # of the two groups there is one pair
        (DESIGN, Contrast("gap", "place=land|air", "place=sea"), None),
        (DESIGN, Contrast("gap", "place=land", "all"), None),
        (DESIGN, Contrast("gap", "place=land & group=common", "place=sea"), None),
        (DESIGN, Contrast("gap", "place!=land", "place=land"), None),
        (DESIGN, Contrast("gap", "size<0.5", "size>=0.5"), None),
        (DESIGN, Contrast("gap", "place=land", "group=common"), None),
    ],
)
def test_a_contrast_that_is_not_declared_is_one_of_all_pairs(design, contrast, of):
    assert design.picked_from(contrast, PHOTOS) == of


def drawn(seed, lift):
    rng = np.random.default_rng(seed)
    index, group = np.repeat([0, 1, 2], 40), np.tile(["common", "counter"], 60)
    right = rng.random(120) < np.where(group == "common", 0.6 + lift, 0.6)
    return Answers.of(pl.DataFrame({"correct": right}), Stratification(index, group, None))


def test_a_corrected_interval_excludes_0_where_the_corrected_p_value_says_so():
    models = [drawn(seed, lift).sides(DROP) for seed, lift in enumerate([0.0, 0.1, 0.2, 0.25, 0.3, 0.35])]
    for of in (1, 3, 15):
        estimates = corrected_differences([*models, None], of)
        assert estimates.pop().value is None
        assert {estimate.family for estimate in estimates} == {6 * of}
        p_corrected = holm(estimate.p_value for estimate in estimates)
        for estimate, p in zip(estimates, p_corrected, strict=True):
            assert estimate.p_corrected == pytest.approx(min(1, of * p))
            assert (estimate.p_corrected < 0.05) == (not estimate.low <= 0 <= estimate.high)
            assert estimate.confidence >= 0.95
    assert len({estimate.p_corrected < 0.05 for estimate in corrected_differences(models)}) == 2
    exploratory = corrected_differences(models, None)
    assert {(each.p_corrected, each.family, each.confidence) for each in exploratory} == {(None, None, 0.95)}


@pytest.mark.parametrize("backgrounds", [3, 6])
def test_the_best_of_several_alike_backgrounds_rarely_beats_the_worst(backgrounds):
    rng = np.random.default_rng(backgrounds)
    p_values = np.array([picked(backgrounds, rng) for _ in range(150)])
    alone, corrected, any_pair = (p_values < 0.05).mean(axis=0)
    assert max(corrected, any_pair) <= 0.06 < alone


def test_the_corrected_intervals_of_a_comparison_agree_with_its_corrected_p_values():
    rng, n = np.random.default_rng(5), 240
    index, group = np.repeat([0, 1, 2], 80), np.tile(["common", "counter"], 120)
    hard = rng.random(n)
    models = []
    photos = Stratification(index, group, rng.integers(0, 60, n))
    for place, level in enumerate([0.5, 0.6, 0.65, 0.8]):
        right = hard + 0.2 * rng.normal(size=n) < np.where(group == "common", level, level - 0.1 * place)
        models.append(Compared(str(place), SETTING, Answers.of(pl.DataFrame({"correct": right}), photos)))
    for of in (1, 10):
        tests = compare_answers(models, picked_from=of)
        assert tests["family"].unique().to_list() == [of * 4 * 6]
        outside = (pl.col("corrected_low") > 0) | (pl.col("corrected_high") < 0)
        assert tests.select(outside == (pl.col("p_corrected") < 0.05)).to_series().all()
        assert tests.select(pl.col("corrected_high") >= pl.col("high") - 1e-12).to_series().all()
        turned = metrics.tests_against(tests, "0").filter(model="3", metric="drop").row(0, named=True)
        own = tests.filter(model="0", versus="3", metric="drop").row(0, named=True)
        assert turned["corrected_low"] == -own["corrected_high"]
    assert 0 < (tests["p_corrected"] < 0.05).sum() < len(tests)
