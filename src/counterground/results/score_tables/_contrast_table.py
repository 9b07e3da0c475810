"""One contrast of runs: the accuracies of its sides and their difference, as rows and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from counterground.errors import UsageError
from counterground.metrics import DROP, Contrast
from counterground.results._model_scores import TITLES, ModelScores, corrected_drops, regroup, vary
from counterground.results._run import Run, join_scores
from counterground.results._scores_table import (
    one_sided_note,
    score_rows,
    with_run_names,
)
from counterground.results.tables import Cell, Column, Table, TableView
from counterground.text import count, p_value


@dataclass(frozen=True, eq=False, repr=False)
class ContrastScores(TableView):
    """One contrast of runs, for a reader: a table that fits its console, and in a notebook an HTML table.

    Attributes:
        contrast: what is compared.
        scores: its rows, columns of ``scores.parquet`` and perhaps ``run``, of all classes and of each.
        notes: sentences on the strata that count, and on those left out.
        by_class: show one row per model and class.
        class_names: names to write for class indices.
    """

    contrast: Contrast
    scores: pl.DataFrame
    notes: tuple[str, ...]
    by_class: bool = False
    class_names: Mapping[int, str] | None = None

    @property
    def rows(self) -> pl.DataFrame:
        """The rows of all classes together, or of each class, as csv, json and parquet hold them."""
        return score_rows(self.scores, self.by_class, self.class_names)

    @property
    def table(self) -> Table:
        """A row per model, or per model and class: left, right, difference, corrected p-value, photos."""
        models = regroup(with_run_names(self.scores))
        varying, corrected = vary(models), corrected_drops(models, self.contrast)
        columns = [Column("Model"), *(Column(TITLES[name]) for name in varying)]
        heads = len(columns)
        columns += [Column("Class")] * self.by_class
        columns += [Column(title, True) for title in contrast_titles(self.contrast)]
        columns += [] if self.by_class else [Column("p (Holm)", True)]
        columns.append(Column("n", True, "Photos."))
        rows = []
        for model in models:
            head = [Cell(model.setting.model), *(Cell(model.setting.text(name)) for name in varying)]
            for index in sorted(model.classes) if self.by_class else [None]:
                p = [] if self.by_class else [Cell(p_value(corrected[model.label]))]
                rows.append([*head, *self._cells(model, index), *p, self._photos(model, index)])
        return Table(columns, rows, self._caption(), heads=heads, grouped=self.by_class)

    def _cells(self, model: ModelScores, index: int | None) -> list[Cell]:
        name = [] if index is None else [Cell((self.class_names or {}).get(index, str(index)))]
        return [*name, *(Cell(figure.text, figure.interval) for figure in model.of(self.contrast, index))]

    def _photos(self, model: ModelScores, index: int | None) -> Cell:
        return Cell(count(model.of(self.contrast, index).difference.n))

    def _caption(self) -> str:
        corrected = "" if self.by_class else " p of no difference, Holm-corrected over these models."
        about = f"Percent; difference in points; 95 % intervals for other photos.{corrected}"
        models = [] if self.by_class or self.contrast != DROP else regroup(self.scores)
        return " ".join(
            [f"{self.contrast}.", about, *(() if self.by_class else self.notes)]
        ) + one_sided_note(models)


def contrast_titles(contrast: Contrast) -> tuple[str, str, str]:
    """Return what tables call left, right and left minus right."""
    if contrast == DROP:
        return "Common", "Counter", "Drop"
    return contrast.left, contrast.right, contrast.name


def contrast_scores(
    runs: Sequence[Run],
    contrast: str | Contrast,
    *,
    named: bool = False,
    by_class: bool = False,
    class_names: Mapping[int, str] | None = None,
) -> ContrastScores:
    """Return one contrast of runs.

    Args:
        runs: one run or several.
        contrast: a contrast, the name of one of the runs' designs, or an expression.
        named: prepend a column ``run`` with the folder of each.
        by_class: show one row per model and class.
        class_names: names to write for class indices.

    Raises:
        UsageError: there is no such contrast, it does not fit these photos, or the runs have different ones.
    """
    chosen = one_contrast(runs, contrast)
    scores = join_scores([run.with_contrast(chosen) for run in runs], named=named)
    keys = (*chosen.side_keys, chosen.difference_key)
    held = pl.any_horizontal(
        (pl.col("metric") == metric) & pl.col("group").eq_missing(pl.lit(group, pl.String))
        for metric, group in keys
    )
    notes = dict.fromkeys(note for run in runs for note in strata_notes(run, chosen))
    return ContrastScores(chosen, scores.filter(held), tuple(notes), by_class, class_names)


def one_contrast(runs: Sequence[Run], contrast: str | Contrast) -> Contrast:
    """Return the contrast that a name or an expression defines for all of some runs.

    Raises:
        UsageError: there is no such contrast, it does not fit these photos, or the runs have different ones.
    """
    text = contrast if isinstance(contrast, str) else str(contrast)
    found = list(dict.fromkeys(run.contrast(text) for run in runs))
    if len(found) > 1:
        listed = "; ".join(map(str, found))
        raise UsageError(f"The runs have several contrasts called {text!r} ({listed}): write one out.")
    return found[0]


def strata_notes(run: Run, contrast: Contrast) -> list[str]:
    """Say how many strata count, and how many are left out because they have photos on only one side."""
    photos = {id(answers.photos): answers.photos for answers in run.answers.values()}
    notes = []
    for sides in (each.sides(contrast) for each in photos.values()):
        if not contrast.within or any(side.average is not None for side in contrast.sides):
            continue
        over = " and ".join(contrast.within)
        note = f"Mean over {sides.strata:,} {'stratum' if sides.strata == 1 else 'strata'} of {over}"
        left_out = f"; {sides.left_out:,} with photos on one side only left out" if sides.left_out else ""
        notes.append(f"{note}{left_out}.")
    return notes
