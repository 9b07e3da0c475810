"""The error of a contrast with other photos: predicted from a pilot run, or from assumptions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from counterground.errors import UsageError
from counterground.metrics import ALPHA, DROP, Contrast, ContrastError, Stratification, contrast_error
from counterground.text import counted

MOST = 10_000_000  # photos: nobody plans for more
_SCATTER = 4  # photos of a class that show scatter: two in each group
_FEWEST_CLUSTERS = 4


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

    classes: int = 20
    photos: int = 20
    cluster_size: float = 1.0
    accuracy: float = 0.8
    icc: float = 0.1

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
        error = ContrastError(*levels, np.diag(variances), degrees, degrees, round(photos), round(clusters))
        return error.power()


@dataclass(frozen=True)
class Pilot:
    """What a run says about the error of a contrast: of a model, or of the difference of two models.

    Attributes:
        now: the error with the photos of the run.
        paired: whether the values are differences of two models.
    """

    now: ContrastError
    paired: bool

    @classmethod
    def of(
        cls,
        photos: Stratification,
        values: npt.ArrayLike,
        contrast: Contrast = DROP,
        *,
        paired: bool = False,
    ) -> Pilot:
        """Read the components from photos with a value each.

        Args:
            photos: the photos, with their strata and clusters.
            values: ``[n]``, 1 for a right answer; or the difference of two models'.
            contrast: what is to be detected.
            paired: whether the values are differences of two models.

        Raises:
            UsageError: the photos do not show the contrast, there are too few clusters, or the values have no
                scatter; the message has no full stop.
        """
        now = contrast_error(photos, values, contrast)
        if now is None:
            raise UsageError(f"no photos are on both sides of {contrast}")
        if now.clusters < _FEWEST_CLUSTERS:
            raise UsageError(
                f"{counted(now.photos, 'photo')} in {counted(now.clusters, 'cluster')} are too few, so plan "
                "from assumptions, without a RUN"
            )
        if not now.bounded:
            raise UsageError(
                "all photos of a side are in one cluster, so plan from assumptions, without a RUN"
            )
        if now.variance == 0:
            raise UsageError(_no_scatter(now, np.asarray(values), paired))
        return cls(now, paired)

    @property
    def photos_now(self) -> int:
        """Photos that count."""
        return self.now.photos

    @property
    def clusters_now(self) -> int:
        """Clusters that hold them."""
        return self.now.clusters

    @property
    def fewest(self) -> int:
        """The fewest photos with which every stratum has scatter on each side."""
        return _SCATTER // 2 * self.now.strata

    @property
    def largest(self) -> float:
        """The largest drop there can be (fraction)."""
        return 1.0 if self.paired else self.now.left

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
        error = replace(self._grown(photos, clusters), right=self.now.left - drop)
        if self.paired:
            return error.power_of_difference()
        was, is_now = (max(1e-3, p * (1 - p)) for p in (self.now.right, error.right))
        scale = np.diag([1.0, math.sqrt(is_now / was)])
        covariance = scale @ error.covariance @ scale
        if not covariance[1, 1]:  # all right on one side, or all wrong: assume the scatter of the other
            left = max(1e-3, error.left * (1 - error.left))
            covariance[1, 1] = covariance[0, 0] * is_now / left
        return replace(error, covariance=covariance).power(alpha)

    def power_to_decide(self, limit: float, photos: float, alpha: float) -> float:
        """Return the probability that the interval excludes a limit, if the pilot's accuracies are true."""
        return self._grown(photos).power_to_decide(limit, alpha)

    def _grown(self, photos: float, clusters: float | None = None) -> ContrastError:
        """Return the error with another number of photos; ``clusters``: None if they grow with the photos."""
        more = photos / self.now.photos
        wider = more if clusters is None else clusters / self.now.clusters
        covariance = (self.now.covariance - self.now.between) / more + self.now.between / wider
        # The reciprocal of a standard error known with few degrees of freedom is too large, by 3 / (4 df).
        covariance = covariance * math.exp(1.5 / self.now.known)
        return replace(
            self.now,
            covariance=covariance,
            degrees=max(1.0, (self.now.degrees + 1) * wider - 1),
            photos=round(photos),
            clusters=max(2, round(self.now.clusters * wider)),
        )


def _no_scatter(error: ContrastError, values: npt.NDArray[np.generic], paired: bool) -> str:
    """Say why a contrast has a sampling variance of 0."""
    if paired and not values.any():
        return "both models are right on the same photos"
    if not paired and error.left == error.right and error.left in (0, 1):
        return "it makes no errors" if error.left else "it is right on no photo"
    return "nothing varies within any stratum"


Source = Assumptions | Pilot
