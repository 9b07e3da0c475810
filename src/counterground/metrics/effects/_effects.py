"""What backgrounds cause: effects shown by composites of foregrounds and backgrounds, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.errors import UsageError
from counterground.metrics._codes import Codes, Floats
from counterground.metrics._estimate import Estimate
from counterground.metrics._registry import Answers, read_answers
from counterground.metrics._scores import scores_frame
from counterground.metrics.design import DROP, Contrast, Design, ScoreKey, Side, check_contrast, quoted
from counterground.metrics.effects._decomposition import (
    BACKGROUND,
    OBSERVED,
    SIZE,
    Decomposition,
    same_foregrounds,
)
from counterground.metrics.intervals import (
    Average,
    Stratification,
    StratumMeans,
    difference_interval,
    share_interval,
)

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
    owner = ["foreground", "class_index"]
    kinds = rows.group_by(*owner, "answer", "counts").agg(pl.first("cluster"), n=pl.len())
    kinds = kinds.with_columns(total=pl.col("n").sum().over(owner))
    k = min(kinds["total"].to_list(), default=0)
    if k < fewest:
        return
    alike = np.where(kinds["counts"], _all_of(kinds["n"].to_numpy(), kinds["total"].to_numpy(), k), 0.0)
    values = kinds.with_columns(alike=alike).group_by(owner).agg(pl.first("cluster"), pl.sum("alike"))
    values = values.sort(owner)
    photos = Stratification(values["class_index"].to_numpy(), None, values["cluster"].to_list())
    yield _Foregrounds(estimate, k, photos, 1 - values["alike"].to_numpy())


def _all_of(n: Codes, total: Codes, k: int) -> Floats:
    """Return the chance that k of ``total``, drawn without replacement, are all among ``n`` of them."""
    from scipy.special import gammaln

    logarithm = gammaln(n + 1) - gammaln(np.maximum(n - k, 0) + 1)
    logarithm -= gammaln(total + 1) - gammaln(total - k + 1)
    return np.where(n < k, 0.0, np.exp(logarithm))


def _alike(strata: Codes) -> Average:
    return Average.alike(strata, np.arange(len(strata)))
