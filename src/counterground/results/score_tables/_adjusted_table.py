"""A contrast of runs with covariates held, next to the contrast as it is: as rows and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from counterground.metrics import LOGGED, Contrast
from counterground.results._model_scores import TITLES, setting_text
from counterground.results._numbers import Estimate, count
from counterground.results._run import Run, join_frames
from counterground.results._scores_table import (
    kind_of_intervals,
    loading_stamp,
    varying_settings,
    with_run_names,
)
from counterground.results.score_tables._contrast_table import one_contrast
from counterground.results.tables import Cell, Column, Table, TableView
from counterground.text import counted

FIGURES = {
    "unadjusted": ("Unadjusted", "The contrast as it is, in points."),
    "adjusted": ("Adjusted", "The contrast with the covariates held, in points."),
    "difference": ("Difference", "Adjusted less unadjusted, in points."),
}
CAUTION = (
    "Only these covariates are held. The sides may differ in others, so this is not an effect of the sides "
    "alone."
)
"""What an adjusted contrast is conditional on."""


@dataclass(frozen=True, eq=False, repr=False)
class AdjustedScores(TableView):
    """A contrast with covariates held, for a reader: a table that fits its console, or an HTML table.

    Attributes:
        contrast: what is compared.
        rows: ``metrics.ADJUSTED_SCHEMA``, perhaps with ``run`` first.
    """

    contrast: Contrast
    rows: pl.DataFrame

    @property
    def table(self) -> Table:
        """A row per model: unadjusted, adjusted, and their difference; the caption says what is held."""
        rows, settings = with_run_names(self.rows), varying_settings(self.rows)
        columns = [Column("Model"), *(Column(TITLES[name]) for name in settings)]
        columns += [Column(title, True, meaning) for title, meaning in FIGURES.values()]
        columns.append(Column("n", True, "Photos."))
        first, *others = (rows.filter(metric=name).iter_rows(named=True) for name in FIGURES)
        cells = []
        for figures in zip(first, *others, strict=True):
            about = figures[0]
            heads = [about["model"], *(setting_text(name, about[name]) for name in settings)]
            found = [Estimate.of(row) for row in figures]
            cells.append(
                [
                    *map(Cell, heads),
                    *(Cell(each.text, each.interval) for each in found),
                    Cell(count(about["n"])),
                ]
            )
        return Table(columns, cells, self._caption(), heads=1 + len(settings))

    def _caption(self) -> str:
        kind = kind_of_intervals(self.rows["anytime"])
        lines = [f"{self.contrast}. Points; {kind} for other photos."]
        held = self.rows.select("covariates", "strata", "shared_slopes", "missing")
        for about in held.unique(maintain_order=True).iter_rows(named=True):
            lines += self._held(about)
        overlap = (
            self.rows.drop_nulls("covariate")
            .select("covariate", "metric", "value")
            .unique(maintain_order=True)
        )
        lines += [
            self._overlap(name, part) for (name,), part in overlap.group_by("covariate", maintain_order=True)
        ]
        return " ".join([*lines, CAUTION]) + loading_stamp(self.rows["as_published"])

    def _held(self, about: dict[str, Any]) -> list[str]:
        """Say what is held and by which model, and how many photos lack it."""
        names = [
            f"{name} (logarithm)" if name in LOGGED else name for name in about["covariates"].split(", ")
        ]
        within = " and ".join(self.contrast.within)
        strata = f"{counted(about['strata'], 'stratum')} of {within}".replace("stratums", "strata")
        if not within or about["strata"] == 1:
            model = "one linear model for each side"
        elif about["shared_slopes"]:
            model = (
                f"one linear model for each side, with an intercept for each of {strata} (too few photos for "
                "models of their own)"
            )
        else:
            model = f"linear models for each side in each of {strata}"
        sentences = [f"Held: {', '.join(names)}, by {model}."]
        if about["missing"]:
            lack = "lacks a covariate and is" if about["missing"] == 1 else "lack a covariate and are"
            sentences.append(f"{counted(about['missing'], 'photo')} {lack} left out of all three figures.")
        return sentences

    def _overlap(self, covariate: str, found: pl.DataFrame) -> str:
        """Say how far apart the sides are in a covariate; for runs with different photos, how far at most."""
        left, right = self.contrast.titles
        most = {
            name: max(part["value"], key=abs)
            for (name,), part in found.group_by("metric", maintain_order=True)
        }
        way = "above" if most["shift"] > 0 else "below"
        return (
            f"In {covariate}, {left} lies {abs(most['shift']):.2f} standard deviations {way} {right}; "
            f"{100 * most['left_outside']:.0f} % and {100 * most['right_outside']:.0f} % of their photos are "
            "outside the range of the other."
        )


def adjusted_scores(
    runs: Sequence[Run],
    covariates: Sequence[str],
    contrast: str | Contrast | None = None,
    *,
    named: bool = False,
) -> AdjustedScores:
    """Return a contrast of runs with covariates held.

    Args:
        runs: one run or several.
        covariates: names of columns, or ``size``, ``position``, ``photo``.
        contrast: a contrast, the name of one of the runs' designs, or an expression; None for the first of
            their designs.
        named: prepend a column ``run`` with the folder of each.

    Raises:
        UsageError: there is no such contrast or covariate.
        CounterGroundError: the sides do not overlap, or anything else prevents adjusting.
    """
    chosen = one_contrast(runs, runs[0].design.contrasts[0] if contrast is None else contrast)
    frames = [run.adjusted(chosen, covariates) for run in runs]
    return AdjustedScores(chosen, join_frames(runs, frames, named=named))
