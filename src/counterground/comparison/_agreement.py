"""Whether models drop on the same classes: rank correlation of class-wise drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from counterground.comparison.points import deduplicate_results, why_not_paper
from counterground.metrics import DROP, KEYS, SETTING, Contrast, in_setting, rank_correlation
from counterground.published import load_table
from counterground.results import Run, setting_text

AGREEMENT_OF_DROPS_SCHEMA: dict[str, Any] = {
    "model_a": pl.String,
    "source_a": pl.String,
    "model_b": pl.String,
    "source_b": pl.String,
    "benchmark": pl.String,
    "correlation": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "classes": pl.Int64,
}
"""Columns of ``drop_agreement``."""

_Key = tuple[str, str]
_Drops = dict[_Key, dict[int, float]]


def drop_agreement(
    runs: Mapping[str, Run] | None = None, *, published: bool = True, contrast: Contrast = DROP
) -> pl.DataFrame:
    """Return Spearman's correlation of class-wise drops for every pair of models on one benchmark.

    The paper prints drops by class for five CLIPs (Tables 15 and 16). A run is compared with them if it was
    measured on the paper's photos. On another benchmark, its models are compared with each other and with
    those of other runs on the same photos. A result that several runs hold appears once. If classes have few
    photos, chance alone lowers the correlation.

    Args:
        runs: runs by the name that identifies them, as ``source`` does in ``model_points``.
        published: whether to include the paper's five models.
        contrast: a contrast of runs other than the drop.

    Returns:
        The columns of ``AGREEMENT_OF_DROPS_SCHEMA``; 95 % intervals by Fisher's z with the variance of Bonett
        and Wright (2000), null below four classes. The correlation is null below two classes, or if
        drops do not vary.
    """
    groups: dict[str, tuple[str, _Drops]] = {}
    if published:
        groups["paper"] = ("counteranimal", _printed())
    given = {name: run.with_contrast(contrast) for name, run in (runs or {}).items()}
    listed = [result for name, run in given.items() for result in _settings(name, run, contrast)]
    paper_sized = {run.path for run in given.values() if not why_not_paper(run)}
    for holding, row, _ in deduplicate_results(listed):
        on_paper = holding.path in paper_sized
        key = "paper" if on_paper else holding.info.benchmark.version
        _, drops = groups.setdefault(key, (holding.info.benchmark.name, {}))
        drops[row["label"], row["source"]] = _measured(holding, row, contrast, by_place=on_paper)
    rows = [row for benchmark, drops in groups.values() for row in _pairs(benchmark, drops)]
    return pl.DataFrame(rows, schema=AGREEMENT_OF_DROPS_SCHEMA, orient="row")


def _printed() -> _Drops:
    drops: _Drops = {}
    # One model is in both tables with the same cells.
    rows = load_table("classwise_results").unique(["model", "class_id"], keep="first", maintain_order=True)
    for row in rows.iter_rows(named=True):
        drops.setdefault((row["model"], "paper"), {})[row["class_id"]] = row["drop"] / 100
    return drops


def _settings(name: str, run: Run, contrast: Contrast) -> list[tuple[Run, dict[str, Any]]]:
    """The models of a run that have drops by class, each under each setting; labels distinguish settings."""
    rows = _by_class(run, contrast).select(KEYS).unique(maintain_order=True)
    differing = [part for part in SETTING if rows[part].n_unique() > 1]
    repeated = rows["model"].is_duplicated().any()
    return [
        (run, {**row, "label": _label(row, differing) if repeated else row["model"], "source": name})
        for row in rows.iter_rows(named=True)
    ]


def _label(row: dict[str, Any], differing: Sequence[str]) -> str:
    return f"{row['model']} ({', '.join(setting_text(part, row[part]) for part in differing)})"


def _by_class(run: Run, contrast: Contrast) -> pl.DataFrame:
    drop = (pl.col("metric") == contrast.name) & pl.col("group").is_null()
    drop &= pl.col("class_index").is_not_null()
    return run.scores.filter(drop & pl.col("value").is_not_null())


def _measured(run: Run, row: dict[str, Any], contrast: Contrast, *, by_place: bool) -> dict[int, float]:
    """Drops by class index, or by place among the classes (the paper's class number)."""
    scores = _by_class(run, contrast)
    places = {index: place for place, index in enumerate(sorted(set(scores["class_index"])), start=1)}
    drops = scores.filter(in_setting(row)).select("class_index", "value").iter_rows()
    return {places[index] if by_place else index: value for index, value in drops}


def _pairs(benchmark: str, drops: _Drops) -> Sequence[tuple[Any, ...]]:
    rows = []
    for first, second in combinations(drops, 2):
        shared = sorted(set(drops[first]) & set(drops[second]))
        values = [np.array([drops[key][place] for place in shared]) for key in (first, second)]
        found = rank_correlation(*values)
        rows.append((*first, *second, benchmark, found.value, found.low, found.high, len(shared)))
    return rows
