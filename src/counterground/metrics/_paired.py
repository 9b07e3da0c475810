"""Paired tests of models on the same photos, their Holm correction, and the table of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from counterground.metrics._codes import Floats
from counterground.metrics._design import DESIGN, DROP, Contrast, Design, ScoreKey
from counterground.metrics._distributions import t_cdf
from counterground.metrics._estimate import UNKNOWN, Estimate
from counterground.metrics._intervals import (
    critical,
    difference_interval,
    difference_limits,
    half_width,
    random_classes_limits,
    t_of_zero,
)
from counterground.metrics._registry import Answers, Quantity, read_answers
from counterground.metrics._sampling import ALPHA, InfluenceEstimate, StratumMeans, sum_by_code
from counterground.metrics._settings import BY_SIDE, KEY_SCHEMA, SETTING, SETTING_SCHEMA, comparable
from counterground.text import counted

_NO_SPREAD = 1e-12
_ENDS = (("low", "high"), ("high", "low"))


def contrast_change(
    a: Answers,
    b: Answers,
    contrast: Contrast = DROP,
    alpha: float = ALPHA,
    *,
    quantity: Quantity = "difference",
) -> tuple[Estimate, Estimate]:
    """Return a contrast, or another quantity, of a minus that of b on the same photos, with two intervals.

    The interval of `paired_tests` is the estimate +- t x standard error. If two models answer nearly alike,
    the few photos on which they differ are rare events, whose number is skewed: that interval then misses the
    true difference more often than it may. So the photos that make the difference larger and those
    that make it smaller are taken as two shares, and their score intervals are combined with their
    correlation, as those of accuracies are in `drop_interval`. They give the end away from 0, where they
    reach farther; the other end is that of `paired_tests`, so that both exclude 0 together. `compare_answers`
    has the same interval.

    Args:
        a: what one model answered.
        b: what another answered on the same photos.
        contrast: what is compared.
        alpha: how often an interval may miss the truth.
        quantity: what is compared; only a difference has two intervals.

    Returns:
        It with the interval for limits other than 0, and with that of `paired_tests`.
    """
    wide, plain = (test([a, b], [(0, 1)], quantity, contrast, alpha) for test in (_changes, paired_tests))
    return _single(wide, alpha), _single(plain, alpha)


def _single(tests: Mapping[str, Sequence[Any]], alpha: float) -> Estimate:
    """Return the only test of some."""
    fields = {name: values[0] for name, values in tests.items()}
    return Estimate(**fields, confidence=1 - alpha)


def _changes(
    models: Sequence[Answers],
    pairs: Sequence[tuple[int, int]],
    quantity: Quantity,
    contrast: Contrast,
    alpha: float | Floats = ALPHA,
) -> dict[str, list[Any]]:
    """Test as ``paired_tests``; differences of a contrast have the interval of `contrast_change`."""
    tests = paired_tests(models, pairs, quantity, contrast, alpha)
    if quantity != "difference":
        return tests
    known = [model.estimate("difference", contrast) for model in models]
    alphas = np.broadcast_to(alpha, len(pairs))
    for place, (a, b) in enumerate(pairs):
        value, low, high = (tests[name][place] for name in ("value", "low", "high"))
        first, second = known[a], known[b]
        if first is None or second is None or low is None:
            continue
        t = float(critical(replace(first.minus(second, n=first.n), alpha=alphas[place])))
        ends = _limits_by_differing_photos(models[a], models[b], contrast, t)
        # A difference of 0 may be one of the last digit.
        low = min(low, ends[0]) if value <= _NO_SPREAD else low
        high = max(high, ends[1]) if value >= -_NO_SPREAD else high
        tests["low"][place], tests["high"][place] = low, high
        if tests["classes_low"][place] is not None:  # which contains the interval over photos
            tests["classes_low"][place] = min(low, tests["classes_low"][place])
            tests["classes_high"][place] = max(high, tests["classes_high"][place])
    return tests


def _limits_by_differing_photos(a: Answers, b: Answers, contrast: Contrast, t: float) -> tuple[float, float]:
    """Return the interval of a difference of two contrasts from the photos on which the models differ."""
    sides = a.photos.sides(contrast)
    averages = sides.averages()
    assert averages is not None
    n = sides.partition.count(averages)
    gained, lost = (
        StratumMeans(sides.partition, hits).weighted(averages)
        for hits in (a.correct & ~b.correct, b.correct & ~a.correct)
    )
    # Photos count for both sides alike, half as much as in the average over their own.
    halves = np.array([[0.5, 0.5]])
    more, less = (
        replace(InfluenceEstimate.stacked(parts).combined(halves).at(0), n=n)
        for parts in ((gained[0], lost[1]), (lost[0], gained[1]))
    )
    low, high = difference_limits(more, less)(t)
    return 2 * low, 2 * high


def holm(p_values: Iterable[float | None]) -> list[float | None]:
    """Return p-values adjusted for their number (Holm 1979), in order; None stays None and does not count."""
    values = list(p_values)
    order = sorted((p, place) for place, p in enumerate(values) if p is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for done, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - done) * p))
        adjusted[place] = highest
    return adjusted


def corrected_differences(
    sides: Sequence[tuple[InfluenceEstimate, InfluenceEstimate, int] | None], picked_from: int | None = 1
) -> list[Estimate]:
    """Return left minus right of several models, corrected together.

    p-values are corrected for the number of models (Holm 1979), and each of these for the contrasts that
    could have been picked instead (Bonferroni). Each interval has the level of its model's step, so that it
    excludes 0 where ``p_corrected`` is below 0.05.

    Args:
        sides: what ``Answers.sides`` returns for each model, comparable only within a model.
        picked_from: what ``Design.picked_from`` returns; if None, nothing is corrected.

    Returns:
        An estimate for each model, `UNKNOWN` where sides are None.
    """
    plain = [UNKNOWN if side is None else difference_interval(*side) for side in sides]
    if picked_from is None:
        return plain
    family = picked_from * sum(estimate.p_value is not None for estimate in plain)
    p_values = holm(estimate.p_value for estimate in plain)
    estimates = []
    for side, estimate, p_holm in zip(sides, plain, p_values, strict=True):
        if side is None or p_holm is None or estimate.p_value is None:
            estimates.append(estimate)
            continue
        p_corrected = min(1.0, picked_from * p_holm)
        left, right, n = side
        alpha = left.alpha * (estimate.p_value / p_corrected if p_corrected < 1 else 1 / family)
        wider = difference_interval(replace(left, alpha=alpha), replace(right, alpha=alpha), n)
        estimates.append(replace(wider, p_corrected=p_corrected, family=family))
    return estimates


def tests_against(tests: pl.DataFrame, model: str) -> pl.DataFrame:
    """Return the tests of a model against every other model, with it as ``versus``.

    Corrected p-values are kept: they count every test that could have been picked.
    """
    turn = (pl.col("model") == model) & (pl.col("versus") != model)
    pairs = [("model", "versus"), *((of, f"versus_{of}") for of in (*BY_SIDE, "source"))]
    pairs = [pair for pair in pairs if pair[0] in tests.columns]
    swapped = [
        pl.when(turn).then(pl.col(other)).otherwise(pl.col(name)).alias(name)
        for pair in pairs
        for name, other in (pair, pair[::-1])
    ]
    ends = [(f"{of}{a}", f"{of}{b}") for of in ("", "classes_", "corrected_") for a, b in _ENDS]
    signs = [
        pl.when(turn).then(-pl.col(source)).otherwise(name).alias(name)
        for name, source in (("value", "value"), *ends)
    ]
    return tests.filter(turn | (pl.col("versus") == model)).with_columns(*swapped, *signs)


class _Tests(NamedTuple):
    """Tests of one quantity on the same photos; NaN where an `Estimate` has None."""

    value: Floats
    low: Floats
    high: Floats
    p_value: Floats
    classes_low: Floats
    classes_high: Floats


def _tested(change: InfluenceEstimate, largest: float, by_signs: Floats) -> _Tests:
    """Test several differences; ``by_signs`` are the p-values of `_sign_test` where no cluster differs."""
    difference, nothing = np.asarray(change.value), np.full(np.shape(change.value), np.nan)
    if not change.bounded:
        return _Tests(difference, *[nothing] * 5)
    half, size = half_width(change, largest), np.abs(difference)
    p_value = np.maximum(2 * t_cdf(change.df, -t_of_zero(change, largest)), by_signs)
    # Too few clusters to say that there is a difference.
    half = np.where(by_signs >= change.alpha, np.maximum(half, size), half)
    low, high = np.maximum(-largest, difference - half), np.minimum(largest, difference + half)
    classes = random_classes_limits(change, (low, high), largest=largest)
    return _Tests(difference, low, high, p_value, *(nothing if bound is None else bound for bound in classes))


def _sign_test(a: Answers, b: Answers, quantity: Quantity, contrast: Contrast) -> float:
    """Return the p-value of a sign test over the clusters on which two models differ.

    Clusters on which they do not differ say nothing, however many they are. Of two ways of clustering, the
    one with the larger p-value counts.
    """
    from scipy.special import bdtr

    partition, averages, signs = a.averages(quantity, contrast)
    gain = a.correct.astype(np.float64) - b.correct
    p_values = []
    for way in partition.ways[:2]:
        moved = np.zeros(way.sampling.size)
        for average, sign in zip(averages, signs, strict=True):
            weight = np.zeros(way.size)
            weight[average.strata] = sign * average.weights / way.photos[average.strata]
            weight /= average.weights.sum()
            moved += sum_by_code(way.pair_cluster, weight[way.pair_stratum] * way.sums(gain), len(moved))
        up, down = ((sign * moved > _NO_SPREAD).sum() for sign in (1, -1))
        p_values.append(min(1.0, 2 * float(bdtr(min(up, down), up + down, 0.5))))
    return max(p_values)


def paired_tests(
    models: Sequence[Answers],
    pairs: Sequence[tuple[int, int]],
    quantity: Quantity,
    contrast: Contrast = DROP,
    alpha: float | Floats = ALPHA,
) -> dict[str, list[Any]]:
    """Test the differences between pairs of models that saw the same photos.

    The influence of each photo on a - b is summed within its cluster over all classes and groups, so what a
    photo does to both models cancels. The squares give the variance (corrected for leverage), and t has the
    degrees of freedom of the clusters (see this room's README). If no cluster differs from another, the
    p-value is that of a sign test over the clusters on which the models differ, or that of the interval if
    this is larger.

    Args:
        models: the models' answers.
        pairs: places of two models each, which saw the same photos.
        quantity: ``accuracy`` over all classes, or of the contrast ``left``, ``right`` or ``difference``.
        contrast: the contrast whose sides are meant.
        alpha: how often an interval may miss the truth, of each pair ``[pairs]`` or of all.

    Returns:
        The fields of `Estimate` that are known, each with one value per pair.
    """
    found, alphas = np.full((len(_Tests._fields), len(pairs)), np.nan), np.broadcast_to(alpha, len(pairs))
    sizes = np.zeros((2, len(pairs)), dtype=np.int64)
    first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    photos = np.unique([model.photos.fingerprint for model in models], return_inverse=True)[1]
    for number in np.unique(photos[first]):
        places = np.flatnonzero(photos == number)
        estimates = [models[int(place)].estimate(quantity, contrast) for place in places]
        known = [estimate for estimate in estimates if estimate is not None]
        if not known:
            continue
        largest = 2.0 if quantity == "difference" else 1.0
        together, row = InfluenceEstimate.stacked(known), np.zeros(len(models), dtype=np.intp)
        row[places] = np.arange(len(places))
        for place in places:
            own = np.flatnonzero(first == place)
            if len(own):
                change = together.at(row[place]).minus(together.at(row[second[own]]), n=together.n)
                alike = (np.sqrt(change.variance) <= _NO_SPREAD) & (np.abs(change.value) > _NO_SPREAD)
                by_signs = np.zeros(len(own))
                by_signs[alike] = [
                    _sign_test(models[int(place)], models[int(other)], quantity, contrast)
                    for other in second[own[alike]]
                ]
                found[:, own] = _tested(replace(change, alpha=alphas[own]), largest, by_signs)
                sizes[:, own] = [[change.n], [change.clusters]]
    columns = dict(zip(_Tests._fields, found, strict=True))
    values = {name: [None if v != v else v for v in column.tolist()] for name, column in columns.items()}  # noqa: PLR0124
    return values | dict(zip(("n", "clusters"), sizes.tolist(), strict=True))


COMPARISON_SCHEMA: dict[str, Any] = {
    **KEY_SCHEMA,
    "versus": pl.String,
    **{f"versus_{name}": SETTING_SCHEMA[name] for name in BY_SIDE},
    **dict.fromkeys(ScoreKey._fields, pl.String),
    **dict.fromkeys(("value", "low", "high", "p_value", "p_corrected"), pl.Float64),
    **dict.fromkeys(("family", "n", "clusters"), pl.Int64),
    **dict.fromkeys(("corrected_low", "corrected_high", "classes_low", "classes_high"), pl.Float64),
}
"""Columns of a comparison; ``value`` (the model minus the one that it is tested ``versus``) and bounds are
fractions.

``low`` and ``high`` refer to other photos of these classes, ``classes_low`` and ``classes_high`` to other
classes of which these are a random sample. Those of accuracies are +- t x standard error, those of drops and
other contrasts may end farther from 0 (`contrast_change`). ``p_corrected`` is corrected (Holm) for all
``family`` tests, and so are ``corrected_low`` and ``corrected_high``, which exclude 0 where it is below 0.05.

``versus_prompts``, ... are the settings of the other model, where they may differ.
"""
_READ = COMPARISON_SCHEMA | {"source": pl.String, "versus_source": pl.String}


class Compared(NamedTuple):
    """One model under one setting (values of ``SETTING``), and what it answered; ``source`` may name runs.

    ``reads_names`` is False for classifiers, which repeat their answers under other names and prompts.
    """

    name: str
    setting: tuple[Any, ...]
    answers: Answers
    source: str | None = None
    reads_names: bool = True


def compare_models(
    predictions: pl.DataFrame, *, contrast: Contrast = DROP, design: Design = DESIGN
) -> pl.DataFrame:
    """Test the differences between models that share names, label space, photos, loading and protocol.

    Models of one kind are compared under the same prompts and protocol. An encoder and a generative model
    cannot share those but are compared anyway.

    Metrics: ``accuracy`` (balanced; of all photos and of both sides) and the contrast
    (``Contrast.difference_key``, ``side_keys``). A benchmark without groups has only the first.
    ``p_corrected`` is corrected for all tests.

    Args:
        predictions: the columns of ``predictions.parquet``; exact duplicates are read once. With a column
            ``source``, results of one model from several sources are compared too, and the table has
            ``source`` and ``versus_source``.
        contrast: what is compared besides accuracy.
        design: the design whose shares its averages use.

    Returns:
        The columns of ``COMPARISON_SCHEMA``.

    Raises:
        ValueError: a column is missing, a photo occurs twice under a model, there is nothing to compare,
            or two models saw different photos.
    """
    rows, sources = predictions.unique(maintain_order=True), "source" in predictions.columns
    models = [
        Compared(str(key[0]), key[1:], answers, part["source"][0] if sources else None)
        for part in (rows.partition_by("source", maintain_order=True) if sources else [rows])
        for key, answers in read_answers(part, ("photo_id",), design=design)
    ]
    table = compare_answers(models, contrast)
    return table if sources else table.drop("source", "versus_source")


def compare_answers(
    models: Sequence[Compared], contrast: Contrast = DROP, picked_from: int | None = 1
) -> pl.DataFrame:
    """Test every pair of models on the same photos, also one model's results from several sources.

    Readers of a comparison look at every model and every quantity, then ask about what stands out. A test is
    therefore one of all that could have been picked, whichever are shown: filter afterwards
    (``tests_against``).

    Args:
        models: what they answered.
        contrast: what is compared besides accuracy.
        picked_from: of how many contrasts this one was picked (``Design.picked_from``); None: not corrected.

    Returns:
        The columns of ``COMPARISON_SCHEMA``, ``source`` and ``versus_source``.

    Raises:
        ValueError: no two models can be compared, or averages are by other shares.
    """
    pairs = _pairs(models)
    if not pairs:
        raise ValueError(_why_none(models))
    for a, b in pairs:
        if _shares(models[a], contrast) != _shares(models[b], contrast):
            raise ValueError(
                f"Models {models[a].name!r} and {models[b].name!r} cannot be compared: {contrast.name!r} "
                "averages by other shares in the design of each; evaluate both with the same design."
            )
    answers = [model.answers for model in models]
    shown = np.array([answers[a].photos.sides(contrast).partition.photos.any() for a, _ in pairs])
    left, right = contrast.side_keys
    quantities: dict[Quantity, ScoreKey] = {"accuracy": ScoreKey("accuracy")}
    if shown.any():
        quantities |= {"left": left, "right": right, "difference": contrast.difference_key}
    tests = {quantity: _changes(answers, pairs, quantity, contrast) for quantity in quantities}
    p_values = [p for of in tests.values() for p in of["p_value"]]
    p_holm = [None if p is None or picked_from is None else min(1.0, picked_from * p) for p in holm(p_values)]
    family = None if picked_from is None else picked_from * sum(p is not None for p in p_values)
    levels = [
        ALPHA * (p / q if p and q and q < 1 else 1 / (family or 1))
        for p, q in zip(p_values, p_holm, strict=True)
    ]
    parts = []
    for place, (quantity, key) in enumerate(quantities.items()):
        own = slice(place * len(pairs), (place + 1) * len(pairs))
        wider = _changes(answers, pairs, quantity, contrast, np.array(levels[own]))
        columns: dict[str, Any] = tests[quantity] | {"p_corrected": p_holm[own]} | key._asdict()
        columns |= {"corrected_low": wider["low"], "corrected_high": wider["high"], "family": family}
        part = pl.DataFrame(_about(models, pairs) | columns, schema=_READ).with_row_index("pair")
        parts.append(part if quantity == "accuracy" else part.filter(pl.Series(shown)))
    return pl.concat(parts).sort("pair", maintain_order=True).drop("pair")


def _why_none(models: Sequence[Compared]) -> str:
    """Say why no two models can be compared."""
    alike = (pair for pair in combinations(models, 2) if comparable(pair[0].setting, pair[1].setting))
    if pair := next(alike, None):
        return different_photos(*pair)
    listed = ", ".join(sorted({repr(model.name) for model in models})) or "none"
    return (
        "A comparison needs two models with the same names, prompts, protocol and label space; "
        f"the predictions hold {listed}."
    )


def _about(models: Sequence[Compared], pairs: Sequence[tuple[int, int]]) -> dict[str, list[Any]]:
    """The names, sources and settings of each pair."""
    found: dict[str, list[Any]] = {}
    for side, prefix in enumerate(("", "versus_")):
        of = [models[pair[side]] for pair in pairs]
        found |= {"versus" if side else "model": [model.name for model in of]}
        found[f"{prefix}source"] = [model.source for model in of]
        found |= {
            f"{prefix}{name}": [model.setting[place] for model in of]
            for place, name in enumerate(SETTING)
            if not side or name in BY_SIDE
        }
    return found


def _pairs(models: Sequence[Compared]) -> list[tuple[int, int]]:
    """Pairs on the same photos under the same setting first, setting by setting, then those across kinds."""
    settings = list(dict.fromkeys(model.setting for model in models))
    pairs: dict[Any, tuple[int, int]] = {}
    for first, second in combinations(range(len(models)), 2):
        a, b = models[first], models[second]
        if a.answers.photos.fingerprint == b.answers.photos.fingerprint and comparable(a.setting, b.setting):
            repeated = not (a.reads_names or b.reads_names)
            key = (a.name, b.name, a.answers.correct.tobytes(), b.answers.correct.tobytes())
            pairs.setdefault(key if repeated else (first, second), (first, second))

    def order(pair: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        a, b = (models[place].setting for place in pair)
        return settings.index(a) if a == b else len(settings), pair

    return sorted(pairs.values(), key=order)


def different_photos(first: Compared, second: Compared) -> str:
    """Say how the photos of two models differ; empty if they do not."""
    if first.answers.photos.fingerprint == second.answers.photos.fingerprint:
        return ""
    a, b = first.answers.photos.photos, second.answers.photos.photos
    assert a is not None
    assert b is not None
    only_a, only_b = a.join(b, on="path", how="anti"), b.join(a, on="path", how="anti")
    lead = f"Models {first.name!r} and {second.name!r} cannot be compared"
    if only_a.height or only_b.height:
        example = (only_a if only_a.height else only_b)["path"][0]
        return (
            f"{lead}: the first alone saw {counted(only_a.height, 'photo')} and the second alone "
            f"{only_b.height:,}, such as {example!r}; evaluate both on the same photos."
        )
    return (
        f"{lead}: their photos differ in content, class, group, attributes or clusters; evaluate both on "
        "the same benchmark with the same design."
    )


def _shares(model: Compared, contrast: Contrast) -> list[tuple[Any, ...]]:
    """The cells and shares of the averages of a contrast, as the design of a model's photos has them."""
    design = model.answers.photos.design
    named = [side.average for side in contrast.sides if side.average is not None]
    return [(design.cells, design.weights[name]) for name in named]
