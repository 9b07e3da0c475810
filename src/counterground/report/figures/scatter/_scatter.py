"""Figures 2, 13 and 14: counter against common accuracy, with each family's trend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from counterground.report._style import (
    AREA_RANGE,
    FAMILY_NAMES,
    FAMILY_SHAPES,
    MATPLOTLIB_MARKERS,
    family_colour,
    marker_area,
    shade,
)
from counterground.report.figures._material import Absent, Drawing, Material, Outcome, distinct_notes, own
from counterground.report.figures._style import COLUMN, GRID, INK, PAGE, QUIET, new_figure, tint
from counterground.report.figures.scatter._legend import EDGE, PALE_EDGE, RING, pale_colour, scatter_legend
from counterground.report.figures.scatter._names import write_names
from counterground.report.figures.scatter._points import PHOTOS, Setup, own_points, paper_points
from counterground.report.figures.scatter._probit_axis import accuracy, clip, limits, position, set_probit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from counterground.comparison import RobustnessLine


_LINED = ("clip", "imagenet", "other")
_NAMED_IN_COLUMN = 8
_SETUPS: dict[Setup, str] = {"1v1000": "1 vs. 1000", "1v20": "1 vs. 20"}


@dataclass(frozen=True)
class View:
    """How a scatter is drawn.

    Attributes:
        width, height: inches.
        largest: area of the largest marker, points squared.
        named: write the names of models beside their markers.
    """

    width: float
    height: float
    largest: float
    named: bool

    @property
    def area(self) -> float:
        """What the area of markers is multiplied by."""
        return self.largest / AREA_RANGE[1]


_COLUMN_VIEW = View(COLUMN, 3.9, 52.0, named=False)
_PAGE_VIEW = View(PAGE, 7.2, 85.0, named=True)


def draw_scatter_1v1000(material: Material) -> list[Outcome]:
    """Figure 2a: 1 vs. 1000, at column width."""
    return _draw(material, "2a", "1v1000", _COLUMN_VIEW)


def draw_scatter_1v20(material: Material) -> list[Outcome]:
    """Figure 2b: 1 vs. 20, at column width, with the models that answer in words."""
    return _draw(material, "2b", "1v20", _COLUMN_VIEW)


def draw_names_1v1000(material: Material) -> list[Outcome]:
    """Figure 13: 1 vs. 1000 with the name of every model."""
    return _draw(material, "13", "1v1000", _PAGE_VIEW)


def draw_names_1v20(material: Material) -> list[Outcome]:
    """Figure 14: 1 vs. 20 with the name of every model."""
    return _draw(material, "14", "1v20", _PAGE_VIEW)


def _draw(material: Material, name: str, setup: Setup, view: View) -> list[Outcome]:
    outcomes: list[Outcome] = []
    stem = f"figure-{name}"
    paper = paper_points(setup)
    if material.published:
        caption = (
            f"Counter against common accuracy (percent, {_SETUPS[setup]}) of the paper's models, as printed; "
            "axes are probit-scaled, lines fitted by family."
        )
        drawing = _scatter(stem, paper, paper.clear(), view, caption)
        outcomes.append(replace(drawing, notes=distinct_notes(paper)))
    if not material.runs:
        return outcomes
    points = own_points(material, setup)
    confusable = pl.col("label_space") == "confusable"
    points = points.filter(confusable if setup == "1v20" else ~confusable)
    if points.is_empty():
        lack = "1 vs. 20 (--label-space confusable)" if setup == "1v20" else "other than 1 vs. 20"
        outcomes.append(Absent(name, f"the runs hold no model with common and counter photos, {lack}."))
    for place, (_, part) in enumerate(points.group_by(PHOTOS, maintain_order=True)):
        behind = paper if material.published and part["comparable"].all() else paper.clear()
        outcomes.append(_own(own(stem, place), part, behind, view))
    return outcomes


def _own(stem: str, part: pl.DataFrame, behind: pl.DataFrame, view: View) -> Drawing:
    caption = (
        f"Counter against common accuracy (percent) on {part['benchmark'][0]}, label space "
        f"{part['label_space'][0]}, with 95 % intervals; axes are probit-scaled."
    )
    if behind.height:
        caption += " Pale: the paper's models."
    elif not part["comparable"].all():
        caption += " The paper's models were measured on other photos and cannot stand beside these."
    few = len(part) <= _NAMED_IN_COLUMN
    return _scatter(stem, behind, part, replace(view, named=view.named or few), caption)


def _scatter(stem: str, paper: pl.DataFrame, mine: pl.DataFrame, view: View, caption: str) -> Drawing:
    figure = new_figure(view.width, view.height)
    axes = figure.subplots()
    lines = _lines(paper, mine)
    _scale(axes, paper, mine)
    for line, family in lines:
        _draw_line(axes, line, family)
    _draw_diagonal(axes)
    pale = not mine.is_empty()
    for (family,), part in paper.group_by("family", maintain_order=True):
        _draw_points(axes, part, str(family), view, pale=pale, source="paper")
    for (family,), part in mine.group_by("family", maintain_order=True):
        _draw_intervals(axes, part, str(family))
        _draw_points(axes, part, str(family), view, pale=False, source="own")
    front, behind = (mine, paper) if pale else (paper, mine)
    scatter_legend(figure, front, behind, [family for _, family in lines], view.area)
    caption += "".join(_told(line, family) for line, family in lines)
    if view.named:
        left_out = write_names(axes, front, front["shown"].to_list(), view.area, obstacles=behind)
        if left_out:
            caption += f" No room for the names of {', '.join(left_out)}."
    return Drawing(stem, figure, caption)


def _lines(paper: pl.DataFrame, mine: pl.DataFrame) -> list[tuple[RobustnessLine, str]]:
    """The trend of each family that has three models; the paper's where its models are drawn."""
    from counterground.comparison import effective_robustness

    points = paper if paper.height else mine
    found = []
    for family in (name for name in _LINED if name in points["family"]):
        robustness = effective_robustness(points, baseline=family)
        found += [(line, family) for line in robustness.lines[:1]]
    return found


def _told(line: RobustnessLine, family: str) -> str:
    fit = line.fit
    return (
        f" Line of {FAMILY_NAMES[family]}: slope {fit.slope:.2f} "
        f"[{fit.slope_low:.2f}, {fit.slope_high:.2f}], {fit.n} models."
    )


def _scale(axes: Axes, paper: pl.DataFrame, mine: pl.DataFrame) -> None:
    shown = pl.concat([paper, mine])
    ends: dict[str, list[float]] = {}
    for group in ("common", "counter"):
        ends[group] = [100 * value for value in shown[group]]
        # A bound near 0 or 1 is far away on this scale: an interval may run off the edge, a point may not.
        bounds = [100 * v for end in ("low", "high") for v in mine[f"{group}_{end}"].drop_nulls()]
        ends[group] += [value for value in bounds if 2 <= value <= 98]
    # So high that the line of no drop passes the whole width of the cloud.
    set_probit(axes, "x", *limits(ends["common"]))
    set_probit(axes, "y", *limits([*ends["counter"], max(ends["common"])]))
    axes.set_xlabel("common accuracy (%, probit scale)")
    axes.set_ylabel("counter accuracy (%, probit scale)")
    axes.grid(color=GRID, linewidth=0.5)


def _draw_points(axes: Axes, part: pl.DataFrame, family: str, view: View, *, pale: bool, source: str) -> None:
    """Small markers lie on large ones; what is pale stands behind, without shade and ring."""
    from matplotlib.patheffects import withStroke

    part = part.sort("parameters", descending=True, nulls_last=True, maintain_order=True)
    filtered = part["high_quality"].fill_null(value=False)
    colours = [pale_colour(family) if pale else shade(family, size) for size in part["data_size"]]
    edges = [
        tint(family_colour(family), PALE_EDGE) if pale else INK if ring else family_colour(family)
        for ring in filtered
    ]
    points = axes.scatter(
        [clip(100 * value) for value in part["common"]],
        [clip(100 * value) for value in part["counter"]],
        s=[view.area * marker_area(count) for count in part["parameters"]],
        c=colours,
        marker=MATPLOTLIB_MARKERS[FAMILY_SHAPES[family]],
        edgecolors=edges,
        linewidths=[RING if edge == INK else EDGE for edge in edges],
        zorder=2.5 if pale else 3,
        path_effects=[withStroke(linewidth=1.4, foreground="white")],
    )
    points.set_gid(f"{source}-{family}")


def _draw_intervals(axes: Axes, part: pl.DataFrame, family: str) -> None:
    colour = tint(family_colour(family), 0.6)
    for row in part.iter_rows(named=True):
        x, y = (clip(100 * row[group]) for group in ("common", "counter"))
        for group, at in (("common", y), ("counter", x)):
            low, high = row[f"{group}_low"], row[f"{group}_high"]
            if low is None or high is None:
                continue
            span, still = [clip(100 * low), clip(100 * high)], [at, at]
            across = (span, still) if group == "common" else (still, span)
            axes.plot(*across, color=colour, linewidth=0.6, zorder=2.2, gid="interval")


def _draw_line(axes: Axes, line: RobustnessLine, family: str) -> None:
    low, high = axes.get_xlim()
    ends = [low, high]
    heights = [100 * float(line.fit.predict(end / 100)) for end in ends]
    axes.plot(ends, heights, color=family_colour(family), linewidth=1.0, zorder=1.8, gid=f"line-{family}")


def _draw_diagonal(axes: Axes) -> None:
    ends = [axes.get_xlim(), axes.get_ylim()]
    low, high = min(a for a, _ in ends), max(b for _, b in ends)
    middle = accuracy((position(low) + position(high)) / 2)
    axes.plot(
        [low, middle, high],
        [low, middle, high],
        color=QUIET,
        linewidth=0.8,
        linestyle=(0, (4, 2)),
        zorder=1.6,
        gid="diagonal",
    )
