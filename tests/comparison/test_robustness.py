"""Distances from the line against statsmodels; whose line it is."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from paper_sized import OPEN_CLIP_REFEREE, make_paper_run, paper_sizes, printed_accuracies
from scipy.special import logit, ndtr, ndtri
from scipy.stats import logistic, norm, t

from counterground.comparison import effective_robustness, full_comparison, model_points

# A distance from a line without error, which no fit gives.
from counterground.comparison._robustness import _change_over_line, deviation
from counterground.metrics import fit_line
from counterground.published import load_table

DENSITY = {"probit": norm.pdf, "logit": logistic.pdf}
SCALES = {"probit": (ndtri, ndtr), "logit": (logit, lambda z: 1 / (1 + np.exp(-z)))}


def binomial_error(level, group):
    """Standard error of a mean over 45 classes of figure 3's sizes, all with this accuracy."""
    sizes = load_table("group_sizes")[f"n_{group}_implied"].to_list()
    return (sum(level * (1 - level) / n for n in sizes)) ** 0.5 / 45


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("baseline", ["imagenet", "clip"])
def test_residuals_of_all_43_are_those_of_statsmodels(scale, baseline):
    points = model_points()
    found = effective_robustness(points, baseline=baseline, scale=scale)
    g, back = SCALES[scale]
    x, y = g(points["common"].to_numpy()), g(points["counter"].to_numpy())
    inside = (points["family"] == baseline).to_numpy()
    for place in range(43):
        kept = inside & (np.arange(43) != place)
        fit = sm.OLS(y[kept], sm.add_constant(x[kept])).fit()
        frame = fit.get_prediction([[1.0, x[place]]]).summary_frame(alpha=0.05).iloc[0]
        row = found.residuals.row(place, named=True)
        common, counter = points["common"][place], points["counter"][place]
        # The line's error by t, the row's own (binomial, by the delta method) by the normal distribution.
        half = (frame["mean_ci_upper"] - frame["mean_ci_lower"]) / 2
        own = [
            binomial_error(level, group) / DENSITY[scale](g(level))
            for group, level in (("common", common), ("counter", counter))
        ]
        half = np.sqrt(half**2 + 1.959964**2 * (own[1] ** 2 + (fit.params[1] * own[0]) ** 2))
        assert row["predicted"] == pytest.approx(back(frame["mean"]))
        assert row["residual"] == pytest.approx(counter - back(frame["mean"]))
        assert row["low"] == pytest.approx(counter - back(frame["mean"] + half), abs=1e-8)
        assert row["high"] == pytest.approx(counter - back(frame["mean"] - half), abs=1e-8)
        assert row["member"] == inside[place]
    whole = sm.OLS(y[inside], sm.add_constant(x[inside])).fit()
    assert (found.fit.intercept, found.fit.slope) == pytest.approx(tuple(whole.params))
    studentised = whole.get_influence().resid_studentized_external

    p_values = 2 * t.sf(np.abs(studentised), inside.sum() - 3)
    assert found.residuals.filter("member")["p_value"].to_numpy() == pytest.approx(p_values)


def test_the_papers_finding_stands_its_clips_lie_below_the_imagenet_line():
    found = effective_robustness(model_points()).residuals
    clips, others = (found.filter(pl.col("family") == family) for family in ("clip", "imagenet"))
    assert clips.sort("residual")["model"][0] == "CLIP-LAION400M-ViT/B/32"
    assert ((clips["high"] < 0).sum(), (clips["low"] > 0).sum()) == (13, 0)
    assert ((others["high"] < 0).sum(), (others["low"] > 0).sum()) == (0, 1)
    # As many as lie farther off than a further ImageNet model would.
    assert (clips["p_value"] < 0.05).sum() == 13


def test_a_run_on_the_papers_photos_is_measured_against_the_papers_line(referee_run):
    points = model_points([referee_run])
    found = effective_robustness(points)
    own, paper = (
        found.residuals.filter(pl.col("source") == source).filter(
            pl.col("model").is_in([OPEN_CLIP_REFEREE, "CLIP-LAION400M-ViT/B/32"])
        )
        for source in ("referee", "paper")
    )
    assert len(found.lines) == 1
    assert own["residual"][0] == pytest.approx(paper["residual"][0], abs=0.003)
    # The run has the error of its own classes; one accuracy for all makes the paper's row a bit wider.
    widths = [side["high"][0] - side["low"][0] for side in (own, paper)]
    assert widths[0] < widths[1] < 1.3 * widths[0]


def test_the_interval_adds_the_models_own_sampling_error(referee_run):
    """By simulation: how far the distance moves when photos are drawn anew, the line standing still."""
    points = model_points([referee_run])
    row = effective_robustness(points).residuals.row(-1, named=True)
    line = effective_robustness(points).fit
    exact = replace(line, residual_sd=0.0)
    point = points.row(-1, named=True)
    alone = deviation(point, exact)
    levels = printed_accuracies("CLIP-LAION400M-ViT/B/32")
    rng = np.random.default_rng(0)
    sizes = paper_sizes()
    drawn = rng.binomial(sizes, levels, size=(4000, *sizes.shape)) / sizes
    common, counter = drawn.mean(axis=1).T
    moved = counter - line.predict(common)
    assert (alone.high - alone.low) / (2 * 1.96) == pytest.approx(moved.std(), rel=0.08)
    assert row["high"] - row["low"] > alone.high - alone.low


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("slope", [0.8, -0.6])
@pytest.mark.parametrize("drop", [(0.05, 0.31), (0.12, 0.26)])
def test_the_interval_of_a_run_is_mover_of_both_accuracies_and_the_line(scale, slope, drop):
    """Lines of either direction; the drop's interval, wider or narrower, tells the correlation."""
    g, back = SCALES[scale]
    common, counter = (0.72, 0.61, 0.81), (0.55, 0.47, 0.62)
    x = np.array([-0.4, 0.1, 0.3, 0.8, 1.2])
    y = slope * x + np.array([0.02, -0.03, 0.04, -0.05, 0.01])
    line = fit_line(back(x), back(y), scale=scale)
    point = {"source": "run", "n_common": 300, "n_counter": 200}
    for name, figures in (("common", common), ("counter", counter), ("drop", (0.17, *drop))):
        point |= dict(zip((name, f"{name}_low", f"{name}_high"), figures, strict=True))
    found = deviation(point, line, unshared=0.5)
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    at = fit.get_prediction([[1.0, g(common[0])]])
    height, middle = g(counter[0]), at.predicted_mean[0]
    assert (found.predicted, found.residual) == pytest.approx((back(middle), counter[0] - back(middle)))
    below, above = abs(g(np.array(counter[1:])) - height)
    moved = fit.params[1] * (g(np.array(common[1:])) - g(common[0]))
    # What may take from the distance: counter is lower, and the line at the common accuracy higher.
    up, down = max(moved), -min(moved)
    widths = [figures[-1] - figures[-2] for figures in (common, counter, drop)]
    r = np.sign(slope) * (widths[0] ** 2 + widths[1] ** 2 - widths[2] ** 2) / (2 * widths[0] * widths[1])
    lower = below**2 + up**2 - 2 * r * below * up
    higher = above**2 + down**2 - 2 * r * above * down
    line_half = t.ppf(0.975, 3) * at.se_mean[0]
    low, high = (np.sqrt(line_half**2 + 0.5 * own) for own in (lower, higher))
    assert found.low == pytest.approx(counter[0] - back(middle + low))
    assert found.high == pytest.approx(counter[0] - back(middle - high))
    assert found.p_value == pytest.approx(2 * t.sf(abs(height - middle) / at.se_obs[0], 3))


def test_runs_elsewhere_have_a_line_of_their_own(small_run):
    points = model_points([small_run])
    found = effective_robustness(points)
    assert [(line.benchmark, line.source, line.fit.n) for line in found.lines] == [
        ("counteranimal", "paper", 15),
        ("stamps", "small", 3),
    ]
    alone = effective_robustness(model_points([small_run], published=False))
    assert alone.fit == found.lines[1].fit
    residuals = found.residuals.tail(4)
    # Two others are no line: what belongs to the baseline of three has no distance.
    assert residuals["residual"].is_null().to_list() == [True, True, True, False]
    assert residuals["residual"][3] < -0.1
    together = effective_robustness(model_points()).residuals
    assert found.residuals.head(43).equals(together)


def test_under_three_models_of_the_baseline_there_is_no_line_and_a_sentence(make_run):
    levels = {"efficientnet-lite0": (0.7, 0.5), "open_clip:ViT-B-32/laion2b_s34b_b79k": (0.8, 0.4)}
    run = make_run(levels, sizes=np.full((4, 2), 20), name="stamps")
    found = effective_robustness(model_points([run], published=False))
    assert found.fit is None
    assert found.residuals["residual"].null_count() == 2
    assert [(each.code, each.subject) for each in found.findings] == [("no_line", "stamps")]


def test_at_the_edge_residual_and_interval_stand_at_one_height(make_run):
    """A model right on every photo, where the line says 99.8 %, is not off the line."""
    levels = {"torchvision:a": (0.97, 0.965), "torchvision:b": (0.9, 0.88), "torchvision:c": (0.8, 0.78)}
    levels |= {"torchvision:d": (0.7, 0.66), "open_clip:top/x": (1.0, 1.0), "open_clip:none/x": (0.0, 0.0)}
    run = make_run(levels, sizes=np.full((6, 2), 40), name="stamps")
    points = model_points([run], published=False)
    found = effective_robustness(points)
    for row in found.residuals.filter(family="clip").iter_rows(named=True):
        assert row["low"] < row["residual"] < row["high"]
        assert row["low"] < 0 < row["high"]
        moved = np.clip(row["counter"], 1 / 480, 1 - 1 / 480)
        assert row["residual"] == pytest.approx(moved - row["predicted"])
    # Both lie off the line's models, and are counted all the same.
    assert found.fit.clipped == 0


def test_models_without_scatter_are_no_evidence_of_where_another_would_be(make_run):
    """Three ImageNet models at 0 % on counter photos: one at 5 % had a p-value of 4e-16."""
    levels = {f"torchvision:{name}": (common, 0.0) for name, common in (("a", 0.5), ("b", 0.6), ("c", 0.8))}
    run = make_run(levels | {"open_clip:some/x": (0.8, 0.05)}, sizes=np.full((6, 2), 20), name="stamps")
    row = effective_robustness(model_points([run], published=False)).residuals.row(-1, named=True)
    assert row["residual"] > 0
    assert row["p_value"] is None


def test_without_a_sampling_error_there_is_no_interval(referee_run):
    points = model_points([referee_run])
    bare = points.with_columns(
        counter_low=pl.when(pl.col("source") == "paper").then("counter_low").otherwise(None)
    )
    row = effective_robustness(bare).residuals.row(-1, named=True)
    assert row["residual"] < 0
    assert (row["low"], row["high"]) == (None, None)


def test_a_line_through_blurred_accuracies_says_so(make_run):
    """Monte Carlo: the share told is that of sampling in the variance of probits between the models."""
    levels = {f"torchvision:{k}": (0.7 + 0.03 * k, 0.5 + 0.03 * k) for k in range(5)}
    few, many = (
        model_points([make_run(levels, sizes=np.full((5, 2), n), name="stamps")], published=False)
        for n in (20, 4000)
    )
    (told,) = [each for each in effective_robustness(few).findings if each.code == "line_noise"]
    share = told.numbers["share"]
    rng = np.random.default_rng(0)
    drawn = rng.binomial(100, few["common"].to_numpy(), size=(4000, 5)) / 100
    expected = ndtri(drawn.clip(0.005, 0.995)).var(axis=0).mean() / ndtri(few["common"].to_numpy()).var(
        ddof=1
    )
    assert share == pytest.approx(expected, rel=0.15)
    assert "line_noise" not in {each.code for each in effective_robustness(many).findings}
    assert effective_robustness(model_points()).findings == ()


def test_models_far_from_those_of_the_line_are_named(make_run):
    levels = {"torchvision:a": (0.7, 0.6), "torchvision:b": (0.75, 0.62), "torchvision:c": (0.8, 0.7)}
    levels |= {"open_clip:near/x": (0.81, 0.7), "open_clip:far/x": (0.3, 0.2)}
    run = make_run(levels, sizes=np.full((4, 2), 100), name="stamps")
    found = effective_robustness(model_points([run], published=False))
    about = {"models": ("far/x",), "lowest": pytest.approx(0.7), "highest": pytest.approx(0.8)}
    assert [each.numbers for each in found.findings if each.code == "line_far"] == [about]


def test_two_models_distances_from_the_papers_line_differ_by_what_photos_and_line_allow():
    """The error from photos is that of a bootstrap, the error of the line that of its covariance matrix."""
    base, tuned = "open_clip:ViT-B-32/one", "open_clip:ViT-B-32/two"
    run = make_paper_run({base: (0.75, 0.5), tuned: (0.85, 0.7)}, names="wordnet")
    compared = full_comparison([run], against=base)
    (finding,) = (each for each in compared.findings if each.code == "over_line")
    rows = {row["model"]: row for row in compared.robustness.residuals.iter_rows(named=True)}
    apart = rows[tuned]["residual"] - rows[base]["residual"]
    assert finding.numbers["value"] == pytest.approx(apart, abs=1e-9)
    line, contrast = compared.robustness.fit, run.design.contrasts[0]
    answers = {key[0]: of for key, of in run.answers.items()}

    def variance(fit):
        change = _change_over_line(answers[tuned], answers[base], fit, contrast)
        return ((change.high - change.low) / 2 / t.isf(0.025, 1e9)) ** 2

    cell = run.photos.select(pl.struct("class_index", "group").rank("dense")).to_series().to_numpy() - 1
    sizes, random = np.bincount(cell), np.random.default_rng(0)
    right = np.stack([answers[name].correct for name in (base, tuned)])
    draws = []
    for _ in range(400):
        drawn = random.multinomial(len(cell), np.full(len(cell), 1 / len(cell)))
        means = np.stack([np.bincount(cell, drawn * each) for each in right]) / np.bincount(cell, drawn)
        common, counter = means[:, ::2].mean(1), means[:, 1::2].mean(1)
        draws.append(counter - line.predict(common))
    assert sizes.min() > 5
    exact = variance(replace(line, residual_sd=0.0))
    assert exact == pytest.approx(np.var(np.diff(draws)), rel=0.2)
    x = ndtri([rows[name]["common"] for name in (tuned, base)])
    gain = norm.pdf(line.at(x))
    step = gain[0] * np.array([1, x[0]]) - gain[1] * np.array([1, x[1]])
    slopes = line.spread + line.n * line.centre**2
    inner = np.linalg.inv([[line.n, line.n * line.centre], [line.n * line.centre, slopes]])
    assert variance(line) - exact == pytest.approx(line.residual_sd**2 * step @ inner @ step, rel=0.2)
