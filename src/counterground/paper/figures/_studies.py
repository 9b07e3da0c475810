"""Figures of coloured objects, coloured digits and the theorem, as printed and from studies."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from counterground.paper.figures._bars import Bars, bar_legend, draw_bars, ticks_to_100
from counterground.paper.figures._material import (
    PAGE,
    Drawing,
    Material,
    Outcome,
    StudyResults,
    group_colours,
    own,
    panel_grid,
    shorten,
)
from counterground.paper.study.mnist import draw_colored
from counterground.paper.study.theory import draw_theory
from counterground.published import load_table

_STRENGTH = 0.8  # the paper's share of training photos on the colour of their class
_SERIES = {"in_distribution": "id", "out_of_distribution": "ood"}


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
    values = {(row["series"], row["label"]): row["value"] for row in part.to_dicts()}
    return labels, [_bars(key, [values[key, label] for label in labels]) for key in _SERIES]


def _bars(
    key: str, values: Sequence[float | None], intervals: Sequence[tuple[float | None, float | None]] = ()
) -> Bars:
    colour = group_colours()["common" if key == "in_distribution" else "counter"]
    return Bars(key.replace("_", " "), values, [colour] * len(values), intervals)


def _own_objectives(study: StudyResults, place: int) -> Drawing:
    results = study.table
    at = min(results["strength"].drop_nulls(), key=lambda strength: abs(strength - _STRENGTH))
    panels = []
    # Models before fine-tuning have a row per strength too: it decides which photos are in distribution.
    for (model,), part in results.filter(strength=at).group_by("model", maintain_order=True):
        series = [
            _bars(
                key,
                (100 * part[column]).to_list(),
                part.select(pl.col(f"{column}_low", f"{column}_high") * 100).rows(),
            )
            for key, column in _SERIES.items()
        ]
        panels.append((str(model), part["objective"].to_list(), series))
    caption = (
        f"Coloured objects: accuracy (percent) before and after fine-tuning with {100 * at:g} % of the "
        f"training photos on the colour of their class, from {study.folder.name}. Lines: 95 % intervals over "
        "seeds."
    )
    return _draw_objectives(own("figure-10", place), panels, caption)


def _draw_objectives(stem: str, panels: Sequence[tuple[str, list[str], list[Bars]]], caption: str) -> Drawing:
    figure, grid = panel_grid(len(panels), min(2, len(panels)), 2.1, "accuracy (%)")
    for axes, (title, labels, series) in zip(grid, panels, strict=True):
        draw_bars(axes, labels, series)
        axes.set_title(shorten(title, 42))
    ticks_to_100(grid[0])
    bar_legend(figure, grid[0])
    return Drawing(stem, figure, caption)


def draw_digits(material: Material) -> list[Outcome]:
    """Draw Table 8: accuracy with random and with reversed colours, as printed and from studies."""
    outcomes: list[Outcome] = []
    caption = "MultiColoredMNIST: accuracy on labels 0 and 1, mean and s.d. over seeds, "
    if material.published:
        tests = [f"{test}_{how}" for test in ("rand", "rev") for how in ("mean", "std")]
        printed = load_table("multicoloredmnist_results").select(
            "p_inv", "p_spu", pl.col("method").str.to_lowercase(), pl.col(tests) / 100, k="n_classes"
        )
        figure = draw_colored(printed, PAGE)
        outcomes.append(Drawing("multicoloredmnist", figure, f"{caption}as printed (Table 8)."))
    for place, study in enumerate(material.of_study("multicoloredmnist")):
        figure = draw_colored(study.table, PAGE)
        whence = f"from {study.folder.name}; hollow: as printed (Table 8)."
        outcomes.append(Drawing(own("multicoloredmnist", place), figure, f"{caption}{whence}"))
    return outcomes


def draw_the_theorem(material: Material) -> list[Outcome]:
    """Draw the theorem from each theory study; the paper prints formulas, which the study evaluates."""
    caption = (
        "Definition 6.1: marks are simulated, lines exact, the dashed one the bound of theorem 6.2, printed. "
        "The bound is claimed for a background at least 1.5 times as strong as the object; its proof is for "
        "the object-only prompt."
    )
    return [
        Drawing(own("theory", place), draw_theory(study.table, PAGE), f"{caption} From {study.folder.name}.")
        for place, study in enumerate(material.of_study("theory"))
    ]
