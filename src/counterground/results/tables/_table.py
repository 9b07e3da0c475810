"""Scores as cells of text, the same for every format in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import polars as pl

from counterground.results._numbers import count
from counterground.results._summary import (
    BALANCED,
    COMMON,
    COUNTER,
    DROP,
    MEASURES,
    WORST_GROUP,
    Measure,
    ModelScores,
    Setting,
    regroup,
    vary,
)

BY_CLASS = (COMMON, COUNTER, DROP)
TITLES = {
    "names": "Names",
    "prompts": "Prompts",
    "protocol": "Protocol",
    "as_published": "Loaded",
    "answer_score": "Answer score",
    "label_space": "Label space",
    "run": "Run",
}
Cell = tuple[str, str]


@dataclass(frozen=True)
class Column:
    """A column's title, and whether figures stand in it."""

    title: str
    numeric: bool


@dataclass(frozen=True)
class Sheet:
    """Cells as (value, interval) texts; the first ``heads`` columns name a model in its setting."""

    heads: int
    columns: list[Column]
    rows: list[list[Cell]]
    caption: str


def make_sheet(
    scores: pl.DataFrame,
    by_class: bool,
    class_names: Mapping[int, str] | None,
    *,
    most: int | None = None,
) -> Sheet:
    """Lay scores out as cells: a row per model, or per model and class.

    Args:
        scores: columns of ``scores.parquet``, and ``run`` where several runs stand together.
        by_class: one row per model and class.
        class_names: names to write for class indices.
        most: how many figures a row may have; the minor ones are left out.
    """
    models = regroup(_with_run_names(scores))
    varying = vary(models)
    columns = [Column("Model", False), *(Column(TITLES[name], False) for name in varying)]
    heads = len(columns)
    if by_class:
        columns.append(Column("Class", False))
    measures = shown_measures(models, by_class)[:most]
    columns += [Column(measure.title, True) for measure in measures] + [Column("n", True)]
    rows = []
    for model in models:
        head = [(model.setting.model, ""), *((model.setting.text(name), "") for name in varying)]
        if not by_class:
            rows.append([*head, *_cells(model, measures, None), (count(model.photos.n), "")])
            continue
        for index in sorted(model.classes):
            name = (class_names or {}).get(index, str(index))
            n = count(model.get("accuracy", None, index).n)
            rows.append([*head, (name, ""), *_cells(model, measures, index), (n, "")])
    return Sheet(heads, columns, rows, caption(models, varying, by_class))


def shown_measures(models: Sequence[ModelScores], by_class: bool) -> Sequence[Measure]:
    """The figures to show: where no model has groups, none that only groups can have."""
    if not models or any(model.has_groups for model in models):
        return BY_CLASS if by_class else MEASURES
    if by_class:
        return (BALANCED._replace(title="Accuracy"),)
    return [measure for measure in MEASURES if measure not in (*BY_CLASS, WORST_GROUP)]


def caption(models: Sequence[ModelScores], varying: Sequence[str], by_class: bool) -> str:
    """Say the units, where the intervals come from, and the settings that all rows share."""
    if not models:
        return "No scores."
    same = [
        f"{TITLES[name].lower()} {models[0].setting.text(name)}"
        for name in Setting._fields[1:]
        if name not in varying and getattr(models[0].setting, name) not in (None, False)
    ]
    clusters = sorted({model.photos.clusters for model in models if model.photos.clusters is not None})
    counted = f" from {' or '.join(count(n) for n in clusters)} clusters" if clusters and not by_class else ""
    listed = ", ".join(same)
    settings = f" {listed[0].upper()}{listed[1:]}." if same else ""
    drop = " drop in points;" if any(model.has_groups for model in models) else ""
    return f"Percent;{drop} 95 % intervals{counted}.{settings}"


def _with_run_names(scores: pl.DataFrame) -> pl.DataFrame:
    """Runs by the name of their folder; by its path, as given, where two folders have one name."""
    if "run" not in scores.columns:
        return scores
    paths = scores["run"].unique(maintain_order=True).to_list()
    names = {path: PurePath(path).name or path for path in paths}
    if len(set(names.values())) < len(paths):
        return scores
    return scores.with_columns(pl.col("run").replace(names))


def _cells(model: ModelScores, measures: Sequence[Measure], index: int | None) -> list[Cell]:
    figures = [model.get(measure.metric, measure.group, index) for measure in measures]
    return [(figure.text, figure.interval) for figure in figures]
