"""A contrast of runs with covariates held, next to the contrast as it is: as rows and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.metrics import LOGGED, SETTING, Contrast
from counterground.results._model_scores import TITLES, setting_text
from counterground.results._numbers import Estimate, count
from counterground.results._run import Run
from counterground.results._scores_table import frame_text, kind_of_intervals, with_run_names
from counterground.results.score_tables._contrast_table import one_contrast
from counterground.results.tables import (
    Cell,
    Column,
    Table,
    html_table,
    latex_table,
    markdown_table,
    plain_text,
    rich_table,
)
from counterground.text import counted

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

FIGURES = {
    "unadjusted": ("Unadjusted", "The contrast as it is, in points."),
    "adjusted": ("Adjusted", "The contrast with the covariates held, in points."),
    "difference": ("Difference", "Adjusted less unadjusted, in points."),
}
CAUTION = (
    "Only these covariates are held. The sides may differ in others, so this is no effect of the sides alone."
)
"""What an adjusted contrast is conditional on."""


@dataclass(frozen=True, eq=False, repr=False)
class AdjustedScores:
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
        rows = with_run_names(self.rows)
        settings = [name for name in (*SETTING, "run") if name in rows.columns and rows[name].n_unique() > 1]
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
        told = ("covariates", "strata", "shared_slopes", "missing")
        for about in self.rows.select(told).unique(maintain_order=True).iter_rows(named=True):
            lines += self._held(about)
        overlap = (
            self.rows.drop_nulls("covariate")
            .select("covariate", "metric", "value")
            .unique(maintain_order=True)
        )
        lines += [
            self._overlap(name, part) for (name,), part in overlap.group_by("covariate", maintain_order=True)
        ]
        return " ".join([*lines, CAUTION])

    def _held(self, about: dict[str, Any]) -> list[str]:
        """Say what is held and by which model, and how many photos lack it."""
        names = [
            f"{name} (logarithm)" if name in LOGGED else name for name in about["covariates"].split(", ")
        ]
        within = " and ".join(self.contrast.within)
        strata = f"{counted(about['strata'], 'stratum')} of {within}".replace("stratums", "strata")
        if not within:
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
            lack = "lacks" if about["missing"] == 1 else "lack"
            sentences.append(
                f"{counted(about['missing'], 'photo')} {lack} one and are left out of all three figures."
            )
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

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Build the table for the console's width."""
        yield rich_table(self.table, options.max_width)

    def __repr__(self) -> str:
        """Write the table as on a terminal."""
        return plain_text(self)

    def _repr_html_(self) -> str:
        return html_table(self.table)


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
    if named:
        frames = [
            frame.select(pl.lit(str(run.path)).alias("run"), pl.all())
            for run, frame in zip(runs, frames, strict=True)
        ]
    return AdjustedScores(chosen, pl.concat(frames))


def format_adjusted(found: AdjustedScores, format: str = "table") -> str | AdjustedScores:  # noqa: A002
    """Write what ``adjusted_scores`` returns, in the formats of ``format_scores``."""
    if format in ("csv", "json"):
        return frame_text(found.rows, format)
    if format == "table":
        return found
    return latex_table(found.table) if format == "latex" else markdown_table(found.table)
