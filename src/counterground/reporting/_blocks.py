"""What the page folds away: a table, and perhaps a picture, for each question that runs can answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from counterground.findings import PLACEBO, Words
from counterground.metrics import CELLS, DESIGN, KEYS, Answers, Estimate, breakdowns, in_setting
from counterground.reporting._chart import SIDES, Chart, Line, Mark, draw_chart
from counterground.results import (
    Cell,
    Column,
    MethodRecord,
    MitigationRecord,
    ModelScores,
    Run,
    Table,
    effect_title,
    has_unpaired_backgrounds,
    strata_notes,
)
from counterground.text import count, counted

COLUMNS = 12
"""So many models have room in a table."""
_CELLS, _VALUES = 48, 20
_EFFECTS = {
    "observed_drop": "Accuracy on common minus counter photos, of the photos whose objects were cut out.",
    "background_effect": "Accuracy on the same objects: common minus counter backgrounds.",
    "background_part": "The same, over the classes that the drop is measured on.",
    "size_effect": "The same, with sizes and positions of common minus those of counter photos.",
    "rest": "What neither explains: other differences between the photos.",
    "background_share": "Only where the drop is clearly above 0.",
    "mixed_same": "Accuracy on backgrounds of other photos of the class.",
    "mixed_rand": "Accuracy on backgrounds of photos of any class.",
    "bg_gap": "Mixed-Same minus Mixed-Rand (Xiao et al. 2021).",
    "adversarial": "Share of objects, on backgrounds of other classes; it grows with the number of these.",
    "flip_share": "Share of objects; it grows with the number of backgrounds.",
    "background_only": "The object is removed.",
    "pasted_cost": "Placebo: accuracy lost when an object is pasted onto its own photo.",
    "refilled_cost": "Placebo: accuracy lost when it is pasted onto its own background, filled in behind it.",
    "same_label_cost": "Placebo: accuracy lost on another photo’s background of the same label.",
}
_PARTS = ("observed_drop", "background_effect", "background_part", "size_effect", "rest")
COSTS = ("pasted_cost", "refilled_cost", "same_label_cost")
Marked = Sequence[tuple[str, Mark]]
"""Labels of models, or of quantities, with their marks on the page."""
Models = Sequence[tuple[ModelScores, Run]]


@dataclass(frozen=True)
class Block:
    """A folded part of the page: its anchor, a table, perhaps a picture above it, and what to know before."""

    anchor: str
    table: Table
    chart: Chart | None = None
    notes: Sequence[str] = ()


def make_block(
    anchor: str,
    title: str,
    caption: str,
    lines: Sequence[Line],
    marks: Marked,
    *,
    head: str,
    drawn: Sequence[Line] = (),
    notes: Sequence[str] = (),
) -> Block:
    """Return lines as a table of the first 12 models, and some of them as a picture.

    Args:
        anchor: name of the block in the page.
        title: what unfolds it.
        caption: what the figures are; that they have intervals is said.
        lines: rows.
        marks: what each estimate of a line is of.
        head: what the rows are.
        drawn: the lines of the picture.
        notes: what to know before the figures are quoted.
    """
    heads = [label for label, _ in marks[:COLUMNS]]
    counts = any(line.n is not None for line in lines)
    columns = [Column(head), *(Column(each, True) for each in heads), *[Column("n", True)] * counts]
    rows = []
    for line in lines:
        tags = [*line.tags, *[""] * len(heads)]
        figures = list(zip(line.estimates[: len(heads)], tags, strict=False))
        cells = [Cell(estimate.text, f"{estimate.interval} {tag}".strip()) for estimate, tag in figures]
        rows.append([Cell(line.title, line.meaning), *cells, *[Cell(count(line.n))] * counts])
    more = f" The first {COLUMNS} of {len(marks)} models." if len(marks) > COLUMNS else ""
    table = Table(columns, rows, f"{caption} Intervals: 95 %, each for itself.{more}", title)
    return Block(anchor, table, draw_chart(drawn, marks), notes)


def class_block(lines: Sequence[Line], marks: Marked, words: Words) -> Block:
    """Return the difference in each class; lines come with the largest mean first, those without one last."""
    caption = f"Accuracy on {words.left} minus accuracy on {words.right}, in points, largest mean first."
    title = f"{words.titles[2]} per class"
    return make_block("classes", title, caption, lines, marks, head="Class", drawn=lines)


def design_blocks(models: Models, marks: Marked, words: Words) -> Iterator[Block]:
    """Return all contrasts if there are several, cells that are not class x group, and attributes."""
    runs = list({id(run): run for _, run in models}.values())
    design, photos = runs[0].design, runs[0].photos
    if runs[0].info.intervention is not None:
        yield _accuracies(models, ("swap",), marks)
        return
    lines = [
        Line(
            contrast.name,
            [model.of(contrast).difference for model, _ in models],
            "; ".join(
                [
                    f"{Words(contrast).left} minus {Words(contrast).right}. {Words(contrast).held}",
                    *dict.fromkeys(note for run in runs for note in strata_notes(run, contrast)),
                ]
            ),
        )
        for contrast in dict.fromkeys([*design.contrasts, words.contrast])
    ]
    lines = [line for line in lines if line.known]
    if len(lines) > 1:
        yield make_block(
            "contrasts",
            "All contrasts",
            "Left minus right in points, not corrected for the number of contrasts.",
            lines,
            marks,
            head="Contrast",
            notes=["counterground report --contrast NAME makes this page about another contrast."],
        )
    if design != DESIGN:
        yield _cells(models, design.cells, list(design.weights), marks)
    for name in [*breakdowns(photos), *["background"] * any(map(has_unpaired_backgrounds, runs))]:
        yield _accuracies(models, (name,), marks)


def _accuracies(models: Models, columns: tuple[str, ...], marks: Marked) -> Block:
    lines = sorted(_values(models, columns, balanced=True), key=lambda line: -(line.n or 0))
    shown = sorted(lines[:_VALUES], key=lambda line: (-line.mean, line.title))
    few = f" The {_VALUES} with the most photos of {len(lines)}." if len(lines) > _VALUES else ""
    caption = f"Percent, over the classes that have photos there, so values also differ in classes.{few}"
    name = _readable(columns[0])
    title = f"Accuracy by {name}"
    return make_block(f"by-{columns[0]}-", title, caption, shown, marks, head=name.capitalize())


def _cells(models: Models, columns: tuple[str, ...], weights: Sequence[str], marks: Marked) -> Block:
    """Return accuracy by cell, the lowest of each model marked, and what summarizes the cells."""
    lines = _values(models, columns, balanced=False)
    of_models = zip(*(line.estimates for line in lines), strict=True)
    ranked = [
        sorted((each.value, -each.n, k) for k, each in enumerate(of_model) if each.value is not None)
        for of_model in of_models
    ]
    lowest = [of_model[0][2] if of_model else None for of_model in ranked]
    tagged = [line._replace(tags=["worst" * (k == low) for low in lowest]) for k, line in enumerate(lines)]
    shown = sorted(tagged, key=lambda line: (not any(line.tags), line.mean))[:_CELLS]
    shown.sort(key=lambda line: line.title)
    of = [("Mean minus worst", "mean_minus_worst")]
    of += [(f"Average weighted by {name}", f"average({name})") for name in weights]
    few = f" The {_CELLS} lowest of {len(lines)} cells." if len(lines) > _CELLS else ""
    return make_block(
        "cells",
        "Accuracy by cell",
        f"Percent. Each model’s lowest cell is marked: some cell is the lowest by chance alone.{few}",
        [*shown, *(Line(title, [model.get(metric) for model, _ in models]) for title, metric in of)],
        marks,
        head=" · ".join(map(_readable, columns)).capitalize(),
    )


def _values(models: Models, columns: tuple[str, ...], *, balanced: bool) -> list[Line]:
    """Return the accuracy of models by the values of columns."""
    tables = {id(run): run.by(columns, balanced=balanced) for _, run in models}
    known = [
        {row["level"]: Estimate.of(row) for row in rows.iter_rows(named=True)}
        for model, run in models
        for rows in [tables[id(run)].filter(in_setting(model.setting._asdict()))]
    ]
    lines = []
    for level in sorted(set().union(*known), key=lambda level: level.split(CELLS)):
        estimates = [of_model.get(level, Estimate()) for of_model in known]
        lines.append(Line(level.replace(CELLS, " · "), estimates, n=max(each.n for each in estimates)))
    return lines


def _readable(column: str) -> str:
    return {"class_name": "class", "swap": "kind of composite"}.get(column, column.replace("_", " "))


@dataclass(frozen=True)
class Effects:
    """What a run on composites shows.

    Attributes:
        run: the run.
        marks: its models, by the labels of the page.
        estimates: those of ``Run.effects`` by label, metric, class and background.
        levels: the level of each metric, as the number of backgrounds.
        answers: what each model answered.
    """

    run: Run
    marks: Marked
    estimates: Mapping[tuple[str, str, str | None, str | None], Estimate]
    levels: Mapping[str, str | None]
    answers: Mapping[str, Answers]

    @classmethod
    def of(cls, run: Run, models: Sequence[tuple[ModelScores, Mark]]) -> Effects:
        """Read the effects of a run on composites, of its models under the labels of the page."""
        effects, names = run.effects(), dict(run.photos.select("class_index", "class_name").unique().rows())
        estimates, levels = {}, {}
        for model, _ in models:
            for row in effects.filter(in_setting(model.setting._asdict())).iter_rows(named=True):
                background = row["level"] if row["column"] == "background" else None
                key = (model.label, row["metric"], names.get(row["class_index"]), background)
                estimates[key], levels[row["metric"]] = Estimate.of(row), row["level"]
        answers = {model.label: run.answers[model.setting[: len(KEYS)]] for model, _ in models}
        return cls(run, [(model.label, mark) for model, mark in models], estimates, levels, answers)

    def get(
        self, label: str, metric: str, name: str | None = None, background: str | None = None
    ) -> Estimate:
        """Return an estimate; one without a value if the composites do not show it."""
        return self.estimates.get((label, metric, name, background), Estimate())

    def cost(self, label: str) -> float:
        """What editing alone costs at most (fraction), in either direction."""
        return max((self.get(label, metric).value or 0.0 for metric in COSTS), key=abs)

    def blocks(self, name: str, notes: Sequence[str], *, by_class: bool) -> Iterator[Block]:
        """Return all estimates, the effect of each background, and (``by_class``) that in each class.

        Args:
            name: what the run is called, if there are several; else empty.
            notes: what to know before the figures are quoted.
            by_class: whether no other table has them.
        """
        lines = [line for line in (self._line(metric) for metric in _EFFECTS) if line.known]
        parts = [line for line in lines if line.title in map(self._title, _PARTS)]
        record, own = self.run.info.intervention, f": {name}" if name else ""
        assert record is not None
        about = (
            f"The objects of {counted(record.foregrounds, 'photo')} on the backgrounds of "
            f"{counted(record.backgrounds, 'photo')} of {record.source.name}; differences in points."
        )
        title = f"What the background causes{own}"
        yield make_block(
            f"causes{name}", title, about, lines, self.marks, head="Estimate", drawn=parts, notes=notes
        )
        for metric, place, what in (
            ("background_against_mean", 3, "Accuracy on each background, against all"),
            ("background_effect", 2, "Background effect per class"),
        ):
            values = {key[place] for key in self.estimates if key[1] == metric} - {None}
            each = [self._line(metric, **{("name", "background")[place - 2]: str(value)}) for value in values]
            each.sort(key=lambda line: (-line.mean, line.title))
            if each and (by_class or metric != "background_effect"):
                caption = "The same objects; points, largest first."
                anchor, head = f"{metric}{name}", ("Class", "Background")[place - 2]
                yield make_block(anchor, f"{what}{own}", caption, each, self.marks, head=head, drawn=each)

    def _title(self, metric: str) -> str:
        has_part = any(self.get(label, "background_part").value is not None for label, _ in self.marks)
        return effect_title(metric, self.levels.get(metric), has_part=has_part)

    def _line(self, metric: str, **of: str) -> Line:
        estimates = [self.get(label, metric, **of) for label, _ in self.marks]
        if of:
            return Line(next(iter(of.values())), estimates)
        beyond = f"beyond ±{100 * PLACEBO:g}" if metric in COSTS else ""
        tags = [beyond if abs(each.value or 0) > PLACEBO else "" for each in estimates]
        return Line(self._title(metric), estimates, _EFFECTS[metric], tags)


def mitigation_block(record: MitigationRecord, notes: Sequence[str], *, anchor: str) -> Block:
    """Return the table of a run of `counterground mitigate`, and gain and cost of each method."""
    marks = list(zip(("gain", "cost"), SIDES, strict=True))
    table = record.table
    first, *methods = table.rows
    rows = [[Cell(record.model, "unchanged"), *first[1:]]]
    for row, method in zip(methods, record.methods, strict=True):
        rows.append([Cell(method.name, _about_method(method)), *row[1:]])
    for name, reason in record.left_out.items():
        rows.append([Cell(name, f"Left out: {reason}"), *[Cell()] * (len(first) - 1)])
    caption = (
        f"Percent and points, with paired 95 % intervals. Gain: by how much the {record.noun} shrinks. Cost: "
        f"accuracy lost on {record.sides[0]}. p is Holm-corrected over {counted(record.tests, 'test')}."
    )
    title = f"What would make the {record.noun} smaller"
    lines = [Line(method.name, [method.gain, method.cost]) for method in record.methods]
    return Block(anchor, Table(table.columns, rows, caption, title), draw_chart(lines, marks), notes)


def _about_method(method: MethodRecord) -> str:
    kind = "reversed" if method.reverses else "smaller by loss" if method.loses else "smaller"
    return f"{f'({kind}) ' if method.helps else ''}{method.title}. {method.source}."
