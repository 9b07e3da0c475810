"""What backgrounds cause, shown by a run on composites: as rows and as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.metrics import Confidence, swap_effects
from counterground.results._numbers import Estimate, count, signed
from counterground.results._run import Run
from counterground.results._scores_table import kind_of_intervals
from counterground.results.tables import Cell, Column, Table, html_table, rich_table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_TITLES = {
    "observed_drop": "Drop of the photos as they are",
    "background_effect": "of which background",
    "size_effect": "of which size and position",
    "rest": "rest",
    "background_share": "Background, % of the drop",
    "background_against_grey": "On {background} − on grey",
    "background_against_mean": "On {background} − on all",
    "mixed_same": "Mixed-Same",
    "mixed_rand": "Mixed-Rand",
    "bg_gap": "BG-Gap",
    "adversarial": "Wrong on at least one of {k} backgrounds of other classes",
    "flip_share": "Answer changes between {k} backgrounds",
    "background_only": "Accuracy on backgrounds without the object",
    "chance": "Accuracy of guessing",
    "pasted_cost": "Cost of cutting and pasting",
    "refilled_cost": "Cost of pasting on the refilled background",
    "same_label_cost": "Cost of another background of the same label",
}
_LEVELS = {"mixed_same", "mixed_rand", "adversarial", "flip_share", "background_only", "chance"}
_SHARES = _LEVELS | {"background_share"}


def effect_title(estimate: str, *, background: str | None = None, k: int | None = None) -> str:
    """Return what tables call an estimate of ``metrics.EFFECTS_SCHEMA``.

    Args:
        estimate: its name.
        background: the label of the background it is about.
        k: how many backgrounds it counts.
    """
    return _TITLES[estimate].format(background=background, k=k)


def effects_of(run: Run) -> EffectsView:
    """Return what backgrounds cause, of a run on composites (`metrics.swap_effects`).

    Raises:
        UsageError: its photos are not composites.
    """
    sure = Confidence(anytime=run.could_stop)
    chance = run.info.label_space.chance
    return EffectsView(swap_effects(run.rows, design=run.design, chance=chance, confidence=sure))


@dataclass(frozen=True)
class EffectsView:
    """Effects for a reader: a table that fits its console, and in a notebook one of HTML.

    Attributes:
        rows: ``EFFECTS_SCHEMA``, of all classes together and of each.
    """

    rows: pl.DataFrame

    @property
    def table(self) -> Table:
        """A row per model and estimate over all classes; backgrounds against the mean, not against grey."""
        shown = self.rows.filter(
            pl.col("class_name").is_null(), pl.col("estimate") != "background_against_grey"
        )
        columns = [
            Column("Model"),
            Column("Effect"),
            Column("Value", numeric=True),
            Column("n", numeric=True, meaning="Composites."),
            Column("Objects", numeric=True, meaning="Clusters of objects."),
            Column("Backgrounds", numeric=True, meaning="Clusters of backgrounds."),
        ]
        rows = [_cells(row) for row in shown.iter_rows(named=True)]
        kind = kind_of_intervals(self.rows["anytime"])
        caption = f"Percent; differences in points with their sign; {kind} for other objects and backgrounds."
        return Table(columns, rows, caption, grouped=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Build the table for the width at hand."""
        yield rich_table(self.table, options.max_width)

    def _repr_html_(self) -> str:
        return html_table(self.table)


def _cells(row: Mapping[str, Any]) -> list[Cell]:
    estimate = Estimate.of(row)
    title = effect_title(row["estimate"], background=row["background"], k=row["k"])
    value = estimate.text if row["estimate"] in _SHARES else signed(estimate.value)
    return [
        Cell(row["model"]),
        Cell(title),
        Cell(value, estimate.interval),
        Cell(count(row["n"] or None)),
        Cell(count(row["foreground_clusters"])),
        Cell(count(row["background_clusters"])),
    ]
