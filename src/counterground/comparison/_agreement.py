"""Whether models drop on the same classes: rank correlation of class-wise drops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.comparison._points import answers_of, deduplicate_results, why_not_paper
from counterground.metrics import (
    DROP,
    GROUPS,
    KEYS,
    SETTING,
    Contrast,
    Correlation,
    correlation_of,
    in_setting,
    rank_correlation,
)
from counterground.published import load_table
from counterground.results import Run, setting_text

AGREEMENT_OF_DROPS_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "source": pl.String,
    "versus": pl.String,
    "versus_source": pl.String,
    "benchmark": pl.String,
    "correlation": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "classes": pl.Int64,
}
"""Columns of ``drop_agreement``."""

Floats = npt.NDArray[np.float64]
_DIVISIONS = 10
_Key = tuple[str, str]


@dataclass
class _Drops:
    """Drops of one model by class: of all photos, and if these are at hand, of halves of their clusters.

    ``photos`` has a row per photo: ``class_index, group, cluster, correct``; None for a printed row.
    ``clusters`` is the column of the design that names their clusters; None if there are two, or none.
    ``halves`` ``[divisions, 2, classes]`` has NaN where a half lacks a class or one of its groups.
    """

    whole: dict[int, float]
    photos: pl.DataFrame | None = None
    clusters: str | None = None
    halves: Floats | None = None


def drop_agreement(
    runs: Mapping[str, Run] | None = None, *, published: bool = True, contrast: Contrast = DROP
) -> pl.DataFrame:
    """Return Spearman's correlation of class-wise drops for every pair of models on one benchmark.

    The paper prints drops by class for five CLIPs (Tables 15 and 16). A run is compared with them if it was
    measured on the paper's photos. On another benchmark, its models are compared with each other and with
    those of other runs on the same photos. A result that several runs hold appears once.

    Models that see the same photos share part of their sampling error, so their drops would agree although
    no background has an effect. Drops of runs are therefore measured on two halves of the clusters: those of
    one model on one half are compared with those of the other model on the other half, and the correlation
    is the mean over both ways of ten divisions. Without an effect its expectation is 0; half the photos make
    it smaller than that of the true drops. Halves cannot be made for printed rows, for other contrasts, and
    where a design has two ways of clustering or the two runs have different ones. The correlation is then
    that of all photos: shared errors are in it, so it has no interval.

    Args:
        runs: runs by the name that identifies them, as ``source`` does in ``model_points``.
        published: whether to include the paper's five models.
        contrast: a contrast of runs other than the drop.

    Returns:
        The columns of ``AGREEMENT_OF_DROPS_SCHEMA``; 95 % intervals by Fisher's z with the variance of Bonett
        and Wright (2000), null below four classes. The correlation is null below two classes, or if
        drops do not vary. ``classes`` is their mean number in a comparison.
    """
    groups: dict[str, tuple[str, dict[_Key, _Drops]]] = {}
    if published:
        groups["paper"] = ("counteranimal", _printed())
    given = dict(runs or {})
    listed = [result for name, run in given.items() for result in _settings(name, run, contrast)]
    paper_sized = {run.path for run in given.values() if not why_not_paper(run)}
    for held in deduplicate_results(listed):
        holding, row = held[0]
        on_paper = holding.path in paper_sized
        key = "paper" if on_paper else holding.info.benchmark.version
        _, drops = groups.setdefault(key, (holding.info.benchmark.name, {}))
        measured = _Drops(_measured(holding, row, contrast, by_place=on_paper))
        clusters = holding.design.clusters
        if contrast.sides_apart and len(clusters) == 1:
            measured.clusters = clusters[0]
            answers = answers_of(holding, row)
            assert answers.photos.photos is not None
            photos = answers.photos.photos.select("class_index", "group", "path", cluster=clusters[0])
            measured.photos = photos.with_columns(correct=answers.correct)
        drops[row["label"], ", ".join(each["source"] for _, each in held)] = measured
    for _, drops in groups.values():
        for column in {each.clusters for each in drops.values()}:
            _halve([each for each in drops.values() if each.clusters == column])
    rows = [row for benchmark, drops in groups.values() for row in _pairs(benchmark, drops)]
    return pl.DataFrame(rows, schema=AGREEMENT_OF_DROPS_SCHEMA, orient="row")


def _halve(drops: Iterable[_Drops]) -> None:
    """Measure all that have photos, in clusters of one column, on the same random halves of these."""
    measured = [
        (each, each.photos.with_columns(pl.coalesce("cluster", "path")))
        for each in drops
        if each.photos is not None
    ]
    if not measured:
        return
    classes, clusters = (
        pl.concat([frame[name] for _, frame in measured]).unique().sort()
        for name in ("class_index", "cluster")
    )
    order = np.tile(np.arange(len(clusters)) % 2, (_DIVISIONS, 1))
    halves = np.random.default_rng(0).permuted(order, axis=1)
    for each, frame in measured:
        inside = frame.filter(pl.col("group").is_in(GROUPS))
        place = classes.search_sorted(inside["class_index"]).to_numpy().astype(np.intp)
        side = (inside["group"] == GROUPS[1]).to_numpy()
        cell = 2 * place + side
        half = halves[:, clusters.search_sorted(inside["cluster"]).to_numpy()]
        size = 4 * len(classes)
        at = np.arange(_DIVISIONS)[:, None] * size + half * (size // 2) + cell
        right = np.broadcast_to(inside["correct"].to_numpy().astype(np.float64), at.shape)
        sums = (np.bincount(at.ravel(), of, minlength=_DIVISIONS * size) for of in (right.ravel(), None))
        hits, photos = (found.reshape(_DIVISIONS, 2, len(classes), 2) for found in sums)
        accuracy = np.divide(hits, photos, out=np.full(hits.shape, np.nan), where=photos > 0)
        each.halves = accuracy[..., 0] - accuracy[..., 1]


def _printed() -> dict[_Key, _Drops]:
    drops: dict[_Key, _Drops] = {}
    # One model is in both tables with the same cells.
    rows = load_table("classwise_results").unique(["model", "class_id"], keep="first", maintain_order=True)
    for row in rows.iter_rows(named=True):
        drops.setdefault((row["model"], "paper"), _Drops({})).whole[row["class_id"]] = row["drop"] / 100
    return drops


def _settings(name: str, run: Run, contrast: Contrast) -> list[tuple[Run, dict[str, Any]]]:
    """The models of a run that have drops by class, each under each setting; labels distinguish settings."""
    rows = _by_class(run, contrast).select(KEYS).unique(maintain_order=True)
    differing = [part for part in SETTING if rows[part].n_unique() > 1]
    listed = []
    for row in rows.iter_rows(named=True):
        label = row["model"]
        if rows["model"].is_duplicated().any():
            label += f" ({', '.join(setting_text(row[part]) for part in differing)})"
        listed.append((run, {**row, "label": label, "source": name}))
    return listed


def _by_class(run: Run, contrast: Contrast) -> pl.DataFrame:
    drop = (pl.col("metric") == contrast.name) & pl.col("class_index").is_not_null()
    return run.estimates(contrast).filter(drop & pl.col("value").is_not_null())


def _measured(run: Run, row: dict[str, Any], contrast: Contrast, *, by_place: bool) -> dict[int, float]:
    """Drops by class index, or by place among the classes (the paper's class number)."""
    scores = _by_class(run, contrast)
    places = {index: place for place, index in enumerate(sorted(set(scores["class_index"])), start=1)}
    drops = scores.filter(in_setting(row)).select("class_index", "value").iter_rows()
    return {places[index] if by_place else index: value for index, value in drops}


def _pairs(benchmark: str, drops: Mapping[_Key, _Drops]) -> Sequence[tuple[Any, ...]]:
    rows = []
    for first, second in combinations(drops, 2):
        a, b = drops[first], drops[second]
        if a.clusters == b.clusters and a.halves is not None and b.halves is not None:
            found, classes = _across_halves(a.halves, b.halves)
        else:
            shared = sorted(set(a.whole) & set(b.whole))
            whole = rank_correlation(*([each.whole[place] for place in shared] for each in (a, b)))
            found, classes = Correlation(whole.value, None, None), len(shared)
        rows.append((*first, *second, benchmark, found.value, found.low, found.high, classes))
    return rows


def _across_halves(first: Floats, second: Floats) -> tuple[Correlation, int]:
    """Correlate drops on one half with those on the other; return the mean and its number of classes."""
    size = first.shape[-1]
    found = []
    for mine, theirs in zip(first.reshape(-1, size), second[:, ::-1].reshape(-1, size), strict=True):
        known = np.isfinite(mine) & np.isfinite(theirs)
        value = rank_correlation(mine[known], theirs[known]).value
        found += [(value, known.sum())] if value is not None else []
    if not found:
        return Correlation(None, None, None), 0
    value, classes = np.mean(found, axis=0)
    return correlation_of(float(np.clip(value, -1, 1)), round(classes)), round(classes)
