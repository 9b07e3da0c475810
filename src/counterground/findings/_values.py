"""What the values of a column show: how much they differ, another value, the lowest, pairs that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from counterground.catalogue import Finding
from counterground.metrics import (
    SIGNIFICANT,
    Answers,
    Condition,
    Contrast,
    Estimate,
    ScoreSpread,
    cluster_columns,
    corrected_differences,
    holm,
    score_spread,
)
from counterground.text import bounds, p_equals, percent

_MODELS = 3
_MOST_VALUES = 20  # of a column whose pairs are tested


def judge_values(models: Sequence[tuple[str, Answers]], column: str) -> list[Finding]:
    """Return what the values of a column show of the first three models; accuracies are over photos.

    Args:
        models: label and answers of each.
        column: a column of texts.
    """
    shown = models[:_MODELS]
    spreads = [_spread(answers, column) for _, answers in shown]
    p_values = holm(spread and spread.spread.p_value for spread in spreads)
    clusters = {name for _, answers in shown for name in answers.photos.design.clusters}
    return [
        *(
            finding
            for (label, _), spread, p_value in zip(shown, spreads, p_values, strict=True)
            if spread is not None and p_value is not None
            for finding in _judge_spread(label, spread, p_value, column)
        ),
        *([Finding("alone_within", "", {"column": column.replace("_", " ")})] if column in clusters else []),
        *_pairs(shown, column),
    ]


def _spread(answers: Answers, column: str) -> ScoreSpread | None:
    """Return the spread of one model; None if two kinds of clusters cross."""
    photos, design = answers.photos.photos, answers.photos.design
    if photos is None or len(design.clusters) > 1:
        return None
    known = photos[column].is_not_null()
    rows = photos.filter(known)
    return score_spread(answers.correct[known.to_numpy()], rows[column], **cluster_columns(rows, design))


def _judge_spread(label: str, spread: ScoreSpread, p_value: float, column: str) -> Iterator[Finding]:
    about = {"column": column.replace("_", " "), "values": spread.values}
    code = "values_differ" if p_value < SIGNIFICANT else "values_alike"
    yield Finding.of(code, label, spread.spread, **about, p=p_equals(p_value))
    yield Finding.of("another_value", label, spread.another, **about)
    levels = [f"{name} {percent(e.value)} % {bounds(e.low, e.high)}" for name, e in spread.lowest]
    numbers = {name: tuple(getattr(e, name) for _, e in spread.lowest) for name in ("value", "low", "high")}
    names = tuple(name for name, _ in spread.lowest)
    yield Finding("lowest_values", label, {**about, **numbers, "names": names, "lowest": tuple(levels)})


def _pairs(models: Sequence[tuple[str, Answers]], column: str) -> Iterator[Finding]:
    """Yield which values differ within classes, after Holm over all pairs of values of all these models."""
    tested: list[tuple[str, str, str]] = []
    sides = []
    for label, answers in models:
        photos = answers.photos.photos
        values = [] if photos is None else photos[column].drop_nulls().unique().sort().to_list()
        for pair in combinations(values if len(values) <= _MOST_VALUES else [], 2):
            left, right = (str(Condition(column, "=", (value,))) for value in pair)
            tested.append((label, *pair))
            sides.append(answers.sides(Contrast("pair", left, right)))
    estimates = list(zip(tested, corrected_differences(sides), strict=True))
    for label, _ in models:
        known = [_Pair.of(*pair[1:], e) for pair, e in estimates if pair[0] == label and e.family]
        if known:
            yield _judge_pairs(label, known, column)


class _Pair(NamedTuple):
    """The value with the higher accuracy, the other one, and their difference, corrected."""

    higher: str
    lower: str
    value: float
    low: float
    high: float
    corrected: Estimate

    @classmethod
    def of(cls, left: str, right: str, e: Estimate) -> _Pair:
        """Turn a difference, left minus right, so that it is above 0."""
        value, low, high = e.value or 0.0, e.low or 0.0, e.high or 0.0
        if value < 0:
            return cls(right, left, -value, -high, -low, e)
        return cls(left, right, value, low, high, e)


def _judge_pairs(label: str, pairs: Sequence[_Pair], column: str) -> Finding:
    """Return the pairs that differ significantly, the most significant first, or that none does."""
    differ = sorted(
        (pair for pair in pairs if pair.corrected.significant), key=lambda p: p.corrected.p_value or 0
    )
    about = {"column": column.replace("_", " "), "number": len(pairs), "tests": pairs[0].corrected.family}
    if not differ:
        return Finding("pairs_alike", label, about)
    listed = (f"{p.higher} over {p.lower} {percent(p.value)} {bounds(p.low, p.high)}" for p in differ)
    numbers = {name: tuple(getattr(p, name) for p in differ) for name in _Pair._fields[:-1]}
    return Finding("pairs_differ", label, {**about, **numbers, "differ": len(differ), "pairs": tuple(listed)})
