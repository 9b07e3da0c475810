"""Agreement of annotators: Cohen's kappa, Krippendorff's alpha, and the table of both."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.metrics._codes import Codes, Floats, cluster_codes, is_null
from counterground.metrics._estimate import Estimate
from counterground.metrics._intervals import share_interval
from counterground.metrics._sampling import InfluenceEstimate, effective_clusters, sum_by_code

MISSING = -1

AGREEMENT_SCHEMA: dict[str, Any] = {
    "task": pl.String,
    "class_name": pl.String,
    "label": pl.String,
    "annotators": pl.Int64,
    "photos": pl.Int64,
    "agreement": pl.Float64,
    "kappa": pl.Float64,
    "alpha": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}
"""Columns of ``agreement``; ``agreement`` is a fraction, ``low`` and ``high`` bound alpha."""


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Return Cohen's kappa of two annotators (Cohen 1960), at most 1.

    None if it is undefined: no unit has both labels, or both annotators gave only one and the same label.

    Args:
        first: ``[n]`` labels, compared as texts; null (None, NaN) if a unit was not labelled.
        second: ``[n]`` labels of the other annotator, same units in the same order.

    Raises:
        ValueError: the two have different lengths.
    """
    return _kappa(_codes(np.array([first, second], dtype=object)))


def alpha_interval(ratings: npt.ArrayLike, cluster: npt.ArrayLike | None = None) -> Estimate:
    """Return Krippendorff's nominal alpha (Krippendorff 2011) with its 95 % interval.

    Both are None if it is undefined: no unit has two ratings, or all ratings of such units are the same.

    Each cluster's influence on alpha (through observed and expected disagreement) gives the variance. The
    interval is the score interval of the observed agreement with that variance, rescaled, so annotators who
    agreed on all of five units are not assumed to always agree. ``n`` counts units with two or more ratings.

    Args:
        ratings: ``[annotators, units]``, compared as texts; null (None, NaN) if one is missing.
        cluster: ``[units]``; units of one cluster count together, null is a cluster of its own.

    Raises:
        ValueError: not two dimensions, or ``cluster`` has a different length.
    """
    codes = _codes(ratings)
    return _alpha_interval(codes, cluster_codes(cluster, codes.shape[1])[0])


def agreement(votes: pl.DataFrame) -> pl.DataFrame:
    """Return how much annotators agree: per task, and per task by class and by label.

    Rows with neither class nor label compare primary (first) labels of all photos, rows with ``class_name``
    those of one class, and rows with ``label`` whether it was among the labels given.

    ``photos`` counts those with two or more annotators. ``agreement`` is the share (fraction) of agreeing
    pairs of annotators, averaged over photos; ``kappa`` is Cohen's; for more than two annotators, the mean
    over pairs, weighted by the photos they share (Light 1971). ``alpha`` is Krippendorff's nominal, with its
    95 % interval. What the photos do not determine is null.

    Args:
        votes: ``path, class_name, annotator, task, labels``, one row per photo, task and annotator, as in
            ``Pool.votes``; with ``cluster``, intervals count photos of one cluster together.

    Returns:
        The columns of ``AGREEMENT_SCHEMA``, tasks in order of appearance, then all photos, classes, labels.
    """
    rows: list[tuple[Any, ...]] = []
    for task in votes["task"].unique(maintain_order=True):
        rows += _rows_of_task(task, votes.filter(pl.col("task") == task))
    return pl.DataFrame(rows, schema=AGREEMENT_SCHEMA, orient="row")


def _codes(ratings: npt.ArrayLike) -> Codes:
    """Ratings as positions among the sorted values, ``[annotators, units]``; MISSING where there is none."""
    table = np.asarray(ratings, dtype=object)
    known = np.array([not is_null(value) for value in table.ravel()], dtype=bool).reshape(table.shape)
    codes = np.full(table.shape, MISSING, dtype=np.intp)
    codes[known] = np.unique(table[known].astype(str), return_inverse=True)[1]
    return codes


def _counts(codes: Codes) -> Floats:
    """How many annotators gave each value to each unit that has two ratings or more, ``[units, values]``."""
    values = np.arange(codes.max(initial=MISSING) + 1)
    counts = (codes[..., None] == values).sum(axis=0).astype(np.float64)
    pairable: Floats = counts[counts.sum(axis=1) > 1]
    return pairable


def _kappa(codes: Codes) -> float | None:
    first, second = codes[:, (codes != MISSING).all(axis=0)]
    if not len(first):
        return None
    size = int(max(first.max(), second.max())) + 1
    shares = [np.bincount(side, minlength=size) / len(first) for side in (first, second)]
    by_chance = float(shares[0] @ shares[1])
    if by_chance >= 1:
        return None
    return (float((first == second).mean()) - by_chance) / (1 - by_chance)


def _mean_kappa(codes: Codes) -> float | None:
    total, weights = 0.0, 0
    for one, other in combinations(codes, 2):
        pair = np.stack([one, other])
        kappa = _kappa(pair)
        if kappa is not None:
            shared = int((pair != MISSING).all(axis=0).sum())
            total, weights = total + kappa * shared, weights + shared
    return total / weights if weights else None


def _alpha_interval(codes: Codes, cluster: Codes) -> Estimate:
    counts, pairable = _counts(codes), (codes != MISSING).sum(axis=0) > 1
    ratings = counts.sum(axis=1)
    units, (names, members) = len(ratings), np.unique(cluster[pairable], return_inverse=True)
    clusters, n, totals = len(names), ratings.sum(), counts.sum(axis=0)
    unlike = n * n - float(totals @ totals)
    if not units or unlike <= 0:
        return Estimate(None, None, None, units, clusters)
    disagreement = (ratings**2 - (counts**2).sum(axis=1)) / (ratings - 1)
    ratio = (n - 1) * float(disagreement.sum()) / unlike
    # The derivative of the ratio of observed and expected disagreement with respect to the weight of each
    # unit.
    moves = (n - 1) * disagreement / unlike
    moves += ratio * (ratings / (n - 1) - 2 * (n * ratings - counts @ totals) / unlike)
    expected = unlike / (n * (n - 1))
    moved = sum_by_code(members, moves, clusters)
    scale = np.sqrt(clusters / (clusters - 1)) if clusters > 1 else 0.0
    moment = InfluenceEstimate(
        1 - ratio * expected,
        expected * scale * (moved - moved.mean()),
        units,
        clusters,
        effective_clusters(sum_by_code(members, ratings, clusters)) - 1,
    )
    share = share_interval(moment)
    low, high = (None if v is None else 1 - (1 - v) / expected for v in (share.low, share.high))
    return Estimate(1 - ratio, low if low is None else max(-1.0, low), high, units, clusters)


def _rows_of_task(task: str, votes: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    votes = votes.with_columns(primary=pl.col("labels").list.first())
    classes = votes["class_name"].unique().sort().to_list()
    labels = votes["labels"].explode().unique().sort().to_list()
    votes = votes.filter(pl.col("annotator").n_unique().over("path") > 1)
    photos = votes.unique("path", maintain_order=True)
    place = {path: column for column, path in enumerate(photos["path"])}
    names = votes["annotator"].unique().sort().to_list()
    at = (
        np.array([names.index(name) for name in votes["annotator"]], dtype=np.intp),
        np.array([place[path] for path in votes["path"]], dtype=np.intp),
    )
    clusters = photos["cluster"].to_list() if "cluster" in photos.columns else None
    members, _ = cluster_codes(clusters, len(photos))

    def row(class_name: str | None, label: str | None) -> tuple[Any, ...]:
        given = votes["primary"] if label is None else votes["labels"].list.contains(label).cast(pl.Float64)
        table = np.full((len(names), len(photos)), None, dtype=object)
        table[at] = given.to_list()
        if class_name is None:
            return task, class_name, label, *_figures(table, members)
        inside = (photos["class_name"] == class_name).to_numpy()
        return task, class_name, label, *_figures(table[:, inside], members[inside])

    yield row(None, None)
    yield from (row(name, None) for name in classes)
    yield from (row(None, label) for label in labels)


def _figures(table: npt.NDArray[np.object_], cluster: Codes) -> tuple[Any, ...]:
    """Annotators, photos, agreement, kappa, alpha and its bounds."""
    codes = _codes(table)
    annotators = int((codes != MISSING).any(axis=1).sum())
    if not annotators:
        return 0, 0, None, None, None, None, None
    counts = _counts(codes)
    ratings = counts.sum(axis=1)
    agreeing = ((counts**2).sum(axis=1) - ratings) / (ratings * (ratings - 1))
    alpha = _alpha_interval(codes, cluster)
    shared = float(agreeing.mean()) if len(counts) else None
    return annotators, alpha.n, shared, _mean_kappa(codes), alpha.value, alpha.low, alpha.high
