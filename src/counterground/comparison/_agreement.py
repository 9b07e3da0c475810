"""Do models lean on the same classes' backgrounds? Rank correlation of class-wise drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from counterground.comparison._run_points import why_not_paper
from counterground.inference import Run
from counterground.metrics import rank_correlation
from counterground.published import load_table

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


def drop_agreement(runs: Mapping[str, Run] | None = None, *, published: bool = True) -> pl.DataFrame:
    """Return Spearman's correlation of class-wise drops for every pair of models on one benchmark.

    The paper prints drops by class for five CLIPs (Tables 15 and 16). A run counts beside them if it was
    measured on the paper's photos; on another benchmark its models are compared with each other and with
    those of other runs on the same photos. Where classes have few photos, chance alone lowers the
    correlation.

    Args:
        runs: by the name that tells them apart, as ``source`` in ``model_points`` does.
        published: with the paper's five.

    Returns:
        The columns of ``AGREEMENT_OF_DROPS_SCHEMA``; 95 % intervals by Fisher's z with the variance of Bonett
        and Wright (2000); null under four classes, or where drops do not vary.
    """
    groups: dict[str, tuple[str, _Drops]] = {}
    if published:
        groups["paper"] = ("counteranimal", _printed())
    for name, run in (runs or {}).items():
        on_paper = not why_not_paper(run)
        key = "paper" if on_paper else run.info.benchmark.version
        benchmark, drops = groups.setdefault(key, (run.info.benchmark.name, {}))
        groups[key] = (benchmark, {**drops, **_measured(run, name, by_place=on_paper)})
    rows = [row for benchmark, drops in groups.values() for row in _pairs(benchmark, drops)]
    return pl.DataFrame(rows, schema=AGREEMENT_OF_DROPS_SCHEMA, orient="row")


def _printed() -> _Drops:
    drops: _Drops = {}
    # One model stands in both tables with the same cells.
    rows = load_table("classwise_results").unique(["model", "class_id"], keep="first", maintain_order=True)
    for row in rows.iter_rows(named=True):
        drops.setdefault((row["model"], "paper"), {})[row["class_id"]] = row["drop"] / 100
    return drops


def _measured(run: Run, name: str, *, by_place: bool) -> _Drops:
    """Drops by class index, or by place among the classes (the paper's class number)."""
    scores = run.scores.filter(
        (pl.col("metric") == "drop") & pl.col("class_index").is_not_null() & pl.col("value").is_not_null()
    )
    places = {index: place for place, index in enumerate(sorted(set(scores["class_index"])), start=1)}
    drops: _Drops = {}
    keys = scores.select("model", "names", "prompts", "protocol", "label_space").unique(maintain_order=True)
    several = keys["model"].is_duplicated().any()
    for row in scores.iter_rows(named=True):
        said = [row[part] for part in ("names", "prompts", "protocol", "label_space")]
        model = f"{row['model']} ({', '.join(map(str, said))})" if several else row["model"]
        index = row["class_index"]
        drops.setdefault((model, name), {})[places[index] if by_place else index] = row["value"]
    return drops


def _pairs(benchmark: str, drops: _Drops) -> Sequence[tuple[Any, ...]]:
    rows = []
    for first, second in combinations(drops, 2):
        shared = sorted(set(drops[first]) & set(drops[second]))
        values = [np.array([drops[key][place] for place in shared]) for key in (first, second)]
        found = rank_correlation(*values)
        rows.append((*first, *second, benchmark, found.value, found.low, found.high, len(shared)))
    return rows
