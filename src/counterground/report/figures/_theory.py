"""Figure 12: what the background does to a contrastive model, simulated, exact and bounded (section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.report._style import family_colour
from counterground.report.figures._material import Drawing, Material, Outcome, StudyResults, own
from counterground.report.figures._style import PAGE, QUIET, new_figure, rule, tint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STRENGTH, _CORRELATION = 1.5, 0.9
_OBJECT, _MEAN = "object only", "mean of the class"
_FITS, _MISLEADS = family_colour("clip"), family_colour("imagenet")


def draw_theory(material: Material) -> list[Outcome]:
    """Figure 12, from each theory study; the paper prints formulas, which the study evaluates."""
    return [_draw(study, place) for place, study in enumerate(material.of_study("theory"))]


def _draw(study: StudyResults, place: int) -> Drawing:
    from matplotlib.lines import Line2D

    grid = study.frames["grid"]
    strength = _nearest(grid["mu_spu"], _STRENGTH)
    often = _nearest(grid["p_spu"], _CORRELATION)
    figure = new_figure(PAGE, 2.6)
    left, right = figure.subplots(1, 2)
    _draw_correlation(left, grid.filter(mu_spu=strength, prompt=_MEAN).sort("p_spu"))
    left.set_title(f"(a) background {strength:g} times as strong as the object")
    _draw_strength(right, grid.filter(p_spu=often).sort("mu_spu"))
    right.set_title(f"(b) background fits in {100 * often:g} % of the pairs")
    for axes in (left, right):
        axes.set_ylim(0, 104)
        axes.set_yticks(range(0, 101, 20))
        handles, texts = axes.get_legend_handles_labels()
        ring = Line2D([], [], marker="o", linestyle="none", color=QUIET, markersize=6.5, markeredgewidth=0.6)
        ring.set_markerfacecolor("none")
        axes.legend(
            [*handles, ring],
            [*texts, "exact, at the same settings"],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
            ncols=2,
            handlelength=3,
        )
        rule(axes)
    caption = (
        "Definition 6.1: filled marks are simulated, rings exact and strokes the bound of theorem 6.2 as "
        "printed, all at the settings of the study; lines only join them. The bound is claimed for a "
        f"background at least 1.5 times as strong. From {study.folder.name}."
    )
    return Drawing(own("figure-12", place), figure, caption)


def _nearest(values: pl.Series, wanted: float) -> float:
    found: list[float] = values.unique().to_list()
    return min(found, key=lambda value: abs(value - wanted))


def _draw_correlation(axes: Axes, rows: pl.DataFrame) -> None:
    x = 100 * rows["p_spu"].to_numpy()
    fits = [100 * rows[key].to_numpy() for key in ("accuracy_fits", "exact_fits")]
    misleads = [100 * (1 - rows[key].to_numpy()) for key in ("error_misleads", "exact_error_misleads")]
    for (seen, exact), colour, shape, label in (
        (fits, _FITS, "o", "background fits"),
        (misleads, _MISLEADS, "s", "background misleads"),
    ):
        _draw_exact(axes, x, exact, colour, shape)
        axes.plot(x, seen, shape, color=colour, markersize=3.5, label=label)
    axes.set_xlabel("pairs whose background fits, in training (%)")
    axes.set_ylabel("accuracy (%)")


def _draw_exact(axes: Axes, x: np.ndarray, values: np.ndarray, colour: str, shape: str) -> None:
    """Rings where the study evaluated the formula; between them it did not, so the joining line is faint."""
    look: dict[str, Any] = {"markersize": 6.5, "markerfacecolor": "none", "markeredgewidth": 0.6}
    axes.plot(x, values, color=tint(colour, 0.5), linewidth=0.7)
    axes.plot(x, values, shape, color=colour, **look)


def _draw_strength(axes: Axes, rows: pl.DataFrame) -> None:
    for prompt, colour, shape in ((_MEAN, _MISLEADS, "s"), (_OBJECT, _FITS, "o")):
        part = rows.filter(prompt=prompt)
        x = part["mu_spu"].to_numpy()
        _draw_exact(axes, x, 100 * part["exact_error_misleads"].to_numpy(), colour, shape)
        seen = 100 * part["error_misleads"].to_numpy()
        axes.plot(x, seen, shape, color=colour, markersize=3.5, label=f"prompt: {prompt}")
    part = rows.filter(prompt=_MEAN)
    bound = 100 * part["printed_least_error_misleads"].to_numpy()
    look: dict[str, Any] = {"linestyle": "--", "linewidth": 0.8, "marker": "_", "markersize": 6}
    axes.plot(part["mu_spu"].to_numpy(), bound, color=QUIET, label="printed lower bound", **look)
    axes.set_xlabel("strength of the background (object: 1)")
    axes.set_ylabel("error where it misleads (%)")
