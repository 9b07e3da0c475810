"""What backgrounds cause in runs of composites: effects as rows and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from counterground.metrics import KEYS, Estimate
from counterground.results._model_scores import TITLES, setting_text
from counterground.results._run import Run, join_frames
from counterground.results._scores_table import (
    varying_settings,
    with_run_names,
)
from counterground.results.tables import Cell, Column, Table, TableView
from counterground.text import NOTHING, count, counted, p_value

EFFECTS = {
    "observed_drop": "Observed drop",
    "background_effect": "= background",
    "background_part": "= background, of these classes",
    "size_effect": "+ size and position",
    "rest": "+ rest",
    "background_share": "Background's share of the drop",
    "background_against_grey": "{background}, against plain grey",
    "background_against_mean": "{background}, against all backgrounds",
    "mixed_same": "Mixed-Same",
    "mixed_rand": "Mixed-Rand",
    "bg_gap": "BG-Gap",
    "adversarial": "Wrong on any of {k} backgrounds",
    "flip_share": "Several answers on {k} backgrounds",
    "background_only": "Background alone",
    "chance": "Chance",
    "pasted_cost": "Cost of pasting onto the same photo",
    "refilled_cost": "Cost of refilling the background",
    "same_label_cost": "Cost of another photo of the label",
}
"""What tables call the estimates of ``metrics.swap_effects``, in their order; see `effect_title`."""
WHOLE_EFFECT = "Background effect, of all classes"
"""What tables call ``background_effect`` beside a ``background_part``, which is the one that sums."""


def effect_title(
    estimate: str, *, k: int | None = None, background: str | None = None, has_part: bool = False
) -> str:
    """Return what tables call an estimate, on ``k`` backgrounds if it is about several.

    ``has_part``: whether ``background_part`` stands beside it.
    """
    if has_part and estimate == "background_effect":
        return WHOLE_EFFECT
    if estimate == "adversarial" and k == 1:
        return "Wrong on 1 background"
    return EFFECTS[estimate].format(k=k, background=background)


@dataclass(frozen=True, eq=False, repr=False)
class EffectScores(TableView):
    """Effects of backgrounds, for a reader: a table that fits its console, and in a notebook an HTML table.

    Attributes:
        rows: ``metrics.EFFECTS_SCHEMA``, perhaps with ``run`` first.
    """

    rows: pl.DataFrame

    @property
    def table(self) -> Table:
        """A row per model, class if there are any, and effect."""
        rows, settings = with_run_names(self.rows), varying_settings(self.rows)
        heads = ["model", *settings, *(["class_name"] if self._by_class else [])]
        columns = [Column("Model"), *(Column(TITLES[name]) for name in settings)]
        columns += [Column("Class")] * self._by_class
        columns += [
            Column("Effect"),
            Column("Value", True),
            Column("p", True),
            Column("n", True, "Photos."),
        ]
        keys = [name for name in (*KEYS, "run", "class_name") if name in rows.columns]
        rows = rows.with_columns(has_part=(pl.col("estimate") == "background_part").any().over(keys))
        cells = [
            [*(_head(row, name) for name in heads), *_figures(row)] for row in rows.iter_rows(named=True)
        ]
        return Table(columns, cells, self._caption(), heads=len(heads), grouped=True)

    @property
    def _by_class(self) -> bool:
        return self.rows["class_name"].null_count() < self.rows.height

    def _caption(self) -> str:
        lines = [
            "Percent, effects in points; 95 % intervals for other foregrounds and background photographs.",
            "p of no effect, uncorrected."
            if self._by_class
            else "Means over classes; p of no effect, uncorrected.",
            *self._decomposed(),
        ]
        shares = self.rows.filter(pl.col("estimate") == "background_share")["value"]
        if shares.null_count():
            lines.append("Where the observed drop is not clearly above 0, its share has no value.")
        if self.rows["estimate"].is_in(["adversarial", "flip_share"]).any():
            lines.append("Shares of foregrounds on several backgrounds are for these backgrounds.")
        if self._lacks_other_classes():
            lines.append("“Wrong on any” leaves out foregrounds that are on no background of another class.")
        return " ".join(lines)

    def _lacks_other_classes(self) -> bool:
        """Whether some foregrounds of the flips have no background of another class."""
        keys = [name for name in (*KEYS, "run", "class_name") if name in self.rows.columns]
        wrong, flips = (
            self.rows.filter(pl.col("estimate") == name).select(*keys, "n")
            for name in ("adversarial", "flip_share")
        )
        both = wrong.join(flips, on=keys, nulls_equal=True, suffix="_flips")
        return bool((both["n"] < both["n_flips"]).any())

    def _decomposed(self) -> list[str]:
        """Say over which photos the drop is decomposed: those of the classes that show all of its parts."""
        parts = self.rows.filter(pl.col("estimate") == "rest", pl.col("class_name").is_null())
        found = parts.select("classes", "n").unique().rows()
        if len(found) != 1:
            return []
        classes, photos = (counted(n, what) for n, what in zip(found[0], ("class", "composite"), strict=True))
        show = "shows" if found[0][0] == 1 else "show"
        sentences = [f"The drop and its parts are over the {classes} that {show} all of them, on {photos}."]
        if (self.rows["estimate"] == "background_part").any():
            effects = self.rows.filter(pl.col("estimate") == "background_effect")
            every = max(effects["classes"].to_list())
            sentences.append(f"“{WHOLE_EFFECT}” is over {counted(every, 'class')}.")
        return sentences


def _head(row: dict[str, Any], name: str) -> Cell:
    if name in ("model", "class_name"):
        return Cell(row[name] or "all")
    return Cell(setting_text(row[name]))


def _figures(row: dict[str, Any]) -> list[Cell]:
    title = effect_title(row["estimate"], k=row["k"], background=row["background"], has_part=row["has_part"])
    found = Estimate.of(row)
    n = count(row["n"]) if row["n"] else NOTHING
    return [Cell(title), Cell(found.text, found.interval), Cell(p_value(row["p_value"])), Cell(n)]


def effect_scores(runs: Sequence[Run], *, named: bool = False, by_class: bool = False) -> EffectScores:
    """Return what backgrounds cause in runs of composites.

    Args:
        runs: one run or several.
        named: prepend a column ``run`` with the folder of each.
        by_class: the effects in each class, instead of the means over classes.

    Raises:
        UsageError: a run is not of composites.
    """
    found = (run.effects(by_class=by_class) for run in runs)
    frames = [frame.filter(pl.col("class_name").is_not_null() == by_class) for frame in found]
    return EffectScores(join_frames(runs, frames, named=named))
