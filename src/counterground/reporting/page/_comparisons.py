"""The comparison's paired tests of the models of one benchmark, under the labels of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import polars as pl

from counterground.findings import Words
from counterground.metrics import BY_SIDE, SETTING, Estimate, ScoreKey
from counterground.results import ModelScores

ALL_PAIRS_UP_TO = 6
_Pair = tuple[str, str, str, str]
_Result = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Test:
    """A paired difference (fraction) and its corrected p-value; ``leads``: it is that of the contrast."""

    title: str
    difference: Estimate
    p_holm: float | None
    leads: bool = False


@dataclass(frozen=True)
class Pair:
    """Two models, the first minus the second, by every quantity they were tested on; drop first.

    ``corrected_for`` is the number of tests that the p-values are corrected for.
    """

    model: str
    against: str
    tests: list[Test]
    corrected_for: int

    @property
    def drop(self) -> Test | None:
        """The test of the difference in drop; None without groups."""
        return next((test for test in self.tests if test.leads), None)

    @property
    def figures(self) -> Estimate:
        """The estimate that carries the photos and clusters of the pair: the first, if it is known."""
        first, *others = (test.difference for test in self.tests)
        return first if first.value is not None else max([first, *others], key=lambda each: each.n)

    @property
    def turned(self) -> Pair:
        """The second model minus the first."""
        tests = [replace(test, difference=_negative(test.difference)) for test in self.tests]
        return Pair(self.against, self.model, tests, self.corrected_for)


@dataclass(frozen=True)
class Comparisons:
    """Every tested pair of models of a benchmark.

    ``lead`` is the model that the page compares all others with if there are too many for a table of all
    pairs.
    """

    pairs: list[Pair]
    lead: str | None = None

    @property
    def corrected_for(self) -> str:
        """The number of tests that p-values are corrected for: those against the same competing names."""
        *others, most = sorted({pair.corrected_for for pair in self.pairs})
        return f"{' or '.join(f'{n:,}' for n in (*others, most))} test{'s' * (most != 1)}"

    @property
    def shown(self) -> list[Pair]:
        """The pairs of the page's table, largest difference in drop first."""
        found = self.pairs
        if self.lead is not None:
            with_lead = [pair for pair in found if self.lead in (pair.model, pair.against)]
            found = [pair if pair.against == self.lead else pair.turned for pair in with_lead]
        return sorted(found, key=lambda pair: -(pair.tests[0].difference.value or 0.0))

    @property
    def titles(self) -> list[str]:
        """What was tested, of the pair with the most tests: the columns of the page's table."""
        return [test.title for test in max((pair.tests for pair in self.pairs), key=len)]

    def between(self, first: str, second: str) -> Pair | None:
        """Return the pair of two labels, in either order; None if they were not tested."""
        return next((pair for pair in self.pairs if {pair.model, pair.against} == {first, second}), None)


def tested_pairs(
    tests: pl.DataFrame,
    models: Sequence[ModelScores],
    results: Sequence[Sequence[_Result]],
    lead: str | None,
    words: Words,
) -> Comparisons:
    """Return the tests of every pair of models.

    Args:
        tests: rows of ``Comparison.every_test`` on one version of a benchmark.
        models: the models of the page, under their own labels.
        results: the sources and settings under which the tests may list each model.
        lead: label of the model with the largest drop.
        words: words for the contrast that was tested.
    """
    left, right, difference = words.titles
    titles = {words.contrast.difference_key: difference}
    titles |= dict(zip(words.contrast.side_keys, (left, right), strict=True))
    titles[ScoreKey("accuracy")] = "Balanced"
    order = list(titles.values())
    rows: dict[_Pair, list[dict[str, Any]]] = {}
    for row in tests.iter_rows(named=True):
        key = (row["model_a"], row["source_a"], row["model_b"], row["source_b"])
        rows.setdefault(key, []).append(row)
    pairs = []
    for pair in combinations(zip(models, results, strict=True), 2):
        for (first, held), (second, others) in (pair, pair[::-1]):
            if found := _rows_of(rows, held, others):
                ordered = sorted((_test(row, titles) for row in found), key=lambda t: order.index(t.title))
                pairs.append(Pair(first.label, second.label, ordered, found[0]["family"]))
                break
    leads = any(lead in (pair.model, pair.against) for pair in pairs)
    return Comparisons(pairs, lead if leads and len(models) > ALL_PAIRS_UP_TO else None)


def _test(row: dict[str, Any], titles: dict[ScoreKey, str]) -> Test:
    difference = Estimate(
        row["difference"], row["corrected_low"], row["corrected_high"], row["n"], row["clusters"]
    )
    key = ScoreKey.of(row)
    return Test(titles[key], difference, row["p_holm"], leads=key == next(iter(titles)))


def _rows_of(
    rows: Mapping[_Pair, list[dict[str, Any]]], first: Sequence[_Result], second: Sequence[_Result]
) -> list[dict[str, Any]]:
    """Return the tests between the first results of two models that were tested against each other."""
    for (source_a, one), (source_b, other) in product(first, second):
        found = rows.get((one["model"], source_a, other["model"], source_b), [])
        if own := [row for row in found if _is_of(row, one, other)]:
            return own
    return []


def _is_of(row: dict[str, Any], first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether a test is of two models under these settings."""
    return all(
        row[f"{name}_{side}" if name in BY_SIDE else name] == setting[name]
        for name in SETTING
        for side, setting in (("a", first), ("b", second))
    )


def _negative(estimate: Estimate) -> Estimate:
    value, low, high = (None if v is None else -v for v in (estimate.value, estimate.high, estimate.low))
    return Estimate(value, low, high, estimate.n, estimate.clusters)
