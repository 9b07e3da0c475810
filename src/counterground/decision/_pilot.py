"""The error of a drop with other photos: predicted from a pilot run, or from assumptions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field

from counterground.arguments import Positive, checked_fields
from counterground.errors import UsageError
from counterground.metrics import ALPHA, DESIGN, GROUPS, Design, DropError, cluster_columns, drop_error
from counterground.results import NO_GROUPS
from counterground.text import counted, percent

MOST = 10_000_000  # photos: nobody plans for more
_SCATTER = 4  # photos of a class that show scatter: two in each group
_FEW_REPEATED = 0.1  # 1 - clusters / photos: below it hardly any cluster has several photos


@checked_fields
@dataclass(frozen=True)
class Assumptions:
    """A benchmark that does not exist yet, and a model on it.

    Attributes:
        classes: number of classes.
        photos: photos of each class in each group.
        cluster_size: photos of one observer, or of one background photograph, all in one group.
        accuracy: accuracy on common photos (fraction).
        icc: the correlation of two photos of a cluster in being classified correctly.

    Raises:
        UsageError: an impossible value.
    """

    classes: Positive = 20
    photos: Positive = 20
    cluster_size: Annotated[float, Field(ge=1)] = 1.0
    accuracy: Annotated[float, Field(gt=0, le=1)] = 0.8
    icc: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def __post_init__(self) -> None:
        if max(self.photos_now, self.fewest) > MOST:
            raise UsageError(f"No more than {MOST:,} photos can be planned for: assume fewer.")
        if self.cluster_size > self.classes * self.photos:
            raise UsageError(
                f"A cluster can have 1 to {self.classes * self.photos:,} photos here, those of one group, "
                f"not {self.cluster_size:g}."
            )

    @property
    def photos_now(self) -> int:
        """All photos."""
        return 2 * self.classes * self.photos

    @property
    def clusters_now(self) -> int:
        """Clusters that hold them."""
        return max(2, round(self.photos_now / self.cluster_size))

    @property
    def fewest(self) -> int:
        """The fewest photos with which every class has scatter in each group."""
        return _SCATTER * self.classes

    @property
    def largest(self) -> float:
        """The largest drop there can be (fraction)."""
        return self.accuracy

    def power(self, drop: float, photos: float, clusters: float | None = None) -> float:
        """Return the probability (0 to 1) that the interval lies above 0 if the drop is ``drop`` (fraction).

        ``clusters``: None if they grow with the photos.
        """
        clusters = photos / self.cluster_size if clusters is None else min(clusters, photos)
        alike = 1 + (photos / clusters - 1) * self.icc
        levels = (self.accuracy, self.accuracy - drop)
        variances = [2 * level * (1 - level) / photos * alike for level in levels]
        # Within a class and group the last cluster follows from the others.
        cells = 2 * self.classes
        degrees = clusters - cells if clusters >= 2 * cells else clusters - 2
        degrees = max(1.0, degrees)
        error = DropError(*levels, np.diag(variances), degrees, degrees, round(photos), round(clusters))
        return error.power()

    def sentence(self, clusters: int | None) -> str:
        """Say what is assumed."""
        size = "each photo is independent"
        if self.cluster_size > 1 or clusters is not None:
            size = f"{clusters:,} clusters" if clusters else f"clusters of {self.cluster_size:g} photos"
            size += f", each of one group, with intra-cluster correlation {self.icc:g}"
        return (
            f"Assumed: {counted(self.classes, 'class')} with {counted(self.photos, 'photo')} in each group, "
            f"{100 * self.accuracy:g} % correct on common photos; {size}. “Now” means these photos."
        )


@dataclass(frozen=True)
class Pilot:
    """What a run says about the error of a drop: of a model, or of the difference of two models.

    Attributes:
        now: the error with the photos of the run.
        between: the part of its covariance ``[2, 2]`` that is due to differences between clusters, so that it
            shrinks with more clusters only. The rest shrinks with more photos.
        paired: whether the values are differences of two models.
        drops: drops of the classes with both groups (fractions).
    """

    now: DropError
    between: np.ndarray
    paired: bool
    drops: np.ndarray

    @classmethod
    def of(
        cls, photos: pl.DataFrame, values: np.ndarray, *, paired: bool = False, design: Design = DESIGN
    ) -> Pilot:
        """Read the components from photos (rows of predictions) with a value each.

        Raises:
            UsageError: no class has both groups, there are too few clusters, or the values have no scatter;
                the message continues after the name of the model.
        """
        where = (photos["class_index"], photos["group"])
        ways = cluster_columns(photos, design)
        now, alone = drop_error(values, *where, **ways), drop_error(values, *where)
        if now is None or alone is None:
            raise UsageError(f"has no drop to plan for: {NO_GROUPS}.")
        if now.clusters < 4:
            raise UsageError(
                f"has {counted(now.photos, 'photo')} in {counted(now.clusters, 'cluster')}, too few to "
                "estimate their variance: plan from assumptions, without a RUN."
            )
        if not now.bounded:
            raise UsageError(
                "has all photos of a side in one cluster, so the drop has no interval: plan from "
                "assumptions, without a RUN."
            )
        if now.variance == 0:
            raise UsageError(f"{_no_scatter(now, values, paired)}: nothing to plan from.")
        between = _between(now, alone, _inside(photos, list(ways.values())))
        valued = photos.with_columns(value=pl.Series(values, dtype=pl.Float64))
        common, counter = (
            pl.col("value").filter(pl.col("group") == group).mean() for group in ("common", "counter")
        )
        drops = valued.group_by("class_index").agg(drop=common - counter)["drop"].drop_nulls()
        return cls(now, between, paired, drops.to_numpy())

    @property
    def photos_now(self) -> int:
        """Photos of classes with both groups."""
        return self.now.photos

    @property
    def clusters_now(self) -> int:
        """Clusters that hold them."""
        return self.now.clusters

    @property
    def fewest(self) -> int:
        """The fewest photos with which every class has scatter in each group."""
        return _SCATTER * len(self.drops)

    @property
    def largest(self) -> float:
        """The largest drop there can be (fraction)."""
        return 1.0 if self.paired else self.now.common

    def power(
        self,
        drop: float,
        photos: float,
        clusters: float | None = None,
        alpha: float = ALPHA,
    ) -> float:
        """Return the probability (0 to 1) that the interval lies above 0 if the drop is ``drop`` (fraction).

        ``clusters``: None if they grow with the photos. ``alpha`` is that of the interval of a single
        model.
        """
        error = replace(self._grown(photos, clusters), counter=self.now.common - drop)
        if self.paired:
            return error.power_of_difference()
        was, is_now = (max(1e-3, p * (1 - p)) for p in (self.now.counter, error.counter))
        scale = np.diag([1.0, math.sqrt(is_now / was)])
        covariance = scale @ error.covariance @ scale
        if not covariance[1, 1]:  # all counter photos right, or all wrong: assume the scatter of common ones
            common = max(1e-3, error.common * (1 - error.common))
            covariance[1, 1] = covariance[0, 0] * is_now / common
        return replace(error, covariance=covariance).power(alpha)

    def power_to_decide(self, limit: float, photos: float, alpha: float) -> float:
        """Return the probability that the interval excludes a limit, if the pilot's accuracies are true."""
        return self._grown(photos).power_to_decide(limit, alpha)

    def _grown(self, photos: float, clusters: float | None = None) -> DropError:
        """Return the error with another number of photos; ``clusters``: None if they grow with the photos."""
        more = photos / self.now.photos
        wider = more if clusters is None else clusters / self.now.clusters
        covariance = (self.now.covariance - self.between) / more + self.between / wider
        # The reciprocal of a standard error known with few degrees of freedom is too large, by 3 / (4 df).
        covariance = covariance * math.exp(1.5 / self.now.known)
        return replace(
            self.now,
            covariance=covariance,
            degrees=max(1.0, (self.now.degrees + 1) * wider - 1),
            photos=round(photos),
            clusters=max(2, round(self.now.clusters * wider)),
        )

    def sentence(self, name: str) -> str:
        """Say what the pilot showed."""
        error, between = self.now.variance, self.between
        clusters = between[0, 0] + between[1, 1] - 2 * between[0, 1]
        spread = float(np.std(self.drops, ddof=1)) if len(self.drops) > 1 else 0.0
        shared = f"differences between clusters are {percent(clusters / error)} % of its variance"
        if self.now.clusters == self.now.photos:
            shared = "each photo is its own cluster"
        what, each = (
            ("difference in drop", "differences in its classes")
            if self.paired
            else ("drop", "drops of its classes")
        )
        return (
            f"{name} in the pilot run: the {what} has a standard error of {percent(math.sqrt(error))} "
            f"points; {shared}; the {each} have a standard deviation of {percent(spread)} points."
        )


def _between(now: DropError, alone: DropError, inside: np.ndarray) -> np.ndarray:
    """Return the part of a covariance that is due to differences between clusters.

    What clusters add to the variance of a group is less than that: independent photos would have differences
    between clusters, too, each photo its own. With a variance B between G clusters of n photos, and W within,
    the variance is B / G + W / n and that of independent photos (B + W) / n. ``inside`` is what B / G must be
    divided by to be what is added, (1 / G - 1 / n) G.
    """
    added = now.covariance - alone.covariance
    share = 1 - alone.variance / now.variance
    if share <= 0:  # clusters add nothing that can be seen
        return np.zeros((2, 2))
    # Where few photos share a cluster, what clusters add is mostly noise, and is not enlarged.
    lacking = np.diag(added).clip(0) * np.where(inside < _FEW_REPEATED, 0, 1 / np.maximum(inside, 1e-9) - 1)
    lacking = np.minimum(lacking, np.diag(alone.covariance))  # no more than there is
    if np.linalg.eigvalsh(added)[0] < 0:  # not a covariance, but what they add to the drop is known
        return min(1.0, share + float(lacking.sum()) / now.variance) * now.covariance
    return np.asarray(added + np.diag(lacking))


def _inside(photos: pl.DataFrame, ways: Sequence[Sequence[Any]]) -> np.ndarray:
    """Return 1 - G / n for each group: n effective photos in G effective clusters, by Kish.

    Of two ways of clustering, the one with fewer effective clusters counts.
    """
    rows = photos.select("class_index", "group").with_columns(
        pl.Series(f"cluster{number}", way, dtype=pl.String, strict=False) for number, way in enumerate(ways)
    )
    rows = rows.drop_nulls("group").with_columns(weight=1 / pl.len().over("class_index", "group"))
    rows = rows.filter(pl.col("group").n_unique().over("class_index") == len(GROUPS))
    found = []
    for group in GROUPS:
        of_group = rows.filter(group=group)
        alone = _squares(of_group["weight"])
        together = [alone]
        for number in range(len(ways)):
            own = pl.col(f"cluster{number}")
            shares = of_group.filter(own.is_not_null()).group_by(own).agg(pl.sum("weight"))["weight"]
            together.append(_squares(shares) + _squares(of_group.filter(own.is_null())["weight"]))
        found.append(1 - alone / max(together))
    return np.array(found)


def _squares(weights: pl.Series) -> float:
    return float((weights.to_numpy() ** 2).sum())


def _no_scatter(error: DropError, values: np.ndarray, paired: bool) -> str:
    """Say why a drop has a sampling variance of 0."""
    if paired and not values.any():
        return "shows no difference, since both models are right on the same photos"
    if not paired and error.common == error.counter and error.common in (0, 1):
        return "makes no errors" if error.common else "is right on no photo"
    return "has no scatter within any class and group"


Source = Assumptions | Pilot
