"""Rows of scores laid out as a table: percent with intervals for people, fractions for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from typing import NamedTuple

import polars as pl
from polars.selectors import float as float_columns

from counterground.catalogue import Finding
from counterground.metrics import (
    CELLS,
    DROP,
    KEYS,
    SETTING,
    Contrast,
    Estimate,
    ScoreKey,
    registered_metrics,
)
from counterground.results._model_scores import (
    TITLES,
    ModelScores,
    Setting,
    regroup,
    setting_text,
    vary,
)
from counterground.results._schema import RunInfo
from counterground.results._table import Cell, Column, Table
from counterground.results._view import TableView, block, html_paragraphs, html_table
from counterground.text import NOTHING, count, counted, p_value

EFFECTS = {
    "observed_drop": "Observed drop",
    "background_effect": "= background",
    "background_part": "= background, of these classes",
    "size_effect": "+ size and position",
    "rest": "+ rest",
    "background_share": "Background's share of the drop",
    "background_against_grey": "{level}, against plain grey",
    "background_against_mean": "{level}, against all backgrounds",
    "mixed_same": "Mixed-Same",
    "mixed_rand": "Mixed-Rand",
    "bg_gap": "BG-Gap",
    "adversarial": "Wrong on any of {level} backgrounds",
    "flip_share": "Several answers on {level} backgrounds",
    "background_only": "Background alone",
    "chance": "Chance",
    "pasted_cost": "Cost of pasting onto the same photo",
    "refilled_cost": "Cost of refilling the background",
    "same_label_cost": "Cost of another photo of the label",
}
"""What tables call the estimates of ``metrics.swap_effects``, in their order; see `effect_title`."""
WHOLE_EFFECT = "Background effect, of all classes"
"""What tables call ``background_effect`` beside a ``background_part``, which is the one that sums."""
_FURTHER = 5  # the place of columns that a benchmark adds
_NOTES = 3
_ALWAYS = 3  # columns of estimates that any terminal shows


class Measure(NamedTuple):
    """One column of estimates: the rows of scores that it is of, and what it is called."""

    key: ScoreKey
    title: str
    meaning: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class ScoresTable(TableView):
    """Scores for a reader: a table that fits its console, and in a notebook an HTML table.

    Attributes:
        scores: columns of ``scores.parquet``, and a first column ``run`` if several runs are in one table.
        by: None for a row per model, ``class`` for one per model and class, else the rows as they are, one
            per model and value of a column or effect.
        class_names: names to write for class indices.
        contrast: the contrast that the rows are of; None: the scores of a benchmark.
        about: what else its caption says.
        findings: what the scores allow to say.
    """

    scores: pl.DataFrame
    by: str | None = None
    class_names: Mapping[int, str] | None = None
    contrast: Contrast | None = None
    about: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def rows(self) -> pl.DataFrame:
        """The rows as csv, json and parquet hold them; what is not a number is null."""
        frame = self.scores.with_columns(float_columns().fill_nan(None))
        if self.by in (None, "class"):
            frame = frame.filter(pl.col("class_index").is_null() == (self.by is None))
        if self.by is None or self.class_names is None:
            return frame
        names = [None if index is None else self.class_names.get(index) for index in frame["class_index"]]
        place = frame.get_column_index("class_index") + 1
        return frame.insert_column(place, pl.Series("class_name", names, dtype=pl.String))

    @property
    def table(self) -> Table:
        """The rows in percent."""
        scores = _with_run_names(self.scores)
        if self.by not in (None, "class"):
            return _one_by_one(scores, self.class_names or {}, self.about)
        models = regroup(scores)
        shown = _shown(models, self.by)
        if self.contrast is not None:
            keys = (*self.contrast.side_keys, self.contrast.difference_key)
            shown = [*map(Measure, keys, contrast_titles(self.contrast))]
        return _by_model(models, shown, _caption(models, self), self)


def _by_model(
    models: Sequence[ModelScores], shown: Sequence[Measure], caption: str, of: ScoresTable
) -> Table:
    """Lay out a row per model, or per model and class, with a column per estimate."""
    varying, by_class, contrast = vary(models), of.by == "class", of.contrast
    corrected = contrast if contrast and not by_class else None
    columns = [Column("Model"), *(Column(TITLES[name]) for name in varying)]
    heads = len(columns)
    columns += [Column("Class")] * by_class
    for place, measure in enumerate(shown):
        columns.append(Column(measure.title, True, measure.meaning, minor=place >= _ALWAYS))
    columns += [Column("p (Holm)", True, minor=True)] * (corrected is not None)
    columns.append(Column("n", True, "Photos."))
    rows = []
    for model in models:
        head = [Cell(model.setting.model), *(Cell(model.setting.text(name)) for name in varying)]
        for index in sorted(model.classes) if by_class else [None]:
            row = [*head]
            if index is not None:
                row.append(Cell((of.class_names or {}).get(index, str(index))))
            for measure in shown:
                estimate = model.get(measure.key, None, index)
                row.append(Cell(estimate.text, estimate.interval))
            if corrected is not None:
                row.append(Cell(p_value(model.get(corrected.difference_key).p_corrected)))
            n = model.get("accuracy" if contrast is None else contrast.difference_key, None, index).n
            rows.append([*row, Cell(count(n if contrast else n or None))])
    return Table(columns, rows, caption, heads=heads, grouped=by_class)


def _one_by_one(scores: pl.DataFrame, class_names: Mapping[int, str], about: Sequence[str]) -> Table:
    """Lay out a row per model, class if there are any, and value of a column or effect of a background."""
    settings = [name for name in (*SETTING, "run") if name in scores.columns and scores[name].n_unique() > 1]
    is_effect = bool(scores["metric"].is_in(list(EFFECTS)).all())
    by_class = scores["class_index"].null_count() < scores.height
    columns = [Column("Model"), *(Column(TITLES[name]) for name in settings), *[Column("Class")] * by_class]
    heads = len(columns)
    if is_effect:
        columns += [Column("Effect"), Column("Value", True), Column("p", True, minor=True)]
    else:
        columns += [Column(_title(str(scores["column"][0]))), Column("Accuracy", True)]
    columns.append(Column("n", True, "Photos."))
    keys = [name for name in (*KEYS, "run", "class_index") if name in scores.columns]
    scores = scores.with_columns(has_part=(pl.col("metric") == "background_part").any().over(keys))
    rows = []
    for row in scores.iter_rows(named=True):
        estimate = Estimate.of(row)
        cells = [row["model"], *(setting_text(row[name]) for name in settings)]
        cells += [class_names.get(row["class_index"], str(row["class_index"]))] * by_class
        if is_effect:
            cells.append(effect_title(row["metric"], row["level"], has_part=row["has_part"]))
        else:
            cells.append(row["level"].replace(CELLS, ", "))
        figures = [Cell(estimate.text, estimate.interval)]
        figures += [Cell(p_value(estimate.p_value))] * is_effect
        figures.append(Cell(count(estimate.n) if estimate.n or not is_effect else NOTHING))
        rows.append([*map(Cell, cells), *figures])
    return Table(columns, rows, "; ".join(about), heads=heads, grouped=True)


def _title(column: str) -> str:
    column = column.replace("class_name", "class").replace(CELLS, ", ").replace("_", " ")
    return column[0].upper() + column[1:]


def effect_title(metric: str, level: str | None = None, *, has_part: bool = False) -> str:
    """Return what tables call an effect of a background, or on a number of backgrounds.

    ``has_part``: whether ``background_part`` stands beside it.
    """
    if has_part and metric == "background_effect":
        return WHOLE_EFFECT
    if metric == "adversarial" and level == "1":
        return "Wrong on 1 background"
    return EFFECTS[metric].format(level=level)


def contrast_titles(contrast: Contrast) -> tuple[str, str, str]:
    """Return what tables call left, right and left minus right."""
    if contrast == DROP:
        return "Common", "Counter", "Drop"
    return contrast.left, contrast.right, contrast.name


def measures(models: Sequence[ModelScores]) -> list[Measure]:
    """Return the columns of a table of these models' scores, from built-in metrics and those of packages.

    Columns that say nothing are left out: metrics that the scores lack; without groups, those that need them;
    accuracy over photos if all classes have equally many; and top-5 accuracy if it is 100 % for all, as it
    must be with five names.
    """
    registered = registered_metrics()
    known = {key.metric for model in models for key in model.overall} or {each.name for each in registered}
    if models and not any(model.unequal_classes for model in models):
        known -= {"plain_accuracy"}
    if models and all(model.get("top5_accuracy").value == 1 for model in models):
        known -= {"top5_accuracy"}
    has_groups = not models or any(model.has_groups for model in models)
    placed = _contrasts_and_averages(models)
    for metric in registered:
        for column in metric.table_columns:
            key = ScoreKey.of_group(column.group, metric.name)
            key = DROP.difference_key if metric.name == DROP.name else key
            is_known = not models or any(model.get(key).value is not None for model in models)
            if metric.name in known and is_known and (has_groups or not column.group):
                placed.append((column.place, Measure(key, column.title, column.meaning)))
    return [measure for _, measure in sorted(placed, key=lambda each: each[0])]


def _contrasts_and_averages(models: Sequence[ModelScores]) -> list[tuple[int, Measure]]:
    """Return the columns of further contrasts and of averages by named shares, with their places.

    Without common and counter photos the first contrast is the benchmark's own, and comes first.
    """
    leads = not any(model.has_groups for model in models)
    columns = []
    for metric, defined in _sides(models).items():
        sides = defined[0] if len(defined) == 1 else ()
        if metric.startswith("average("):
            meaning = "Accuracy of the cells, averaged by named shares, such as those of the training set."
            columns.append((_FURTHER, Measure(ScoreKey(metric), metric[0].upper() + metric[1:], meaning)))
        elif len(sides) == 2:
            meaning = f"Accuracy on {sides[0]} minus accuracy on {sides[1]}, in points."
            if leads:
                over = "Mean over strata that have both sides."
                keys = [ScoreKey("accuracy", metric, "side", side) for side in sides]
                columns += [(at, Measure(key, str(key.level), over)) for at, key in enumerate(keys, start=1)]
            columns.append((3 if leads else _FURTHER, Measure(ScoreKey(metric, metric), metric, meaning)))
            leads = False
    return columns


def _sides(models: Sequence[ModelScores]) -> dict[str, list[tuple[str, ...]]]:
    """Return left and right of each further contrast, as each run defines them; none for averages."""
    registered = {metric.name for metric in registered_metrics()}
    defined: dict[str, list[tuple[str, ...]]] = {}
    for model in models:
        for metric in dict.fromkeys(key.metric for key in model.overall if key.metric not in registered):
            sides = tuple(
                str(key.level) for key in model.overall if key.contrast == metric and key.column == "side"
            )
            if sides not in defined.setdefault(metric, []):
                defined[metric] += [sides] * bool(sides)
    return defined


def _shown(models: Sequence[ModelScores], by: str | None) -> list[Measure]:
    """The estimates to show; by class those of the groups and the drop, or the accuracy alone."""
    chosen = measures(models)
    if by is None:
        return chosen
    known = {key for model in models for of in model.classes.values() for key in of}
    registered = {metric.name: metric for metric in registered_metrics()}
    rest = [each for each in chosen if each.key.metric in registered and each.key.column != "side"]
    contrasts = [each for each in chosen if each not in rest and each.key in known]
    rest = [each for each in rest if registered[each.key.metric].by_class]
    if models and not any(model.has_groups for model in models):
        return contrasts or [each._replace(title="Accuracy") for each in rest]
    pairs = [each for each in rest if each.key.level or registered[each.key.metric].needs_groups]
    return [*pairs, *contrasts]


def _caption(models: Sequence[ModelScores], of: ScoresTable) -> str:
    """State the units, what the intervals refer to, and the settings that all rows share."""
    if not models:
        return "no scores"
    parts = ["percent", "differences in points", "95 % intervals for other photos of these classes"]
    known = {model.photos.fewest_clusters for model in models} - {None}
    if known and of.by is None and of.contrast is None:
        alone = all(model.photos.fewest_clusters == model.photos.n for model in models)
        numbers = " or ".join(count(n) for n in sorted(filter(None, known)))
        parts.append("each photo taken as independent" if alone else f"{numbers} clusters")
    if of.contrast is not None:
        family = max((model.of(of.contrast).difference.family or 0 for model in models), default=0)
        corrected = [f"p and its intervals corrected for {counted(family, 'test')}"] if family else []
        parts = [str(of.contrast), *parts, *corrected]
    elif ambiguous := [name for name, defined in _sides(models).items() if len(defined) > 1]:
        parts.append(f"left out, since these runs define it differently: {', '.join(ambiguous)}")
    else:
        same = [name for name in Setting._fields[1:] if name not in vary(models)]
        parts += [
            f"{TITLES[name].lower()} {models[0].setting.text(name)}"
            for name in same
            if getattr(models[0].setting, name) is not None
        ]
    return "; ".join([*parts, *of.about])


def _with_run_names(scores: pl.DataFrame) -> pl.DataFrame:
    """Name runs by their folders, or by their paths, as given, if two folders share a name."""
    if "run" not in scores.columns:
        return scores
    paths = scores["run"].unique(maintain_order=True).to_list()
    names = {path: PurePath(path).name or path for path in paths}
    if len(set(names.values())) < len(paths):
        return scores
    return scores.with_columns(pl.col("run").replace(names))


def run_html(info: RunInfo, classes: int, scores: pl.DataFrame) -> str:
    """Return benchmark, table with 95 % intervals, notes and warnings of a run, in percent."""
    photos = f"{count(info.counts.photos)} photos of {count(classes)} classes"
    return block(
        f"<p><b>{escape(info.benchmark.name)}</b>, {photos}</p>",
        html_table(ScoresTable(scores).table),
        html_paragraphs(info.benchmark.notes, _NOTES, "note", fine=True),
        html_paragraphs([f"Warning: {text}" for text in info.all_warnings], _NOTES, "warning", fine=True),
    )
