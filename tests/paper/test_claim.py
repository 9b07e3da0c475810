"""The paper's claim in its four settings, against statsmodels and simulation."""

import csv
import io
import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy.special import ndtr, ndtri
from scipy.stats import norm, t
from statsmodels.stats.multitest import multipletests

from counterground.cli import main
from counterground.comparison import RobustnessLine, full_comparison
from counterground.metrics import fit_line

# A mean distance whose truth is known, which the paper's figures are not; and a claim measured anew.
from counterground.paper.claims import EVERY, WITHOUT, _distances, claim_by_setting
from counterground.published import SETTINGS, load_table

# Mean distance (points) with counts of intervals below and above, offset with its interval (probits).
REVIEWED = {
    ("one-prompt", EVERY): (-2.4, 13, 0, -0.069, -0.106, -0.031),
    ("one-prompt", WITHOUT): (-1.5, 6, 0, -0.044, -0.074, -0.014),
    ("openai-prompts", EVERY): (0.1, 2, 3, -0.001, -0.030, 0.029),
    ("openai-prompts", WITHOUT): (0.2, 0, 2, 0.009, -0.018, 0.036),
    ("1-vs-20", EVERY): (-1.9, 12, 1, -0.063, -0.101, -0.024),
    ("1-vs-20", WITHOUT): (-1.1, 7, 1, -0.040, -0.071, -0.009),
    ("unbalanced", EVERY): (-0.7, 8, 5, -0.024, -0.070, 0.023),
    ("unbalanced", WITHOUT): (0.3, 3, 5, 0.005, -0.027, 0.038),
}


@pytest.fixture(scope="module")
def claim():
    return claim_by_setting()


@pytest.fixture(scope="module")
def paper():
    return full_comparison()


def row_of(claim, setting, subset):
    return claim.row(by_predicate=(pl.col("setting") == setting) & (pl.col("subset") == subset), named=True)


def printed(setting, subset):
    """Probits and accuracies as printed: a data frame with a column that marks CLIPs."""
    chosen = SETTINGS[setting]
    frames = []
    for table, name, clip in (("clip_results", chosen.clips, 1), ("imagenet_results", chosen.classifiers, 0)):
        rows = load_table(table).filter(table=name).to_dicts()
        frames.append(pd.DataFrame(rows).assign(clip=clip))
    frame = pd.concat(frames, ignore_index=True)
    related = frame["backbone"].str.startswith("ViT/B/32") | (frame["pretrain_dataset"] == "LAION400M")
    if subset == WITHOUT:
        frame = frame[~(related & (frame["clip"] == 1))]
    return frame.assign(x=ndtri(frame["common"] / 100), y=ndtri(frame["counter"] / 100))


def test_the_claim_is_the_same_to_the_last_digit_each_time():
    """Means over data sets are sums, which depend on their order."""
    first, *others = (claim_by_setting().to_dicts() for _ in range(12))
    assert all(other == first for other in others)


def test_a_row_for_each_setting_and_set_of_clips(claim):
    assert claim["setting"].unique(maintain_order=True).to_list() == list(SETTINGS)
    assert claim.filter(subset=EVERY)["clips"].to_list() == [28] * 4
    assert claim.filter(subset=WITHOUT)["clips"].to_list() == [20] * 4
    assert set(claim["imagenet_models"]) == {15}


@pytest.mark.parametrize(("setting", "subset"), REVIEWED)
def test_distance_and_offset_are_those_of_statsmodels_and_of_a_review(claim, setting, subset):
    row, frame = row_of(claim, setting, subset), printed(setting, subset)
    classifiers, clips = frame[frame["clip"] == 0], frame[frame["clip"] == 1]
    line = sm.OLS(classifiers["y"], sm.add_constant(classifiers["x"])).fit()
    distances = clips["counter"] / 100 - ndtr(line.predict(sm.add_constant(clips["x"])))
    assert row["distance"] == pytest.approx(distances.mean(), abs=1e-10)
    by_data_set = distances.groupby(clips["pretrain_dataset"]).mean()
    assert row["distance_by_data_set"] == pytest.approx(by_data_set.mean(), abs=1e-10)
    ancova = smf.ols("y ~ x + clip", frame).fit()
    assert row["offset"] == pytest.approx(ancova.params["clip"], abs=1e-10)
    ends = [row["offset_low"], row["offset_high"]]
    assert ends == pytest.approx(ancova.conf_int().loc["clip"].to_list(), abs=1e-10)
    distance, below, above, *offset = REVIEWED[setting, subset]
    assert 100 * row["distance"] == pytest.approx(distance, abs=0.051)
    assert (row["interval_below"], row["interval_above"]) == (below, above)
    assert [row["offset"], *ends] == pytest.approx(offset, abs=0.001)


@pytest.mark.parametrize("setting", SETTINGS)
def test_single_clips_are_counted_as_statsmodels_counts_them(claim, setting):
    row, frame = row_of(claim, setting, EVERY), printed(setting, EVERY)
    classifiers, clips = frame[frame["clip"] == 0], frame[frame["clip"] == 1]
    line = sm.OLS(classifiers["y"], sm.add_constant(classifiers["x"])).fit()
    found = line.get_prediction(sm.add_constant(clips["x"]))
    off = clips["y"].to_numpy() - found.predicted
    p = 2 * t.sf(np.abs(off) / np.hypot(found.se_mean, np.sqrt(line.scale)), 13)
    tests = {"p": p < 0.05}
    for name, method in (("holm", "holm"), ("benjamini_hochberg", "fdr_bh")):
        tests[name] = multipletests(p, 0.05, method)[0]
    for name, rejected in tests.items():
        assert row[f"{name}_below"] == (rejected & (off < 0)).sum()
        assert row[f"{name}_above"] == (rejected & (off > 0)).sum()
    sizes = load_table("group_sizes")
    errors = []
    for group in ("common", "counter"):
        level, n = clips[group] / 100, sizes[f"n_{group}_implied"].to_numpy()
        photos = n.sum() if setting == "unbalanced" else len(n) ** 2 / (1 / n).sum()
        errors.append(np.sqrt(level * (1 - level) / photos) / norm.pdf(ndtri(level)))
    half = np.hypot(
        t.ppf(0.975, 13) * found.se_mean, 1.959964 * np.hypot(errors[1], line.params["x"] * errors[0])
    )
    assert (row["interval_below"], row["interval_above"]) == ((off + half < 0).sum(), (off - half > 0).sum())


def test_the_difference_between_prompts_is_paired(claim):
    clips = [printed(setting, EVERY).query("clip == 1") for setting in ("one-prompt", "openai-prompts")]
    classifiers = printed("one-prompt", EVERY).query("clip == 0")
    line = sm.OLS(classifiers["y"], sm.add_constant(classifiers["x"])).fit()
    off = [part["counter"] / 100 - ndtr(line.predict(sm.add_constant(part["x"]))) for part in clips]
    paired = sm.stats.DescrStatsW(off[1].to_numpy() - off[0].to_numpy())
    row = row_of(claim, "openai-prompts", EVERY)
    assert row["change"] == pytest.approx(paired.mean)
    assert [row["change_low"], row["change_high"]] == pytest.approx(paired.tconfint_mean())
    assert row_of(claim, "one-prompt", EVERY)["change"] is None


def test_the_interval_of_a_mean_distance_covers_it():
    rng = np.random.default_rng(1)
    slope, intercept, offset, held = 1.2, -0.6, -0.05, []
    places = np.linspace(0.3, 1.1, 28)
    for _ in range(500):
        x = 0.9 + rng.normal(0, 0.3, 15)
        fit = fit_line(ndtr(x), ndtr(intercept + slope * x + rng.normal(0, 0.04, 15)))
        height = intercept + slope * places + offset
        # The truth: what CLIPs like these are off the true line on average.
        seen = ndtr(height + rng.normal(0, 0.06, 28))
        clips = pl.DataFrame(
            {
                "common": ndtr(places),
                "common_place": places,
                "counter": seen,
                "residual": seen - fit.predict(ndtr(places)),
                "pretrain_dataset": [str(k % 6) for k in range(28)],
            }
        )
        line = RobustnessLine("b", None, None, "b", "paper", (), fit)
        found = _distances(clips, line)
        truth = (ndtr(height) - ndtr(intercept + slope * places)).mean()
        held.append(found["distance_low"] <= truth <= found["distance_high"])
    assert 0.92 <= np.mean(held) <= 0.98


def ran(capsys, *words):
    assert main(["paper", "compare", *words]) == 0
    return capsys.readouterr().out


def test_json_and_csv_stay_readable(capsys, claim):
    record = json.loads(ran(capsys, "--format", "json"))
    assert [row["distance"] for row in record["by_setting"]] == pytest.approx(claim["distance"].to_list())
    assert len(record["scaling"]["answers"]) == 12
    assert record["scaling"]["answers"][0]["alone"]["term"] == "log10(parameters)"
    rows = list(csv.DictReader(io.StringIO(ran(capsys, "--format", "csv"))))
    assert [row["setting"] for row in rows] == claim["setting"].to_list()
    logits = list(csv.DictReader(io.StringIO(ran(capsys, "--scale", "logit", "--format", "csv"))))
    assert [row["offset"] for row in logits] != [row["offset"] for row in rows]


def test_the_distance_with_errors_is_that_from_the_second_line(claim, paper):
    line = paper.robustness.lines[0].with_errors
    clips = paper.points.filter(source="paper", family="clip")
    x, y = (clips[name].to_numpy() for name in ("common", "counter"))
    expected = (y - ndtr(line.intercept + line.slope * ndtri(x))).mean()
    assert row_of(claim, "one-prompt", EVERY)["distance_with_errors"] == pytest.approx(expected)
