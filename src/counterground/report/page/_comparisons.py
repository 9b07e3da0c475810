"""Models of one benchmark against each other, through the paired tests of `metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import polars as pl

from counterground.metrics import KEYS, SETTING, comparable, compare_models
from counterground.results import Estimate, ModelScores, Run, why_not_comparable

ALL_PAIRS_UP_TO = 6
_TITLES = {
    ("drop", None): "Drop",
    ("accuracy", "common"): "Common",
    ("accuracy", "counter"): "Counter",
    ("accuracy", None): "Balanced",
}


@dataclass(frozen=True)
class Test:
    """A paired difference (fractions) with its corrected p-value."""

    title: str
    difference: Estimate
    p_corrected: float | None


@dataclass(frozen=True)
class Comparison:
    """Two models and every quantity they were tested on."""

    model: str
    against: str
    tests: list[Test]


@dataclass(frozen=True)
class Comparisons:
    """Pairs of models of a benchmark; ``against`` is the one all others were tested against, if one was.

    ``corrected_for`` counts the tests that p-values are corrected for; ``obstacle`` says why there are none
    where they were to be expected.
    """

    pairs: list[Comparison]
    corrected_for: int = 0
    obstacle: str = ""
    against: str | None = None


def compare(
    runs: Sequence[Run], models: Sequence[Sequence[ModelScores]], lead: str | None = None
) -> Comparisons:
    """Test every pair of models that may be compared; with many models, each against the lead.

    The lead is chosen for its drop, so its p-values are corrected for all the tests among which it was
    chosen: those of every pair (Bonferroni). Where every pair is tested they are corrected by Holm.

    Args:
        runs: runs on one benchmark.
        models: the models of each run, whose labels name them in the result.
        lead: label of the model that the others are tested against where they are many; else the first.
    """
    labelled = labelled_predictions(runs, models)
    labels = [model.label for run in models for model in run]
    settings = [model.setting[1 : 1 + len(SETTING)] for run in models for model in run]
    if not any(comparable(*pair) for pair in combinations(settings, 2)):
        return Comparisons([])
    if obstacle := why_not_comparable(runs):
        return Comparisons([], obstacle=obstacle)
    against = (lead or labels[0]) if len(labels) > ALL_PAIRS_UP_TO else None
    try:
        table = compare_models(labelled, against)
    except ValueError as error:
        return Comparisons([], obstacle=str(error))
    tests = len(labels) * (len(labels) - 1) // 2
    pairs: dict[tuple[str, str], list[Test]] = {}
    for row in table.iter_rows(named=True):
        difference = Estimate(row["difference"], row["low"], row["high"], row["n"], row["clusters"])
        test = Test(_TITLES[row["metric"], row["group"]], difference, row["p_holm"])
        pairs.setdefault((row["model_a"], row["model_b"]), []).append(test)
    order = list(_TITLES.values())
    found = [
        Comparison(*pair, sorted(t, key=lambda test: order.index(test.title))) for pair, t in pairs.items()
    ]
    found.sort(key=lambda pair: -(pair.tests[0].difference.value or 0.0))
    return Comparisons(found, tests, against=against)


def labelled_predictions(runs: Sequence[Run], models: Sequence[Sequence[ModelScores]]) -> pl.DataFrame:
    """Return the predictions of all runs with each model under its label."""
    predictions = [run.predictions for run in runs]
    return pl.concat(map(_labelled, predictions, models), how="diagonal_relaxed")


def _labelled(predictions: pl.DataFrame, models: Sequence[ModelScores]) -> pl.DataFrame:
    keys = list(KEYS)
    rows = [(*(getattr(model.setting, key) for key in keys), model.label) for model in models]
    schema: dict[str, Any] = {**{key: predictions.schema[key] for key in keys}, "label": pl.String}
    names = pl.DataFrame(rows, schema=schema, orient="row")
    joined = predictions.join(names, on=keys, how="inner", nulls_equal=True, maintain_order="left")
    return joined.with_columns(model=pl.col("label")).drop("label")
