"""From a referee's answers to pairs, and to what chance alone would have given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from counterground.discovery._photos import (
    Flags,
    Floats,
    Ints,
    Photos,
    Tally,
    background_accuracy,
    photos_seen,
    ratio,
    split_halves,
)
from counterground.metrics import Estimate, drop_interval

Choose = Literal["best", "shrunken"]
"""``best``: by accuracy, as the paper does; ``shrunken``: by the part of the accuracy that is not noise."""


@dataclass(frozen=True)
class Choice:
    """Positions of the backgrounds chosen for each class, arrays ``[permutations, classes]``.

    ``drop`` is the difference of their accuracies (a fraction), ``kept`` whether it is large enough.
    """

    common: Ints
    counter: Ints
    drop: Floats
    kept: Flags

    def drop_in(self, photos: Tally) -> Floats:
        """Return the mean drop of these pairs on some photos, 0 if no class is kept; ``[permutations]``."""
        drops = _at(photos.accuracy, self.common) - _at(photos.accuracy, self.counter)
        return ratio(np.where(self.kept, drops, 0).sum(-1), self.kept.sum(-1))

    def weights(self, backgrounds: int) -> Floats:
        """Return the weights of accuracies in the mean drop, ``[permutations, classes, backgrounds]``."""
        every = np.arange(backgrounds)
        signs = (self.common[..., None] == every).astype(np.float64) - (self.counter[..., None] == every)
        return ratio(signs * self.kept[..., None], self.kept.sum(-1)[:, None, None])


def shrunken_accuracy(tally: Tally, eligible: Flags) -> Floats:
    """Return empirical Bayes estimates of accuracies, as differences from the mean of their class.

    An estimate is the effect of a background on all classes plus its further effect on one class, the latter
    shrunk by the share of its variance that sampling explains. That share comes from the scatter between the
    blocks of a cell, so photos that are not independent do not count as if they were.
    """
    photos = np.where(eligible, tally.photos, 0.0)
    accuracy = np.where(eligible, tally.accuracy, 0.0)
    mean = ratio(accuracy.sum(-1, keepdims=True), eligible.sum(-1, keepdims=True))
    of_class = ratio((photos * accuracy).sum(-1, keepdims=True), photos.sum(-1, keepdims=True))
    variance = of_class * (1 - of_class)
    away = np.where(eligible, accuracy - mean, 0.0)
    of_label = ratio((photos * away).sum(-2, keepdims=True), photos.sum(-2, keepdims=True))
    further = np.where(eligible, away - of_label, 0.0)

    scatter = np.where(eligible, tally.squares - tally.photos * tally.accuracy**2, 0).sum((-1, -2))
    expected = np.where(eligible, (tally.blocks - 1) * variance, 0).sum((-1, -2))
    inflation = np.where(expected > 0, ratio(scatter, expected), 1.0)[..., None, None]
    sampling = np.where(eligible, inflation * ratio(variance, photos), 0.0)
    cells = eligible.sum((-1, -2))
    free = np.maximum(cells - eligible.any(-1).sum(-1) - eligible.any(-2).sum(-1) + 1, 1)
    chance = ratio(sampling.sum((-1, -2)) * free, cells)
    between = np.maximum(0, (further**2).sum((-1, -2)) - chance)[..., None, None] / free[..., None, None]
    return np.where(eligible, of_label, 0.0) + ratio(between, between + sampling) * further


def _first(eligible: Flags, keys: Sequence[Floats]) -> Ints:
    """Return the position with the highest first key, among equals the highest second, and so on."""
    among = eligible
    for key in keys:
        values = np.where(among, key, -np.inf)
        among = among & (values == values.max(-1, keepdims=True))
    place: Ints = among.argmax(-1)
    return place


def _at(values: Floats, places: Ints) -> Floats:
    return np.take_along_axis(values, places[..., None], -1)[..., 0]


Split = Literal["half", "cross", "none"]
HALVES: dict[str, tuple[str, ...]] = {
    "half": ("chooses", "reports"),
    "cross": ("first", "second"),
    "none": ("chooses",),
}
"""Names of the halves of a split in files."""
LEVEL = 0.05
_CLEAR = 0.002
_PERMUTATIONS = 999


@dataclass(frozen=True)
class ByChance:
    """A figure, next to its values when backgrounds are permuted and so cannot matter.

    Attributes:
        observed: the figure with the backgrounds as they are.
        expected: the mean over permutations.
        low, high: the bounds between which 95 % of permutations lie.
        p: the share of permutations with a figure at least as large (the observed one counts as one); drops
            are compared in units of their own standard errors.
    """

    observed: float
    expected: float
    low: float
    high: float
    p: float

    @classmethod
    def of(cls, values: Floats, variances: Floats | None = None) -> ByChance:
        """Compare the first figure with the others, those of permutations.

        With sampling ``variances``, figures are compared in units of their error (studentised). If the
        clusters of one background are larger than those of another, permutations mix both and scatter more or
        less than the figure itself does; in these units they do not. A tenth of the mean variance is added to
        each, so a figure whose photos happen not to scatter is not infinitely far from 0. ``expected``,
        ``low`` and ``high`` are given for the error of the observed figure.
        """
        unit = np.ones(len(values))
        if variances is not None and variances.any():
            unit = np.sqrt(variances + variances.mean() / 10)
        observed, permuted = values[0], values[1:] * (unit[0] / unit[1:])
        low, high = np.quantile(permuted, [0.025, 0.975])
        reached = int((permuted >= observed - 1e-9).sum())
        p = (1 + reached) / (1 + len(permuted))
        return cls(float(observed), float(permuted.mean()), float(low), float(high), p)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs chosen from the predictions of one referee or several, with their evidence.

    Attributes:
        pairs: ``class_index, common, counter, drop, class_name, half``; ``drop`` is a fraction, ``half`` the
            one that chose.
        cells: accuracy (fraction) per half, class and background.
        photos_needed: photos that a background needed in each half.
        classes_seen: classes with photos on a labelled background.
        comparable: those of them with enough photos on two backgrounds.
        classes_by_chance: how many classes vary enough; for a swap, the mean of both halves.
        chosen_by_chance: the mean drop of the pairs on the photos that chose them (a fraction), likewise.
        held_out_by_chance: the mean drop, on the other half, of the pairs that each half chooses; without a
            split, of halves that are made for this alone.
        chosen_drop: the drop on the photos that chose the pairs, with its interval; unknown without pairs.
        reported_drop: the drop on the other photos; None without a split.
    """

    pairs: pl.DataFrame
    cells: pl.DataFrame
    photos_needed: int
    classes_seen: int
    comparable: int
    classes_by_chance: ByChance
    chosen_by_chance: ByChance
    held_out_by_chance: ByChance
    chosen_drop: Estimate
    reported_drop: Estimate | None

    @property
    def decisive(self) -> ByChance:
        """What decides: the drop on photos that did not choose."""
        return self.held_out_by_chance

    @property
    def exceeds_chance(self) -> bool:
        """Whether the pairs drop by more than chance explains (p below 0.05)."""
        return len(self.pairs) > 0 and self.decisive.p < LEVEL

    @property
    def may_be_inflated(self) -> bool:
        """Whether the pairs exceed chance, but not clearly (p of 0.002 or more).

        A drop is reported only if it exceeds chance, which selects lucky photos if effects are weak or
        absent. In simulations (``python bench/experiments/discovery.py 400 permutations=999``) the property
        was true for 26 of 27 that exceeded chance without an effect, for three in four with weak effects, and
        for one in three with strong effects, where the reported drop was not biased.
        """
        return self.exceeds_chance and self.decisive.p >= _CLEAR


def find_pairs(
    predictions: pl.DataFrame,
    *,
    min_drop: float = 0.05,
    min_photos: int | None = None,
    split: Split = "half",
    choose: Choose = "best",
    seed: int = 0,
    permutations: int = _PERMUTATIONS,
    halves: pl.DataFrame | None = None,
) -> tuple[Pairs, pl.DataFrame]:
    """Choose each class's common and counter background, and do the same with permuted backgrounds.

    Args:
        predictions: rows with the columns of ``predictions.parquet``, of one model or several; photos
            without a background are left out.
        min_drop: threshold (a fraction); classes whose accuracy differs by more are kept.
        min_photos: photos that a background needs in each half; None for half of what the median
            background of a class has, at least 2.
        split: ``half``, ``swap`` or ``none``.
        choose: ``best`` or ``shrunken``.
        seed: seed for the halves, the permutations, and ties that nothing else decides.
        permutations: number of permutations.
        halves: ``path, chooses`` (Booleans) where they are given; None: see `split_halves`.

    Returns:
        What was found, and ``path, group`` of the photos of the benchmark.

    Raises:
        KeyError: an unknown split.
    """
    seen = photos_seen(predictions)
    names = HALVES[split]
    if halves is None:
        first = split_halves(seen, seed)
    else:
        first = seen.join(halves, on="path", how="left", maintain_order="left")["chooses"]
    chooses = first if len(names) == 2 else pl.Series([True] * len(seen))
    half = (~chooses).cast(pl.Int64).to_numpy().astype(np.intp)
    photos = Photos(seen, half, len(names))
    observed = photos.count(photos.observed())
    needed = _needed(observed) if min_photos is None else min_photos
    lots = np.random.default_rng(seed).random(observed.photos.shape[2:])
    how = _How(min_drop, needed, choose, lots, sides=2 if split == "cross" else 1)
    choices = how.choices(observed)
    by_chance = _by_chance(how, photos, permutations, seed)
    if split == "none":  # only photos that did not choose can say whether the choice exceeds chance
        halved = Photos(seen, (~first).cast(pl.Int64).to_numpy().astype(np.intp), 2)
        enough = _needed(halved.count(halved.observed())) if min_photos is None else -(-min_photos // 2)
        by_chance += _by_chance(replace(how, needed=enough), halved, permutations, seed)[2:]
    labels = photos.labels.to_list()
    pairs = pl.concat(
        _pairs(choice, photos.classes, labels, name)
        for choice, name in zip(choices[: how.sides], names, strict=False)
    )
    named = seen.select("class_index", "class_name").unique("class_index")
    pairs = pairs.join(named, on="class_index").sort("class_index", "half")
    pairs = pairs.select("class_index", "common", "counter", "drop", "class_name", "half")
    halves = seen.select("path", half=pl.Series([names[number] for number in half.tolist()], dtype=pl.String))
    chosen = _grouped(predictions, halves, pairs, {name: name for name in names})
    other = dict(zip(names, reversed(names), strict=True))
    held = _grouped(predictions, halves, pairs, other) if len(names) == 2 else None
    finding = Pairs(
        pairs,
        pl.concat(
            background_accuracy(part).with_columns(half=pl.lit(name))
            for name in names
            for part in [predictions.join(halves.filter(half=name), on="path", how="semi")]
        ),
        needed,
        seen["class_index"].n_unique(),
        int((how.eligible(observed).sum(-1) > 1).sum()),
        by_chance[0],
        by_chance[1],
        by_chance[2],
        _drop(chosen),
        None if held is None else _drop(held),
    )
    return finding, (chosen if held is None else held).select("path", "group").unique("path")


def _by_chance(how: _How, photos: Photos, permutations: int, seed: int) -> list[ByChance]:
    """Compare the figures of ``how`` with those of permuted backgrounds."""
    every = (photos.observed(), *photos.permuted(permutations, seed))
    figures = zip(*(how.figures(photos, labels) for labels in every), strict=True)
    return [ByChance.of(*map(np.concatenate, zip(*figure, strict=True))) for figure in figures]


def _needed(tally: Tally) -> int:
    """Return half the photos of the median background with photos in the choosing half, at least 2."""
    photos = tally.photos[0, 0]
    held = photos[photos > 0]
    return max(2, int(np.ceil(np.median(held) / 2))) if len(held) else 2


@dataclass(frozen=True)
class _How:
    """How pairs are chosen.

    Attributes:
        min_drop: a class is kept if its accuracy differs by more than this fraction (paper section 2: 0.05).
        needed: photos that a background needs in each half.
        choose: way to choose.
        lots: random numbers ``[classes, backgrounds]``.
        sides: how many halves' pairs are used.
    """

    min_drop: float
    needed: int
    choose: Choose
    lots: Floats
    sides: int

    def eligible(self, tally: Tally) -> Flags:
        """Return backgrounds with enough photos in every half, ``[permutations, classes, backgrounds]``."""
        return np.asarray((tally.photos >= self.needed).all(axis=1), dtype=bool)

    def choices(self, tally: Tally) -> list[Choice]:
        """Return what each half chooses: each class's best and worst background.

        Ties are decided by the closeness of the true name (see ``photos_seen``), then by more photos, then by
        lot. A class is kept by its unshrunken accuracies, even if shrunken ones made the choice: ``min_drop``
        has one meaning.
        """
        eligible, choices = self.eligible(tally), []
        for of in map(tally.half, range(tally.photos.shape[1])):
            score = of.accuracy if self.choose == "best" else shrunken_accuracy(of, eligible)
            closeness = ratio(of.closeness, of.photos)
            common = _first(eligible, (score, closeness, of.photos, self.lots))
            counter = _first(eligible, (-score, -closeness, of.photos, self.lots))
            drop = (_at(of.accuracy, common) - _at(of.accuracy, counter)).round(9)
            choices.append(Choice(common, counter, drop, (common != counter) & (drop > self.min_drop)))
        return choices

    def figures(self, photos: Photos, labels: Ints) -> list[tuple[Floats, ...]]:
        """Return classes kept, their mean drop where chosen and, with two halves, that on the other half.

        Drops are means over the halves that keep a class, 0 if none does. The last comes with its sampling
        variance. Halves share no cluster, so their variances add.
        """
        tally = photos.count(labels)
        choices = self.choices(tally)
        drops = [choice.drop_in(tally.half(number)) for number, choice in enumerate(choices)]
        used = choices[: self.sides]
        kept = np.mean([choice.kept.sum(-1) for choice in used], axis=0)
        chosen, _ = _mean_drop(used, drops[: self.sides])
        if len(choices) == 1:
            return [(kept,), (chosen,)]
        others = [*enumerate(reversed(choices))]
        variances = [
            photos.variance(labels, tally, number, choice.weights(tally.photos.shape[-1]))
            for number, choice in others
        ]
        held_out, halves = _mean_drop(
            choices, [choice.drop_in(tally.half(number)) for number, choice in others]
        )
        return [(kept,), (chosen,), (held_out, np.sum(variances, axis=0) / halves**2)]


def _mean_drop(choices: Sequence[Choice], drops: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return the mean drop over the halves that keep a class, and how many these are, at least 1."""
    halves = np.maximum(np.sum([choice.kept.any(-1) for choice in choices], axis=0, dtype=np.float64), 1.0)
    return np.sum(drops, axis=0) / halves, halves


def _pairs(choice: Choice, classes: pl.Series, labels: list[str], half: str) -> pl.DataFrame:
    kept = np.flatnonzero(choice.kept[0])
    return pl.DataFrame(
        {
            "class_index": classes[kept],
            "common": [labels[place] for place in choice.common[0, kept]],
            "counter": [labels[place] for place in choice.counter[0, kept]],
            "drop": choice.drop[0, kept],
        },
        schema_overrides={"common": pl.String, "counter": pl.String},
    ).with_columns(half=pl.lit(half))


def _grouped(
    predictions: pl.DataFrame, halves: pl.DataFrame, pairs: pl.DataFrame, chosen_by: dict[str, str]
) -> pl.DataFrame:
    """Return the answers on photos of pairs, with their ``group`` and ``half``.

    ``chosen_by`` maps each half to the half that chose its pairs.
    """
    roles = pairs.unpivot(
        ["common", "counter"], index=["class_index", "half"], variable_name="group", value_name="background"
    ).rename({"half": "chosen_by"})
    by = pl.DataFrame({"half": list(chosen_by), "chosen_by": list(chosen_by.values())})
    rows = predictions.drop("group", strict=False).join(halves, on="path").join(by, on="half")
    return rows.join(roles, on=["class_index", "chosen_by", "background"]).sort("model", "path")


def _drop(answers: pl.DataFrame) -> Estimate:
    """Return the mean drop over halves and referees, with the mean of their intervals.

    Halves share what was chosen, and referees share photos, so a pooled interval would be too narrow.
    """
    columns = ("correct", "class_index", "group", "cluster")
    by_half = [
        [
            Estimate.of(vars(drop_interval(*(of[name] for name in columns))))
            for of in rows.partition_by("model")
        ]
        for rows in answers.partition_by("half")
    ]
    each = [estimate for found in by_half for estimate in found if estimate.value is not None]
    if len(each) < 2:
        return each[0] if each else Estimate()
    ends = [[getattr(one, name) for one in each] for name in ("value", "low", "high")]
    value, low, high = (None if None in end else float(np.mean(end)) for end in ends)
    first = [found[0] for found in by_half]
    return Estimate(value, low, high, sum(one.n for one in first), sum(one.clusters or 0 for one in first))
