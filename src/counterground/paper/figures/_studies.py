"""Figures of coloured objects, coloured digits and the theorem, as printed and from studies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.paper.figures._bars import Bars, bar_legend, draw_bars, lies_flat
from counterground.paper.figures._material import Drawing, Material, Outcome, StudyResults, own
from counterground.paper.figures._style import (
    COLUMN,
    PAGE,
    QUIET,
    TINY,
    TITLE,
    family_colour,
    group_colours,
    in_percent,
    new_figure,
    rule,
    shorten,
    tint,
)
from counterground.published import load_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STRENGTH = 0.8  # the paper's share of training photos on the colour of their class
_APPROACHES = {
    "zero shot": "zero shot",
    "supervised": "supervised",
    "obj": "obj",
    "objbkg": "objbkg",
    "objbkg, mean caption": "objbkg,\nmean caption",
    "siglip": "SigLIP, obj",
}
_SERIES = {"in_distribution": "in distribution", "out_of_distribution": "out of distribution"}
_METHODS = {"contrastive": family_colour("clip"), "supervised": family_colour("imagenet")}
_TESTS = {"rand": "o", "rev": "s"}


def draw_coloredcoco(material: Material) -> list[Outcome]:
    """Draw figure 10: accuracy in and out of distribution by objective, from Table 7 and from studies."""
    outcomes: list[Outcome] = []
    if material.published:
        rows = load_table("figure_bars").filter(pl.col("figure").str.starts_with("Figure 10("))
        panels = [
            (f"{str(figure).removeprefix('Figure 10')} {part['fixed'][0]}", *_printed(part))
            for (figure,), part in rows.group_by("figure", maintain_order=True)
        ]
        caption = "ColoredCOCO: accuracy (percent) before and after fine-tuning, as printed (Table 7)."
        outcomes.append(_draw_objectives("figure-10", panels, caption))
    for place, study in enumerate(material.of_study("coloredcoco")):
        outcomes.append(_own_objectives(study, place))
    return outcomes


def _printed(part: pl.DataFrame) -> tuple[list[str], list[Bars]]:
    labels = part["label"].unique(maintain_order=True).to_list()
    series = []
    for key in _SERIES:
        values = dict(part.filter(series=key).select("label", "value").iter_rows())
        series.append(_bars(key, [values[label] for label in labels], []))
    return [_APPROACHES[label] for label in labels], series


def _bars(
    key: str, values: Sequence[float | None], intervals: Sequence[tuple[float | None, float | None]]
) -> Bars:
    inside = key == "in_distribution"
    colour = group_colours()["common" if inside else "counter"]
    return Bars(_SERIES[key], values, [colour] * len(values), intervals, hatch="" if inside else "////")


def _own_objectives(study: StudyResults, place: int) -> Drawing:
    results = study.frames["results"]
    strengths = results["strength"].drop_nulls().unique().sort().to_list()
    at = min(strengths, key=lambda strength: abs(strength - _STRENGTH)) if strengths else None
    # Models before fine-tuning have a row per strength too: it decides which photos are in distribution.
    chosen = results.filter(pl.col("strength").eq_missing(at))
    panels = []
    for (model,), rows in chosen.group_by("model", maintain_order=True):
        part = rows.filter(pl.col("objective").is_in(list(_APPROACHES)))
        part = part.sort(pl.col("objective").replace_strict({n: k for k, n in enumerate(_APPROACHES)}))
        series = []
        for key, column in zip(_SERIES, ("id", "ood"), strict=True):
            pairs = zip(part[f"{column}_low"], part[f"{column}_high"], strict=True)
            ends = [(in_percent(low), in_percent(high)) for low, high in pairs]
            series.append(_bars(key, [in_percent(value) for value in part[column]], ends))
        panels.append((str(model), [_APPROACHES[name] for name in part["objective"]], series))
    where = "" if at is None else f" with {100 * at:g} % of the training photos on the colour of their class"
    caption = (
        f"Coloured objects: accuracy (percent) before and after fine-tuning{where}, from {study.folder.name}."
    )
    return _draw_objectives(own("figure-10", place), panels, f"{caption} Lines: 95 % intervals over seeds.")


def _draw_objectives(stem: str, panels: Sequence[tuple[str, list[str], list[Bars]]], caption: str) -> Drawing:
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(PAGE, 2.1 * lines + 0.2)
    width = (72 * PAGE - 40) / columns  # points of print
    upright = not all(lies_flat(width, len(labels), series) for _, labels, series in panels)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes, (title, labels, series) in zip(grid, panels, strict=False):
        draw_bars(axes, labels, series, upright=upright)
        axes.set_title(shorten(title, TITLE[PAGE if columns == 1 else COLUMN]))
        axes.set_ylim(0, 123 if upright else 112)
        axes.set_yticks(range(0, 101, 20))
        axes.spines["left"].set_bounds(0, 100)
        rule(axes)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for line in range(lines):
        grid[line * columns].set_ylabel("accuracy (%)")
    bar_legend(figure, grid[:1])
    return Drawing(stem, figure, caption)


def draw_multicoloredmnist(material: Material) -> list[Outcome]:
    """Draw Table 8: accuracy with random and with reversed colours, as printed and from studies."""
    outcomes: list[Outcome] = []
    printed = load_table("multicoloredmnist_results").select(
        pl.col("n_classes").alias("k"),
        "p_inv",
        "p_spu",
        pl.col("method").str.to_lowercase(),
        *(pl.col(f"{test}_{how}") / 100 for test in _TESTS for how in ("mean", "std")),
    )
    if material.published:
        caption = (
            "MultiColoredMNIST: accuracy on labels 0 and 1, mean and s.d. over seeds, as printed (Table 8)."
        )
        outcomes.append(_draw_digits("multicoloredmnist", printed, None, caption))
    for place, study in enumerate(material.of_study("multicoloredmnist")):
        table = study.frames["table8"].with_columns(pl.col("k").cast(pl.Int64))
        beside = printed if table["printed_rev_mean"].count() else None  # of MNIST's digits only
        hollow = "" if beside is None else "; hollow: as printed (Table 8)"
        caption = (
            "MultiColoredMNIST: accuracy on labels 0 and 1, mean and s.d. over seeds, from "
            f"{study.folder.name}{hollow}."
        )
        outcomes.append(_draw_digits(own("multicoloredmnist", place), table, beside, caption))
    return outcomes


def _draw_digits(stem: str, table: pl.DataFrame, printed: pl.DataFrame | None, caption: str) -> Drawing:
    from matplotlib.lines import Line2D

    settings = table.select("p_inv", "p_spu").unique(maintain_order=True).rows()
    columns = min(2, len(settings))
    lines = -(-len(settings) // columns)
    figure = new_figure(PAGE, 1.9 * lines + 0.3)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    classes = table["k"].unique().sort().to_list()
    for axes, (p_inv, p_spu) in zip(grid, settings, strict=False):
        rows = table.filter(p_inv=p_inv, p_spu=p_spu)
        beside = None if printed is None else printed.filter(p_inv=p_inv, p_spu=p_spu)
        _draw_setting(axes, rows, beside, classes)
        axes.set_title(f"digit fits the label in {100 * p_inv:g} %, colour in {100 * p_spu:g} %")
        axes.set_xlabel("classes")
    for axes in grid[len(settings) :]:
        axes.set_visible(False)
    for line in range(lines):
        grid[line * columns].set_ylabel("accuracy (%)")
    handles, names = grid[0].get_legend_handles_labels()
    if printed is not None:
        look: dict[str, Any] = {
            "color": QUIET,
            "fillstyle": "none",
            "markersize": 6.5,
            "markeredgewidth": 0.6,
        }
        handles.append(Line2D([], [], marker="o", linestyle="none", **look))
        names.append("as printed")
    figure.legend(handles, names, loc="outside upper right", ncols=5)
    return Drawing(stem, figure, caption)


def _draw_setting(
    axes: Axes, rows: pl.DataFrame, printed: pl.DataFrame | None, classes: Sequence[int]
) -> None:
    """Draw one panel: points by number of classes, the four series side by side."""
    place_of = {k: place for place, k in enumerate(classes)}
    shifts = dict(zip([(m, t) for m in _METHODS for t in _TESTS], (-0.24, -0.08, 0.08, 0.24), strict=True))
    for (method, test), shift in shifts.items():
        part = rows.filter(method=method).sort("k")
        colour, shape = _METHODS[method], _TESTS[test]
        if printed is not None:
            there = printed.filter(pl.col("k").is_in(list(classes)), method=method).sort("k")
            at = [place_of[k] + shift for k in there["k"]]
            axes.plot(
                at,
                100 * there[f"{test}_mean"].to_numpy(),
                shape,
                color=colour,
                fillstyle="none",
                markersize=6.5,
                markeredgewidth=0.6,
            )
        mean = 100 * part[f"{test}_mean"].cast(pl.Float64).to_numpy()
        spread = np.nan_to_num(100 * part[f"{test}_std"].cast(pl.Float64).fill_null(0).to_numpy())
        at = [place_of[k] + shift for k in part["k"]]
        axes.errorbar(
            at,
            mean,
            spread,
            fmt=shape,
            color=colour,
            label=f"{method}, {test.capitalize()}",
            markersize=3.5,
            elinewidth=0.7,
            capsize=1.5,
            capthick=0.6,
        )
    axes.set_xticks(range(len(classes)), [str(k) for k in classes])
    axes.set_xlim(-0.6, len(classes) - 0.4)
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 20))
    axes.tick_params(axis="x", length=0, labelsize=TINY + 1)
    rule(axes)


_MU_SPU, _P_SPU = 1.5, 0.9
_OBJECT, _MEAN = "object only", "mean of the class"
_FITS, _MISLEADS = family_colour("clip"), family_colour("imagenet")


def draw_theory(material: Material) -> list[Outcome]:
    """Draw the theorem from each theory study; the paper prints formulas, which the study evaluates."""
    return [_draw_theory(study, place) for place, study in enumerate(material.of_study("theory"))]


def _draw_theory(study: StudyResults, place: int) -> Drawing:
    from matplotlib.lines import Line2D

    grid = study.frames["grid"]
    strength = _nearest(grid["mu_spu"], _MU_SPU)
    often = _nearest(grid["p_spu"], _P_SPU)
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
        f"background at least 1.5 times as strong as the object; its proof is for the object-only prompt. "
        f"From {study.folder.name}."
    )
    return Drawing(own("theory", place), figure, caption)


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
    """Draw rings where the study evaluated the formula, joined by a faint line that shows no values."""
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
