"""What backgrounds cause: effects that composites show, and the parts of a drop, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.errors import UsageError
from counterground.metrics._codes import Codes, Floats
from counterground.metrics._design import DROP, Contrast, Design, ScoreKey, check_contrast
from counterground.metrics._estimate import Estimate
from counterground.metrics._expression import Side, quoted
from counterground.metrics._intervals import (
    difference_interval,
    estimate_of,
    plain_interval,
    ratio_limits,
    share_interval,
)
from counterground.metrics._registry import Answers, read_answers
from counterground.metrics._sampling import Average, InfluenceEstimate, Partition, StratumMeans
from counterground.metrics._scores import scores_frame
from counterground.metrics._stratification import Sides, Stratification

OBSERVED = Contrast("observed_drop", "swap=original & group=common", "swap=original & group=counter")
"""The drop of the photos as they are."""
BACKGROUND = Contrast(
    "background_effect", "swap=other|same & group=common", "swap=other|same & group=counter"
)
"""The effect of common instead of counter backgrounds, on the same foregrounds."""
SIZE = Contrast("size_effect", "swap=placed_common", "swap=placed_counter")
"""The effect of the sizes and positions of common instead of counter photos, on the same background."""

_PARTS = (BACKGROUND, OBSERVED, SIZE)
_ON_LABELS = (Side.parse("swap=same"), Side.parse("swap=other"))
BG_GAP = Contrast("bg_gap", "swap=mixed_same", "swap=mixed_rand")
COSTS = (
    Contrast("pasted_cost", "swap=original", "swap=pasted"),
    Contrast("refilled_cost", "swap=original", "swap=refilled"),
    Contrast("same_label_cost", "swap=original", "swap=same"),
)
_SWAPPED = "swap=other|same"
_ACCURACIES = {name: Side.parse(f"swap={name}") for name in ("mixed_same", "mixed_rand", "background_only")}
_NEEDED = ("swap", "foreground", "background_class", "background", "class_name", "predicted_index")
_Effect = tuple[ScoreKey, Estimate]
SWAP_CLUSTERS = ("cluster", "background_cluster")


def swap_design(photos: pl.DataFrame) -> Design:
    """Return the design of composites: two ways of clustering, and the contrasts that these photos show.

    Args:
        photos: the composites, with their attributes.
    """
    shown = [each for each in (BACKGROUND, SIZE, BG_GAP, *COSTS) if _fits(each, photos)]
    if not {"same", "other"} <= set(photos["swap"]) and BACKGROUND in shown:
        shown.remove(BACKGROUND)  # each background has objects of its own
    # The groups of composites and of photos as they are must not be averaged.
    shown = shown or [each for each in (OBSERVED,) if _fits(each, photos)]
    return Design(("class_name", "swap"), tuple(shown) or (DROP,), clusters=SWAP_CLUSTERS)


def _fits(contrast: Contrast, photos: pl.DataFrame) -> bool:
    try:
        check_contrast(contrast, photos)
    except UsageError:
        return False
    return True


SWAP_DESIGN = Design(clusters=SWAP_CLUSTERS)


def swap_effects(
    predictions: pl.DataFrame | pl.LazyFrame,
    *,
    design: Design = SWAP_DESIGN,
    chance: float | None = None,
    by_class: bool = True,
) -> pl.DataFrame:
    """Return the effects of backgrounds on every model, with 95 % intervals.

    ``metric`` is one of these, over all classes or one:

    - ``observed_drop``, ``background_effect``, ``size_effect``, ``rest``: the drop of the photos as they
      are, the effect of common instead of counter backgrounds on the same foregrounds, the effect of the
      sizes and positions of common instead of counter photos on the same background, and the first minus
      both others. The background effect is over all classes that show it, the others are over those that
      show all of them. If these are fewer, ``background_part`` is the background effect over them, which is
      then the one subtracted. ``background_share``: background effect (or part) / observed drop.
    - ``background_against_grey``, ``background_against_mean``: accuracy on one background (``level``) minus
      that on plain grey, or on all backgrounds. These and the effect above are of the same foregrounds, so
      they have no rows if foregrounds are on their own labels only, or on others only.
    - ``mixed_same``, ``mixed_rand``, ``bg_gap``: accuracy on backgrounds of other photos of the class, and
      of any photo, and the first minus the second (Xiao, Engstrom, Ilyas and Madry 2021, section 3).
    - ``adversarial``: share of foregrounds wrong on at least one of ``k`` backgrounds that come from no
      photo of their class (the complement of what section 4 there calls accuracy under adversarial
      backgrounds); ``flip_share``: share of foregrounds that get several answers on ``k`` backgrounds. Both
      grow with ``k``, the smallest number that a foreground has; for those with more, the value is the mean
      over all choices.
    - ``background_only``: accuracy on backgrounds without the object; ``chance``: the accuracy of guessing.
    - ``pasted_cost``, ``refilled_cost``, ``same_label_cost``: accuracy on the photos as they are minus that
      on the object pasted onto its own photo, onto its refilled background, and onto others of the same
      label: what editing alone costs.

    ``clusters`` are foregrounds, ``clusters_2`` background photographs. Intervals refer to other ones,
    those of ``adversarial`` and ``flip_share`` to other foregrounds on these backgrounds.

    Args:
        predictions: the columns of ``predictions.parquet`` and, for composites, ``swap``, ``foreground``,
            ``background_class`` and the clusters of the design. Plain grey is not a photograph, so its
            background clusters count as null.
        design: the design whose clusters count.
        chance: the accuracy of guessing, a fraction.
        by_class: whether to add rows for each class.

    Returns:
        The columns of ``SCORES_SCHEMA``, models in order of appearance. What the photos do not show has no
        row. The background's share has no value if the drop is not clearly above 0.

    Raises:
        UsageError: the predictions are not of composites.
        ValueError: another column is missing, or a photo occurs twice under a model.
    """
    schema = predictions.lazy().collect_schema()
    if missing := [name for name in (*_NEEDED, *design.clusters) if name not in schema]:
        raise UsageError(
            f"These predictions are not of composites (there is no column {missing[0]}): make a run with "
            "`counterground swap`."
        )
    columns = [pl.when(pl.col("swap") != "grey").then(name).alias(name) for name in design.clusters[1:]]
    rows = predictions.lazy().with_columns(columns)
    return scores_frame(
        (key, row)
        for key, answers in read_answers(rows, _NEEDED, design=design)
        for row in _effects(answers, chance, by_class=by_class)
    )


def _effects(
    answers: Answers, chance: float | None, *, by_class: bool
) -> Iterator[tuple[int | None, ScoreKey, Estimate]]:
    foregrounds = _by_foreground(answers)
    for key, estimate in _of(answers, foregrounds, chance):
        yield None, key, estimate
    if by_class:
        for place, index in enumerate(answers.photos.strata.classes.tolist()):
            for key, estimate in _of(answers.of_class(place), foregrounds, None):
                yield index, key, estimate


def _of(answers: Answers, foregrounds: list[_Foregrounds], chance: float | None) -> Iterator[_Effect]:
    """The estimates of all classes, or of one."""
    yield from Decomposition(answers.photos, answers.classes).parts(answers).items()
    for name in _backgrounds(answers):
        for against, right in (("grey", "swap=grey"), ("mean", _SWAPPED)):
            contrast = Contrast(
                f"background_against_{against}", f"{_SWAPPED} & background={quoted(name)}", right
            )
            key = contrast.difference_key._replace(column="background", level=name)
            yield from ((key, estimate) for _, estimate in _contrast(answers, contrast))
    for name, side in _ACCURACIES.items():
        if name == "background_only" and chance is not None:
            yield ScoreKey("chance"), Estimate(chance)
        yield from _accuracy(answers, name, side)
    for contrast in (BG_GAP, *COSTS):
        yield from _contrast(answers, contrast)
    indices = answers.photos.strata.classes[answers.classes]
    for each in foregrounds:
        yield from each.mean(indices)


def _backgrounds(answers: Answers) -> list[str]:
    """The backgrounds that foregrounds of these classes were put on; none if each has others."""
    photos = answers.photos
    if not same_foregrounds(photos):
        return []
    put = photos.on(Side.parse(_SWAPPED)) & np.isin(photos.strata.by_class, answers.classes)
    return sorted(answers.rows["background"].filter(pl.Series(put)).drop_nulls().unique())


def _contrast(answers: Answers, contrast: Contrast) -> Iterator[_Effect]:
    sides = answers.photos.sides(contrast)
    averages = sides.averages(answers.place)
    if averages is not None:
        left, right = answers.means(sides.partition).weighted(averages)
        estimate = difference_interval(left, right, sides.partition.count(averages))
        yield contrast.difference_key, estimate


def _accuracy(answers: Answers, name: str, side: Side) -> Iterator[_Effect]:
    partition = answers.photos.by_class_on(side)
    strata = answers.classes[partition.photos[answers.classes] > 0]
    if len(strata):
        (accuracy,) = answers.means(partition).weighted([_alike(strata)])
        yield ScoreKey(name), share_interval(accuracy)


class _Foregrounds(NamedTuple):
    """A figure of which each foreground has a value: ``values`` ``[f]``, on ``k`` backgrounds."""

    estimate: str
    k: int
    photos: Stratification
    values: Floats

    def mean(self, class_indices: npt.NDArray[np.int64]) -> Iterator[_Effect]:
        """Yield the mean of the foregrounds' values over some classes; nothing if there are none."""
        strata = np.flatnonzero(np.isin(self.photos.strata.classes, class_indices))
        if len(strata):
            mean = StratumMeans(self.photos.by_class, self.values).average(strata)
            yield ScoreKey(self.estimate, None, "k", str(self.k)), share_interval(mean)


def _by_foreground(answers: Answers) -> list[_Foregrounds]:
    """The figures of foregrounds on the backgrounds of other photos."""
    rows = answers.rows.filter(pl.col("swap").is_in(["other", "same"]))
    foreign = rows.filter(pl.col("background_class").ne_missing(pl.col("class_name")))
    return [
        *_several("adversarial", foreign.with_columns(answer="correct", counts="correct"), 1),
        *_several("flip_share", rows.with_columns(answer="predicted_index", counts=True), 2),
    ]


def _several(estimate: str, rows: pl.DataFrame, fewest: int) -> Iterator[_Foregrounds]:
    """Yield the chance that k composites of a foreground, drawn from all it has, do not all count alike.

    Alike are those with the same ``answer``, if it ``counts``. ``k`` is the smallest number that a foreground
    has: the more there are, the likelier that one differs.
    """
    from scipy.special import binom

    owner = ["foreground", "class_index"]
    kinds = rows.group_by(*owner, "answer", "counts").agg(pl.first("cluster"), n=pl.len())
    kinds = kinds.with_columns(total=pl.col("n").sum().over(owner))
    k = min(kinds["total"].to_list(), default=0)
    if k < fewest:
        return
    # The chance that k of all, drawn without replacement, are among those with this answer.
    among = binom(kinds["n"].to_numpy(), k) / binom(kinds["total"].to_numpy(), k)
    alike = np.where(kinds["counts"], among, 0.0)
    values = kinds.with_columns(alike=alike).group_by(owner).agg(pl.first("cluster"), pl.sum("alike"))
    values = values.sort(owner)
    photos = Stratification(values["class_index"].to_numpy(), None, values["cluster"].to_list())
    yield _Foregrounds(estimate, k, photos, 1 - values["alike"].to_numpy())


def _alike(strata: Codes) -> Average:
    return Average.alike(strata, np.arange(len(strata)))


class Decomposition:
    """The background effect of some composites, and the drop's parts over the classes that show all of them.

    All three are differences of accuracies on rows of one table, so a foreground or a background photograph
    influences all of them. The rest, ``observed - background - size``, has the variance of the sum of these
    influences. Without rows for size and position, these are part of the rest. Foregrounds on their own
    labels only, or on others only, show no background effect (see `same_foregrounds`).

    Args:
        photos: the composites, by class.
        classes: positions of the classes that may count.
    """

    def __init__(self, photos: Stratification, classes: Codes) -> None:
        self._sides: dict[Contrast, Sides] = {}
        self.classes = self._with_background = classes
        for contrast in _PARTS:
            sides = photos.sides(contrast)
            shown = sides.averages() is not None and (contrast is not BACKGROUND or same_foregrounds(photos))
            shared = np.intersect1d(self.classes, _classes(sides)) if shown else self.classes[:0]
            if len(shared):  # a part that shares no class with those before it is not shown
                self._sides[contrast], self.classes = sides, shared
            if contrast is BACKGROUND:
                self._with_background = self.classes
        if {BACKGROUND, OBSERVED} <= self._sides.keys():
            self._joint = Partition.beside([each.partition for each in self._sides.values()])

    def parts(self, answers: Answers) -> dict[ScoreKey, Estimate]:
        """Return what the photos show of ``observed_drop``, ``background_effect``, ``size_effect``.

        The background effect is over all classes that show it. If the others are over fewer,
        ``background_part`` is what it is over these. If the first two are shown, ``rest`` and
        ``background_share`` follow. The latter is the background's share of the observed drop, None if the
        drop is not clearly above 0.
        """
        shown = [contrast for contrast in (OBSERVED, BACKGROUND, SIZE) if contrast in self._sides]
        parts: dict[ScoreKey, Estimate] = {}
        if BACKGROUND in shown:
            parts[BACKGROUND.difference_key] = self._part(answers, BACKGROUND, self._with_background)
        for contrast in shown:
            name = "background_part" if contrast is BACKGROUND else contrast.name
            if contrast is not BACKGROUND or (
                OBSERVED in shown and len(self.classes) < len(self._with_background)
            ):
                parts[ScoreKey(name, OBSERVED.name)] = self._part(answers, contrast, self.classes)
        if {BACKGROUND, OBSERVED} <= self._sides.keys():
            parts |= self._rest(answers)
        return parts

    def _averages(self, sides: Sides, classes: Codes, start: int = 0) -> list[Average]:
        rows = np.isin(_classes(sides), classes)
        every = np.arange(len(classes))
        return [Average.alike(side.strata[rows] + start, every) for side in (sides.left, sides.right)]

    def _part(self, answers: Answers, contrast: Contrast, classes: Codes) -> Estimate:
        sides = self._sides[contrast]
        averages, partition = self._averages(sides, classes), sides.partition
        # A photo as it is repeats nothing: if its object and its background are of one cluster, the interval
        # is that of the same photos in a run without composites.
        counted = partition.uncrossed if contrast is OBSERVED else partition
        left, right = answers.means(counted).weighted(averages)
        return difference_interval(left, right, partition.count(averages))

    def _rest(self, answers: Answers) -> dict[ScoreKey, Estimate]:
        averages, start = [], 0
        for sides in self._sides.values():
            averages += self._averages(sides, self.classes, start)
            start += sides.partition.size
        means, n = answers.means(self._joint).weighted(averages), self._joint.count(averages)
        background, observed, *size = (
            left.minus(right, n=n) for left, right in zip(means[::2], means[1::2], strict=True)
        )
        rest = observed.minus(background, n=n)
        for part in size:
            rest = rest.minus(part, n=n)
        drop = self._part(answers, OBSERVED, self.classes)
        return {
            # It is the sum of as many differences of accuracies as there are parts.
            ScoreKey("rest", OBSERVED.name): plain_interval(rest, len(self._sides)),
            ScoreKey("background_share", OBSERVED.name): _share(background, observed, drop),
        }


def same_foregrounds(photos: Stratification) -> bool:
    """Return whether all labels have the same foregrounds: each is on its own label and on the others.

    Otherwise, a difference between labels would be one between foregrounds, too.
    """
    return all(photos.by_class_on(side).photos.any() for side in _ON_LABELS)


def _share(background: InfluenceEstimate, observed: InfluenceEstimate, drop: Estimate) -> Estimate:
    """Return the background's share of the observed drop; unknown unless the drop's interval is above 0."""
    limits = ratio_limits(background, observed) if (drop.low or 0.0) > 0 else (None, None)
    value = None if limits[0] is None else background.value / observed.value
    return replace(estimate_of(observed, limits), value=value)


def _classes(sides: Sides) -> Codes:
    """The class of each stratum of a contrast within classes, whose sides have the same classes."""
    assert sides.classes is not None
    return sides.classes[0]
