"""The table of scores: percent with intervals for people, fractions for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import polars as pl
from polars.selectors import float as float_columns

from counterground.metrics import DROP, GROUPS, SETTING, Contrast, registered_metrics
from counterground.results._model_scores import (
    TITLES,
    ModelScores,
    Setting,
    corrected_drops,
    headline,
    regroup,
    vary,
)
from counterground.results._schema import RunInfo
from counterground.results.tables import (
    LATEX_FIGURES,
    Cell,
    Column,
    Table,
    TextFormat,
    block,
    check_format,
    figures_that_fit,
    frame_text,
    html_paragraphs,
    html_table,
    latex_table,
    markdown_table,
    plain_text,
    rich_table,
)
from counterground.text import count

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table as RichTable

_HEADLINES = 4
_OVER_CLASSES = 3  # models
_FURTHER = 5  # the place of columns that a benchmark adds
_NOTES = 3
_ROUNDING = 1e-9


def picture_column(contrast: Contrast = DROP) -> Column:
    """Return the column with a picture of both sides."""
    left, right = contrast.titles
    return Column(
        f"{left} ● {right} ○",
        meaning=f"0 to 100 %: a disc at {left} accuracy, a ring at {right}, thin lines: intervals.",
        picture=True,
    )


PICTURE = picture_column()


class Measure(NamedTuple):
    """One figure of the overall table: which rows of the scores it comes from and what it is called."""

    metric: str
    group: str | None
    title: str
    meaning: str


def measures(models: Sequence[ModelScores]) -> list[Measure]:
    """Return the columns of a table of these models' scores, from built-in metrics and those of packages.

    Columns that say nothing are left out: metrics that the scores lack; without groups, those that need them;
    accuracy over photos if all classes have equally many; and top-5 accuracy if it is 100 % for all, as it
    must be with five names.
    """
    registered = registered_metrics()
    placed = [
        (column.place, metric.needs_groups, Measure(metric.name, column.group, column.title, column.meaning))
        for metric in registered
        for column in metric.table_columns
    ]
    further, held = (
        _contrasts_and_averages(models),
        {metric for model in models for metric, _ in model.overall} or {each.name for each in registered},
    )
    if models and not any(model.unequal_classes for model in models):
        held -= {"plain_accuracy"}
    if models and all(model.get("top5_accuracy").value == 1 for model in models):
        held -= {"top5_accuracy"}
    has_groups = not models or any(model.has_groups for model in models)
    known = [
        (place, measure)
        for place, needs_groups, measure in placed
        if measure.metric in held
        and (has_groups or not measure.group)
        and (not needs_groups or not models or _is_known(models, measure))
    ]
    return [measure for _, measure in sorted([*known, *further], key=lambda each: each[0])]


def _is_known(models: Sequence[ModelScores], measure: Measure) -> bool:
    return any(model.get(measure.metric, measure.group).value is not None for model in models)


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
            columns.append((_FURTHER, Measure(metric, None, metric[0].upper() + metric[1:], meaning)))
        elif len(sides) == 2 and not set(sides) & set(GROUPS):
            meaning = f"Accuracy on {sides[0]} minus accuracy on {sides[1]}, in points."
            if leads:
                columns += [
                    (place, Measure(metric, side, side, "Mean over strata that have both sides."))
                    for place, side in enumerate(sides, start=1)
                ]
            columns.append((3 if leads else _FURTHER, Measure(metric, None, metric, meaning)))
            leads = False
    return columns


def _sides(models: Sequence[ModelScores]) -> dict[str, list[tuple[str, ...]]]:
    """Return left and right of each further contrast, as each run defines them; none for averages."""
    registered = {metric.name for metric in registered_metrics()}
    found: dict[str, list[tuple[str, ...]]] = {}
    for model in models:
        for metric in dict.fromkeys(metric for metric, _ in model.overall if metric not in registered):
            sides = tuple(side for other, side in model.overall if other == metric and side is not None)
            if sides not in found.setdefault(metric, []):
                found[metric] += [sides] * bool(sides)
    return found


def scores_as_table(
    scores: pl.DataFrame,
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
    *,
    most: int | None = None,
    pictures: bool = False,
) -> Table:
    """Lay scores out as cells: a row per model, or per model and class.

    Args:
        scores: columns of ``scores.parquet``, and ``run`` if several runs are in one table.
        by_class: one row per model and class.
        class_names: names to write for class indices.
        most: cap on the number of figures in a row; the minor ones are left out.
        pictures: draw the accuracies of the groups next to each drop.
    """
    models = regroup(with_run_names(scores))
    varying = vary(models)
    columns = [Column("Model"), *(Column(TITLES[name]) for name in varying)]
    heads = len(columns)
    shown = _shown(models, by_class)[:most]
    columns += [Column("Class")] * by_class
    for measure in shown:
        columns += [Column(measure.title, True, measure.meaning)]
        columns += [PICTURE] * (pictures and measure.metric == "drop")
    columns.append(Column("n", True, "Photos."))
    rows = []
    for model in models:
        head = [Cell(model.setting.model), *(Cell(model.setting.text(name)) for name in varying)]
        for index in sorted(model.classes) if by_class else [None]:
            name = [] if index is None else [Cell((class_names or {}).get(index, str(index)))]
            figures = _cells(model, shown, index, pictures=pictures)
            rows.append([*head, *name, *figures, Cell(count(model.get("accuracy", None, index).n or None))])
    caption = _caption(models, varying, by_class)
    return Table(columns, rows, caption, heads=heads, grouped=by_class)


def _cells(model: ModelScores, shown: Sequence[Measure], index: int | None, *, pictures: bool) -> list[Cell]:
    cells = []
    for measure in shown:
        found = model.get(measure.metric, measure.group, index)
        cells.append(Cell(found.text, found.interval))
        if pictures and measure.metric == "drop":
            common, counter = (model.get("accuracy", group, index) for group in GROUPS)
            cells.append(Cell(picture=(common, counter)))
    return cells


def _shown(models: Sequence[ModelScores], by_class: bool) -> list[Measure]:
    """The figures to show; by class those of the groups and the drop, or the accuracy alone."""
    chosen = measures(models)
    if not by_class:
        return chosen
    held = {metric for model in models for of in model.classes.values() for metric, _ in of}
    registered = {metric.name: metric for metric in registered_metrics()}
    contrasts = [each for each in chosen if each.metric not in registered and each.metric in held]
    chosen = [each for each in chosen if each.metric in registered and registered[each.metric].by_class]
    if models and not any(model.has_groups for model in models):
        return contrasts or [measure._replace(title="Accuracy") for measure in chosen]
    pairs = [measure for measure in chosen if measure.group or registered[measure.metric].needs_groups]
    return [*pairs, *contrasts]


def _caption(models: Sequence[ModelScores], varying: Sequence[str], by_class: bool) -> str:
    """State the units, what the intervals refer to, and the settings that all rows share."""
    if not models:
        return "No scores."
    same = [
        f"{TITLES[name].lower()} {models[0].setting.text(name)}"
        for name in Setting._fields[1:]
        if name not in varying and getattr(models[0].setting, name) not in (None, False)
    ]
    clusters = sorted({model.photos.clusters for model in models if model.photos.clusters is not None})
    counted = ""
    if clusters and not by_class:
        counted = f", from {' or '.join(count(n) for n in clusters)} clusters"
        if all(model.photos.clusters == model.photos.n for model in models):
            counted = ", each photo taken as independent"
    listed = ", ".join(same)
    settings = f" {listed[0].upper()}{listed[1:]}." if same else ""
    has_groups = any(model.has_groups for model in models)
    drop = " drop in points;" if has_groups else ""
    if any(group not in (None, *GROUPS) for model in models for _, group in model.overall):
        drop = " differences in points;"
    about = " for other photos of these classes" + " and pairs" * has_groups
    classes = "" if by_class else f"{one_sided_note(models)}{_over_classes(models)}"
    ambiguous = [name for name, defined in _sides(models).items() if len(defined) > 1]
    left_out = f" Left out, since these runs define it differently: {', '.join(ambiguous)}." * bool(ambiguous)
    return f"Percent;{drop} 95 % intervals{about}{counted}.{classes}{left_out}{settings}"


def one_sided_note(models: Sequence[ModelScores]) -> str:
    """Say why a drop is not common minus counter: classes without photos of both groups count in one."""
    for model in models:
        known = [each.value for each in model.of(DROP) if each.value is not None]
        if len(known) == 3 and abs(known[0] - known[1] - known[2]) > _ROUNDING:
            return " Classes with photos of only one group count in common or counter, but not in the drop."
    return ""


def _over_classes(models: Sequence[ModelScores]) -> str:
    """Write the intervals of drops over other classes for few models; for many, say where they are."""
    drops = [(model.label, model.get("drop")) for model in models]
    known = [(label, drop.classes_interval) for label, drop in drops if drop.classes_low is not None]
    if not known:
        return ""
    if len(known) > _OVER_CLASSES:
        return " For other classes chosen like these: classes_low and classes_high in csv and json."
    listed = known[0][1] if len(drops) == 1 else ", ".join(map(" ".join, known))
    return f" Drop with other classes chosen like these: {listed}."


def with_run_names(scores: pl.DataFrame) -> pl.DataFrame:
    """Name runs by their folders, or by their paths, as given, if two folders share a name."""
    if "run" not in scores.columns:
        return scores
    paths = scores["run"].unique(maintain_order=True).to_list()
    names = {path: PurePath(path).name or path for path in paths}
    if len(set(names.values())) < len(paths):
        return scores
    return scores.with_columns(pl.col("run").replace(names))


def varying_settings(rows: pl.DataFrame) -> list[str]:
    """Return the settings, and ``run``, in which rows of models differ."""
    return [name for name in (*SETTING, "run") if name in rows.columns and rows[name].n_unique() > 1]


@overload
def format_scores(
    scores: pl.DataFrame,
    format: TextFormat,
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
) -> str: ...
@overload
def format_scores(
    scores: pl.DataFrame,
    format: Literal["table"] = "table",
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
) -> ScoresView: ...
@overload
def format_scores(
    scores: pl.DataFrame,
    format: str,
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
) -> str | ScoresView: ...
def format_scores(
    scores: pl.DataFrame,
    format: str = "table",  # noqa: A002 - the command's option has this name
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
) -> str | ScoresView:
    """Write scores for a person or a program.

    Args:
        scores: columns of ``scores.parquet``, fractions; for several runs, a first column ``run`` with the
            folder of each, which csv and json keep and tables show by its name.
        format: ``table`` (a rich renderable that fits its console), ``markdown`` and ``latex`` (booktabs)
            give percent with 95 % intervals; ``csv`` and ``json`` give the rows as they are, fractions.
        by_class: one row per model and class instead of one per model.
        class_names: names to write for class indices; csv and json by class get a ``class_name`` column.

    Raises:
        UsageError: an unknown format, or a figure that occurs twice in the same setting and run.
    """
    check_format(format)
    if format == "table":
        return ScoresView(scores, by_class, class_names)
    if format in ("csv", "json"):
        return frame_text(score_rows(scores, by_class, class_names), format)
    most = LATEX_FIGURES if format == "latex" else None
    table = scores_as_table(scores, by_class, class_names, most=most)
    return latex_table(table) if format == "latex" else markdown_table(table)


def score_rows(
    scores: pl.DataFrame, by_class: bool = False, class_names: Mapping[int, str] | None = None
) -> pl.DataFrame:
    """Return the rows of all classes together, or of each class, as csv, json and parquet hold them.

    Args:
        scores: columns of ``scores.parquet``; what is not a number becomes null.
        by_class: the rows of single classes instead of those of all together.
        class_names: names by class index, for a column ``class_name``.
    """
    chosen = pl.col("class_index").is_not_null() if by_class else pl.col("class_index").is_null()
    frame = scores.filter(chosen).with_columns(float_columns().fill_nan(None))
    if not by_class or class_names is None:
        return frame
    names = [None if index is None else class_names.get(index) for index in frame["class_index"]]
    place = frame.get_column_index("class_index") + 1
    return frame.insert_column(place, pl.Series("class_name", names, dtype=pl.String))


def scores_table(
    scores: pl.DataFrame,
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
    *,
    width: int | None = None,
) -> RichTable:
    """Return a rich table in percent; below about 140 columns, the minor figures are left out.

    Args:
        scores: columns of ``scores.parquet``.
        by_class: one row per model and class.
        class_names: names to write for class indices.
        width: columns of the terminal; by default those of rich's own console.
    """
    from rich import get_console

    width = get_console().width if width is None else width
    table = scores_as_table(scores, by_class, class_names)
    if not by_class:
        table = scores_as_table(scores, most=figures_that_fit(table, width))
    return rich_table(table, width)


@dataclass(frozen=True, eq=False, repr=False)
class ScoresView:
    """Scores for a reader: a table that fits its console, and in a notebook an HTML table."""

    scores: pl.DataFrame
    by_class: bool = False
    class_names: Mapping[int, str] | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Build the table for the console's width."""
        yield scores_table(self.scores, self.by_class, self.class_names, width=options.max_width)

    def __repr__(self) -> str:
        """Write the table as on a terminal."""
        return plain_text(self)

    def _repr_html_(self) -> str:
        return html_table(scores_as_table(self.scores, self.by_class, self.class_names, pictures=True))


def run_html(info: RunInfo, classes: int, scores: pl.DataFrame) -> str:
    """Return benchmark, headlines, table with 95 % intervals, notes and warnings of a run, in percent."""
    photos = f"{count(info.counts.photos)} photos of {count(classes)} classes"
    models, own = regroup(scores), info.benchmark.scored.contrasts[0]
    corrected = corrected_drops(models, own)
    return block(
        f"<p><b>{escape(info.benchmark.name)}</b>, {photos}</p>",
        html_paragraphs(
            [f"{headline(model, corrected[model.label], own)}." for model in models], _HEADLINES, "model"
        ),
        html_table(scores_as_table(scores, pictures=True)),
        html_paragraphs(info.benchmark.notes, _NOTES, "note", fine=True),
        html_paragraphs([f"Warning: {text}" for text in info.all_warnings], _NOTES, "warning", fine=True),
    )
