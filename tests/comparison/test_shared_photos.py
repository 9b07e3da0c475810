"""Distances from a line through models on the same photos leave out the errors that all of them share."""

import importlib
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtri
from scipy.stats import t

from counterground.comparison import effective_robustness, full_comparison, model_points
from counterground.results import Run

LEVELS = {
    "torchvision:a": (0.9, 0.8),
    "torchvision:b": (0.86, 0.72),
    "torchvision:c": (0.8, 0.66),
    "torchvision:d": (0.74, 0.52),
    "torchvision:e": (0.7, 0.5),
    "open_clip:other/x": (0.82, 0.55),
}
CLASSES, PHOTOS = 2, 150


@pytest.fixture
def alike(make_run):
    """Function: share of a photo's difficulty that all models have -> Run of six models on them."""

    def made(shared, **options):
        run = make_run(LEVELS, sizes=np.full((CLASSES, 2), PHOTOS), name="stamps", **options)
        rng = np.random.default_rng(3)
        frame = run.predictions.sort("model", "path", maintain_order=True)
        n = 2 * CLASSES * PHOTOS
        together = rng.normal(0, np.sqrt(shared), n)
        parts = []
        for model in LEVELS:
            rows = frame.filter(model=model)
            level = ndtri(np.array(LEVELS[model]))[(rows["group"] == "counter").to_numpy().astype(int)]
            right = level + together + rng.normal(0, np.sqrt(1 - shared), n) > 0
            predicted = np.where(right, rows["true_index"], rows["true_index"] + 1)
            parts.append(
                rows.with_columns(correct=right, predicted_index=pl.Series(predicted, dtype=pl.Int32))
            )
        found = pl.concat(parts).select(run.predictions.columns)
        found = found.cast(dict(run.predictions.schema))
        return Run(run.path, run.info, found)

    return made


def widths(robustness):
    """How far the intervals reach down and up on the probit scale, of the model that is no member."""
    row = robustness.residuals.filter(~pl.col("member")).row(-1, named=True)
    middle = ndtri(row["predicted"])
    return ndtri(row["counter"] - row["low"]) - middle, middle - ndtri(row["counter"] - row["high"])


def answers_of(run, points):
    by_model = {key[0]: answers for key, answers in run.answers.items()}
    return [by_model[model] for model in points["model"]]


def bootstrap(run, draws=3000):
    """Draw photos of each class and group anew: what is left of the variance of the distance, in its own."""
    rng = np.random.default_rng(0)
    frame = run.predictions.sort("path")
    cells = frame.partition_by("class_index", "group", as_dict=True)
    sides = {"common": 0.0, "counter": 0.0}
    for (_, group), rows in cells.items():
        right = np.stack([rows.filter(model=model)["correct"].to_numpy() for model in LEVELS]).astype(float)
        counts = rng.multinomial(PHOTOS, np.full(PHOTOS, 1 / PHOTOS), size=draws)
        sides[group] = sides[group] + counts @ right.T / PHOTOS / CLASSES
    x, y = (ndtri(sides[group]) for group in ("common", "counter"))
    members, target = slice(0, 5), 5
    away = x[:, members] - x[:, members].mean(axis=1, keepdims=True)
    slope = (away * y[:, members]).sum(axis=1) / (away**2).sum(axis=1)
    height = y[:, members].mean(axis=1) + slope * (x[:, target] - x[:, members].mean(axis=1))
    return x, y, slope, y[:, target] - height


def test_what_is_left_of_the_models_error_is_what_a_bootstrap_over_photos_finds(alike):
    run = alike(0.7)
    points = model_points([run], published=False)
    without = widths(effective_robustness(points))
    found = effective_robustness(points, answers=answers_of(run, points))
    line = found.lines[0].fit
    place = ndtri(points["common"][-1])
    of_line = t.ppf(0.975, 3) * float(line.standard_error(place))
    shares = [(a**2 - of_line**2) / (b**2 - of_line**2) for a, b in zip(widths(found), without, strict=True)]
    assert shares[0] == pytest.approx(shares[1])
    x, y, _, distance = bootstrap(run)
    alone = (y[:, 5] - line.slope * x[:, 5]).var()
    away = ndtri(points["common"][:5].to_numpy()) - line.centre
    hat = 1 / 5 + np.outer(away, away) / line.spread
    heights = y[:, :5] - line.slope * x[:, :5]
    scatter = (heights @ (np.eye(5) - hat)).var(axis=0).sum() / 3
    leverage = 1 / 5 + (place - line.centre) ** 2 / line.spread
    expected = (distance.var() - leverage * scatter) / alone
    assert shares[0] == pytest.approx(expected, rel=0.12)
    assert shares[0] < 0.75


def test_models_that_err_independently_keep_their_own_error(alike):
    run = alike(0.0)
    points = model_points([run], published=False)
    pair = zip(
        widths(effective_robustness(points)),
        widths(effective_robustness(points, answers=answers_of(run, points))),
        strict=True,
    )
    for without, with_answers in pair:
        assert with_answers == pytest.approx(without, rel=0.15)


def test_a_comparison_knows_the_photos_of_its_runs(alike):
    run = alike(0.7)
    compared = full_comparison(run, published=False)
    own = effective_robustness(compared.points, answers=answers_of(run, compared.points))
    assert compared.robustness.residuals.equals(own.residuals)
    alone = effective_robustness(compared.points).residuals
    same = ("predicted", "residual", "p_value")
    assert compared.robustness.residuals.select(same).equals(alone.select(same))
    pair = zip(widths(compared.robustness), widths(effective_robustness(compared.points)), strict=True)
    assert all(with_answers < without for with_answers, without in pair)


def test_nothing_changes_where_photos_are_not_shared(alike):
    """A member saw other photos, or its answers are not known: what models share is not known either."""
    run = alike(0.7)
    points = model_points([run], published=False)
    answers = answers_of(run, points)
    plain = effective_robustness(points).residuals
    assert effective_robustness(points, answers=[None, *answers[1:]]).residuals.equals(plain)
    assert effective_robustness(points, answers=[*answers[:-1], None]).residuals[-1].equals(plain[-1])
    fewer = run.predictions.filter(pl.col("path") != "0/0/0.jpg")
    other = Run(run.path, run.info, fewer)
    mixed = [answers_of(other, points)[0], *answers[1:]]
    assert effective_robustness(points, answers=mixed).residuals.equals(plain)


@pytest.mark.slow
def test_such_intervals_hold_the_true_distance():
    folder = str(Path(__file__).parents[2] / "bench" / "experiments")
    sys.path.insert(0, folder)
    try:
        bench = importlib.import_module("other_intervals")
    finally:
        sys.path.remove(folder)
    study = bench.Study("small", photos=12, clusters=60)
    rng = np.random.default_rng(0)
    assert 0.89 <= np.mean([bench.distance_covered(study, rng) for _ in range(150)]) <= 0.99
