"""How accuracy over photos varies between the values of a column, such as sites, seen and not yet seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from counterground.metrics._codes import Codes, Flags, Floats, as_flags, cluster_codes
from counterground.metrics._estimate import Estimate
from counterground.metrics._sampling import ALPHA

FEWEST_VALUES = 5
"""With fewer values of a column, nothing is said about others."""
_LOWEST = 3
_SPANNING = 0.1  # share of photos that may be in clusters of several values
_PERMUTATIONS = 999
_GRID = (16, 32)  # points of mean and root of the correlation
_ZOOMS, _NEGLIGIBLE = 4, 7.0  # rounds, and log density below the mode
_BISECTIONS = 12


class ScoreSpread(NamedTuple):
    """What a model's accuracies over photos on the values of a column show.

    Attributes:
        spread: standard deviation of the true accuracies between values; ``p_value`` that they are alike.
        another: their mean, with an interval for the accuracy on another value.
        lowest: the values that are lowest after shrinkage, the lowest first, with intervals that hold
            although they were picked.
        values: number of values.
    """

    spread: Estimate
    another: Estimate
    lowest: tuple[tuple[str, Estimate], ...]
    values: int


class _Units(NamedTuple):
    """What is independent given the value, clusters or photos: right answers, photos, code of the value."""

    right: Floats
    photos: Floats
    value: Codes

    def by_value(self, of: Floats) -> Floats:
        return np.asarray(np.bincount(self.value, of), dtype=np.float64)


class _Posterior(NamedTuple):
    """Beta distributions of the accuracy on a value, ``[g]`` of each parameter, and their weights."""

    a: Floats
    b: Floats
    weight: Floats

    def or_alike(self, right: float, photos: float, weight: float) -> _Posterior:
        """Return it with one more, last: all values are alike, with so many right of all photos."""
        a, b = np.append(self.a, right + 1), np.append(self.b, photos - right + 1)
        return _Posterior(a, b, np.append(self.weight * (1 - weight), weight))


def score_spread(
    correct: npt.ArrayLike, value: npt.ArrayLike, cluster: npt.ArrayLike | None = None
) -> ScoreSpread | None:
    """Return how much a model's accuracy over photos differs between values.

    Right answers are beta-binomial. The posterior of their mean and intraclass correlation, on a grid,
    carries the uncertainty of both into every interval. As in a confidence distribution of the variance
    between values, this is 0 with the p-value as probability, but for the lowest values, which would be too
    sure. Clusters within values reduce photos to effective photos.

    Args:
        correct: ``[n]`` Booleans.
        value: ``[n]`` texts without nulls.
        cluster: ``[n]``; null is a cluster of its own. If each value has one cluster, photos count as
            independent given the value.

    Returns:
        Fractions. None with fewer values than `FEWEST_VALUES`, if all answers are right or all wrong, and if
        clusters span values, or are too few to show how alike their photos are.

    Raises:
        ValueError: the columns have different lengths, or hold other values.
    """
    flags = as_flags(correct)
    names, code = np.unique(np.asarray(value, dtype=str), return_inverse=True)
    if len(code) != len(flags):
        raise ValueError(f"'value' has {len(code)} values, but there are {len(flags)} photos.")
    units = _units(flags, code.astype(np.intp), cluster_codes(cluster, len(flags))[0])
    if len(names) < FEWEST_VALUES or flags.all() or not flags.any() or units is None:
        return None
    photos, effective = units.by_value(units.photos), _effective(units)
    right = units.by_value(units.right) / photos * effective
    found, p_value = _posterior(right, effective), _p_value(units)
    a, b, weight = found.or_alike(right.sum(), effective.sum(), p_value)
    mean = a / (a + b)
    deviation = np.sqrt(mean * (1 - mean) / (a + b + 1))
    deviation[-1] = 0.0  # alike
    order = np.argsort(deviation)
    low, median, high = np.interp(
        [ALPHA / 2, 0.5, 1 - ALPHA / 2], np.cumsum(weight[order]), deviation[order]
    ).tolist()
    return ScoreSpread(
        Estimate(median, low, high, len(flags), len(units.value), p_value),
        Estimate(float(weight @ mean), *_interval(_Posterior(a, b, weight)), len(flags)),
        tuple((str(names[j]), estimate) for j, estimate in _lowest(found, right, effective, photos)),
        len(names),
    )


def _lowest(
    posterior: _Posterior, right: Floats, effective: Floats, photos: Floats
) -> Iterator[tuple[int, Estimate]]:
    a, b, weight = posterior
    shrunken = np.array([weight @ ((a + k) / (a + b + n)) for k, n in zip(right, effective, strict=True)])
    for j in np.argsort(shrunken, kind="stable")[:_LOWEST].tolist():
        yield j, Estimate(float(shrunken[j]), *_interval(posterior, right[j], effective[j]), int(photos[j]))


def _units(flags: Flags, value: Codes, cluster: Codes) -> _Units | None:
    """Return clusters within values, or photos if each value has one; None if they say nothing."""
    values = int(value.max(initial=-1)) + 1
    pairs, unit = np.unique(cluster * values + value, return_inverse=True)
    spans = np.bincount(pairs // max(1, values)) > 1
    if spans[cluster].mean() > _SPANNING:
        return None
    if len(pairs) == values:
        return _Units(flags.astype(np.float64), np.ones(len(flags)), value)
    if len(pairs) < 2 * values:
        return None
    right, photos = (np.asarray(np.bincount(unit, of), dtype=np.float64) for of in (flags, None))
    return _Units(right, photos, pairs % values)


def _correlation(squares: Floats, scatter: Floats, photos: Floats) -> float:
    """Return the correlation of photos of one cluster that squared sums of residuals show, 0 to 1."""
    unit = (scatter * photos * (photos - 1)).sum()
    return float(np.clip((squares - scatter * photos).sum() / unit, 0, 1)) if unit > 0 else 0.0


def _effective(units: _Units) -> Floats:
    """Return the effective photos of each value, by one correlation within clusters for all values."""
    photos = units.by_value(units.photos)
    share = units.by_value(units.right) / photos
    scatter = (share * (1 - share) * photos / np.maximum(1, photos - 1))[units.value]
    alone = 1 - units.photos / photos[units.value]
    residual = np.where(alone > 0, units.right - units.photos * share[units.value], 0)
    squares = residual**2 / np.where(alone > 0, alone, 1)
    rho = _correlation(squares, np.where(alone > 0, scatter, 0), units.photos)
    return np.asarray(photos / (1 + rho * (units.by_value(units.photos**2) / photos - 1)))


def _p_value(units: _Units) -> float:
    """Return the p-value of equal values: clusters, or photos, are exchanged between values.

    The statistic is Pearson's, for clusters with the variance that photos of one cluster have together.
    """
    rng = np.random.default_rng(0)
    share = units.right.sum() / units.photos.sum()
    residual, scatter = units.right - units.photos * share, np.full(len(units.photos), share * (1 - share))
    rho = _correlation(residual**2, scatter, units.photos)
    variance = units.photos * (1 + rho * (units.photos - 1))
    observed = (units.by_value(residual) ** 2 / units.by_value(variance)).sum()
    if (units.photos == 1).all():
        photos = units.by_value(units.photos)
        right = rng.multivariate_hypergeometric(
            photos.astype(np.int64), int(units.right.sum()), _PERMUTATIONS, method="marginals"
        )
        permuted = ((right - photos * share) ** 2 / photos).sum(axis=1)
    else:
        orders = (rng.permutation(len(residual)) for _ in range(_PERMUTATIONS))
        permuted = np.array(
            [(units.by_value(residual[o]) ** 2 / units.by_value(variance[o])).sum() for o in orders]
        )
    return float((1 + (permuted >= observed * (1 - 1e-9)).sum()) / (1 + _PERMUTATIONS))


def _posterior(right: Floats, photos: Floats) -> _Posterior:
    """Return the posterior of mean and root of the correlation, on a grid that closes in on its mass.

    The prior is flat in the mean and in the logarithm of the variance of an observed share, whose part
    between values is at least 0; values with other numbers of photos are averaged.
    """
    from scipy.special import betaln

    alike, times = np.unique(np.stack([right, photos]), axis=1, return_counts=True)
    ends = np.array([[0.0, 1.0], [0.0, 1.0]])
    for _ in range(_ZOOMS):
        steps = (ends[:, 1] - ends[:, 0]) / _GRID
        axes = [ends[k, 0] + (np.arange(_GRID[k]) + 0.5) * steps[k] for k in (0, 1)]
        mean, root = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
        root = np.maximum(root, 1e-4)
        rho = root**2
        a, b = mean * (1 / rho - 1), (1 - mean) * (1 / rho - 1)
        log, prior = -len(right) * betaln(a, b), np.zeros(len(a))
        for k, n, number in zip(*alike, times, strict=True):
            log += number * betaln(a + k, b + n - k)
            prior += number * root / ((1 - rho) / n + rho)
        log += np.log(prior) - (log + np.log(prior)).max()
        kept = (log > -_NEGLIGIBLE).reshape(_GRID)
        for axis, side in enumerate((kept.any(axis=1), kept.any(axis=0))):
            inside = axes[axis][side]
            ends[axis] = np.clip([inside[0] - 1.5 * steps[axis], inside[-1] + 1.5 * steps[axis]], 0, 1)
    chosen = kept.ravel()
    weight = np.exp(log[chosen])
    return _Posterior(a[chosen], b[chosen], weight / weight.sum())


def _interval(posterior: _Posterior, right: float = 0.0, photos: float = 0.0) -> tuple[float, float]:
    """Return the interval of the accuracy on a value with these answers; without any, on another value."""
    from scipy.special import betainc

    a, b, weight = posterior
    low, high = np.zeros(2), np.ones(2)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = weight @ betainc((a + right)[:, None], (b + photos - right)[:, None], middle)
        is_low = below < [ALPHA / 2, 1 - ALPHA / 2]
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    return float(low[0]), float(high[1])
