"""Figures 2, 13 and 14: counter against common accuracy, with each family's trend, a key and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from counterground.comparison import RobustnessLine, effective_robustness
from counterground.errors import needs_extra
from counterground.paper.figures._axes import accuracy, limits, on_axis, probit, shown_values, ticks
from counterground.paper.figures._families import AREA_RANGE, MARKERS, marker_area, shade
from counterground.paper.figures._material import Absent, Drawing, Material, Outcome, distinct_notes, own
from counterground.paper.figures._points import PHOTOS, own_points, paper_points
from counterground.paper.figures._style import (
    COLUMN,
    GRID,
    INK,
    PAGE,
    QUIET,
    SMALL,
    TINY,
    family_colour,
    new_figure,
    tint,
    wrap,
)
from counterground.published import SETTINGS, SettingName
from counterground.reporting.style import FAMILY_NAMES
from counterground.reporting.words import DROP_WORDS, Words
from counterground.results import decimal

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINED = ("clip", "imagenet", "other")
_NAMED_IN_COLUMN = 8
_AXIS = 44  # characters in a line of an axis title, at column width

Entry = tuple[Any, str]  # an artist, or several side by side; what they mean
EDGE, RING, PALE_EDGE = 0.6, 0.9, 0.45
"""Points: the edge of a marker, the ring of filtered data; and how much colour a pale marker's edge keeps."""
_PALE = 0.2
_AREA, _SMALL_AREA = 25.0, 14.0
_SIZES = ((30_000_000, "30 M parameters"), (2_500_000_000, "2.5 B parameters"))
_SHORT = {"clip": "CLIP", "imagenet": "ImageNet", "lvlm": "LVLM", "other": "other"}
_DATA = ((400_000_000, "400 M pairs"), (2_000_000_000, "2 B pairs"), (5_000_000_000, "5 B pairs"))

_NAME_SIZE = TINY + 0.3
# Lines behind a name fade; a stroke around the letters would turn text into outlines.
_GROUND = {"boxstyle": "square,pad=0.08", "facecolor": "white", "edgecolor": "none", "alpha": 0.7}


@dataclass(frozen=True)
class View:
    """How a scatter is drawn.

    Attributes:
        width, height: inches.
        largest: area of the largest marker, points squared.
        named: whether to write the names of models beside their markers.
    """

    width: float
    height: float
    largest: float
    named: bool

    @property
    def area(self) -> float:
        """Factor for the areas of markers."""
        return self.largest / AREA_RANGE[1]


_COLUMN_VIEW = View(COLUMN, 3.9, 52.0, named=False)
_PAGE_VIEW = View(PAGE, 7.2, 85.0, named=True)


def draw_scatter_1v1000(material: Material) -> list[Outcome]:
    """Draw figure 2a: 1 vs. 1000, at column width."""
    return _draw(material, "2a", "one-prompt", _COLUMN_VIEW)


def draw_scatter_1v20(material: Material) -> list[Outcome]:
    """Draw figure 2b: 1 vs. 20, at column width, with generative models."""
    return _draw(material, "2b", "1-vs-20", _COLUMN_VIEW)


def draw_names_1v1000(material: Material) -> list[Outcome]:
    """Draw figure 13: 1 vs. 1000 with the name of every model."""
    return _draw(material, "13", "one-prompt", _PAGE_VIEW)


def draw_names_1v20(material: Material) -> list[Outcome]:
    """Draw figure 14: 1 vs. 20 with the name of every model."""
    return _draw(material, "14", "1-vs-20", _PAGE_VIEW)


def _draw(material: Material, name: str, setting: SettingName, view: View) -> list[Outcome]:
    outcomes: list[Outcome] = []
    stem = f"figure-{name}"
    paper, chosen = paper_points(setting), SETTINGS[setting]
    if material.published:
        lvlms = "; vision-language models: Table 5" if (paper["family"] == "lvlm").any() else ""
        caption = (
            f"Counter against common accuracy (percent) of the paper's models, as printed in {chosen.tables} "
            f"({chosen.description}{lvlms}); axes are probit-scaled, lines fitted by family. How far CLIPs "
            "are below the ImageNet line depends on the prompts: see `counterground compare --published`."
        )
        drawing = _scatter(stem, paper, paper.clear(), view, caption)
        outcomes.append(replace(drawing, notes=distinct_notes(paper)))
    if not material.runs:
        return outcomes
    points = own_points(material, setting)
    confusable = pl.col("label_space") == "confusable"
    points = points.filter(confusable if chosen.setup == "1v20" else ~confusable)
    if points.is_empty():
        lack = "1 vs. 20 (--label-space confusable)" if chosen.setup == "1v20" else "other than 1 vs. 20"
        outcomes.append(Absent(name, f"the runs hold no model with {_needed(material.words)}, {lack}."))
    for place, (_, part) in enumerate(points.group_by(PHOTOS, maintain_order=True)):
        behind = paper if material.published and part["comparable"].all() else paper.clear()
        outcomes.append(_own(own(stem, place), part, behind, view, chosen.tables, words=material.words))
    return outcomes


def _needed(words: Words) -> str:
    return "common and counter photos" if words.is_drop else f"photos on both sides of {words.contrast.name}"


def _own(
    stem: str, part: pl.DataFrame, behind: pl.DataFrame, view: View, tables: str, *, words: Words
) -> Drawing:
    sides = "Counter against common accuracy"
    if not words.is_drop:
        sides = f"Accuracy on {words.right} against accuracy on {words.left}"
    caption = (
        f"{sides} (percent) on {part['benchmark'][0]}, label space "
        f"{part['label_space'][0]}, with 95 % intervals; axes are probit-scaled."
    )
    if behind.height:
        caption += f" Pale: the paper's models ({tables}, one prompt)."
    elif words.is_drop and not part["comparable"].all():
        caption += (
            " The paper's models cannot be compared with these: other photos, or other candidate names."
        )
    few = len(part) <= _NAMED_IN_COLUMN
    return _scatter(stem, behind, part, replace(view, named=view.named or few), caption, words=words)


def _scatter(
    stem: str,
    paper: pl.DataFrame,
    mine: pl.DataFrame,
    view: View,
    caption: str,
    *,
    words: Words = DROP_WORDS,
) -> Drawing:
    figure = new_figure(view.width, view.height)
    axes = figure.subplots()
    lines = _lines(paper, mine)
    _scale(axes, paper, mine, words)
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
    scatter_legend(figure, front, behind, [family for _, family in lines], view.area, noun=words.noun)
    caption += "".join(_line_caption(line, family) for line, family in lines)
    if view.named:
        marks, others = (_marks(points, view.area) for points in (front, behind))
        places, sizes = [place for place, _ in marks], [area for _, area in marks]
        left_out = name_points(axes, places, front["shown"].to_list(), sizes, others)
        if left_out:
            caption += f" No room for the names of {', '.join(left_out)}."
    return Drawing(stem, figure, caption)


def _lines(paper: pl.DataFrame, mine: pl.DataFrame) -> list[tuple[RobustnessLine, str]]:
    """Return the trend of each family that has three models; the paper's if its models are drawn."""
    points = paper if paper.height else mine
    found = []
    for family in (name for name in _LINED if name in points["family"]):
        robustness = effective_robustness(points, baseline=family)
        found += [(line, family) for line in robustness.lines[:1]]
    return found


def _line_caption(line: RobustnessLine, family: str) -> str:
    fit = line.fit
    return (
        f" Line of {FAMILY_NAMES[family]}: slope {decimal(fit.slope)} "
        f"[{decimal(fit.slope_low)}, {decimal(fit.slope_high)}], {fit.n} models."
    )


def _scale(axes: Axes, paper: pl.DataFrame, mine: pl.DataFrame, words: Words) -> None:
    rows = pl.concat([paper, mine]).to_dicts()
    common, counter = (shown_values(rows, [group]) for group in ("common", "counter"))
    _set_probit(axes, "x", *limits(common))
    # High enough for the line of no drop to pass the whole width of the cloud.
    _set_probit(axes, "y", *limits([*counter, *(row["common"] for row in rows)]))
    axes.set_xlabel(_axis_title(words.left))
    axes.set_ylabel(_axis_title(words.right))
    axes.grid(color=GRID, linewidth=0.5)


def _axis_title(side: str) -> str:
    title = f"{side} accuracy (%, probit scale)"
    return title if len(title) <= _AXIS else f"{wrap(side, _AXIS)}\naccuracy (%, probit scale)"


def _set_probit(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Give one axis, whose units are percent, the probit scale between two accuracies, with ticks."""
    marks = ticks(low, high)
    decimals = 0 if all(round(100 * tick, 6) % 1 == 0 for tick in marks) else 1
    texts = [f"{100 * tick:.{decimals}f}" for tick in marks]
    axis = axes.xaxis if which == "x" else axes.yaxis
    set_scale, set_limits = (
        (axes.set_xscale, axes.set_xlim) if which == "x" else (axes.set_yscale, axes.set_ylim)
    )
    set_scale("function", functions=(_to_probit, _to_percent))
    set_limits(100 * low, 100 * high)
    axis.set_ticks([100 * tick for tick in marks], texts)
    axis.set_ticks([], minor=True)


def _to_probit(percent: Any) -> Any:
    return probit(np.asarray(percent, dtype=float) / 100)


def _to_percent(quantile: Any) -> Any:
    return 100 * accuracy(quantile)


def _percent(fraction: float) -> float:
    """The position of an accuracy on the axes."""
    return 100 * on_axis(fraction)


def _draw_points(axes: Axes, part: pl.DataFrame, family: str, view: View, *, pale: bool, source: str) -> None:
    """Draw small markers over large ones, and pale ones behind, without shade and ring."""
    from matplotlib.patheffects import withStroke

    part = part.sort("parameters", descending=True, nulls_last=True, maintain_order=True)
    filtered = part["high_quality"].fill_null(value=False)
    colours = [pale_colour(family) if pale else shade(family, size) for size in part["data_size"]]
    edges = [
        tint(family_colour(family), PALE_EDGE) if pale else INK if ring else family_colour(family)
        for ring in filtered
    ]
    points = axes.scatter(
        [_percent(value) for value in part["common"]],
        [_percent(value) for value in part["counter"]],
        s=[view.area * marker_area(count) for count in part["parameters"]],
        c=colours,
        marker=MARKERS[family],
        edgecolors=edges,
        linewidths=[RING if edge == INK else EDGE for edge in edges],
        zorder=2.5 if pale else 3,
        path_effects=[withStroke(linewidth=1.4, foreground="white")],
    )
    points.set_gid(f"{source}-{family}")


def _draw_intervals(axes: Axes, part: pl.DataFrame, family: str) -> None:
    colour = tint(family_colour(family), 0.6)
    for row in part.iter_rows(named=True):
        x, y = (_percent(row[group]) for group in ("common", "counter"))
        for group, at in (("common", y), ("counter", x)):
            low, high = row[f"{group}_low"], row[f"{group}_high"]
            if low is None or high is None:
                continue
            span, still = [_percent(low), _percent(high)], [at, at]
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
    middle = float(_to_percent((_to_probit(low) + _to_probit(high)) / 2))
    axes.plot(
        [low, middle, high],
        [low, middle, high],
        color=QUIET,
        linewidth=0.8,
        linestyle=(0, (4, 2)),
        zorder=1.6,
        gid="diagonal",
    )


def pale_colour(family: str) -> str:
    """Return the colour of the paper's models behind others: one per family."""
    return tint(family_colour(family), _PALE)


def scatter_legend(
    figure: Figure,
    front: pl.DataFrame,
    behind: pl.DataFrame,
    lines: Sequence[str],
    area: float,
    *,
    noun: str,
) -> None:
    """Draw the key below the axes, in three columns: families, lines, sizes and shades.

    Args:
        figure: figure that the key belongs to.
        front: the models in full colours; shades and rings are explained if these have them.
        behind: the paper's models if they are pale.
        lines: families with a trend.
        area: factor for the areas of markers.
        noun: name of the difference that is 0 on the diagonal.
    """
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D

    trend = "paper's trend" if behind.height else "trend"
    second: list[Entry] = [
        (Line2D([], [], color=family_colour(name), linewidth=1), f"{trend}, {_SHORT[name]}") for name in lines
    ]
    second.append((Line2D([], [], color=QUIET, linewidth=0.8, linestyle=(0, (4, 2))), f"y = x: no {noun}"))
    columns = [_families(front, behind), second, _scales(front, behind, area)]
    columns = [column for column in columns if column]
    rows = max(len(column) for column in columns)
    blank: Entry = (Line2D([], [], linestyle="none"), "")
    entries = [entry for column in columns for entry in (*column, *[blank] * (rows - len(column)))]
    figure.legend(
        [handle for handle, _ in entries],
        [text for _, text in entries],
        loc="outside lower center",
        ncols=len(columns),
        fontsize=SMALL - 0.5,
        handlelength=1.6,
        columnspacing=0.8,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
    )


def _families(front: pl.DataFrame, behind: pl.DataFrame) -> list[Entry]:
    entries: list[Entry] = []
    for name in _present(front):
        entries.append((_marker(name, _shade(front, name), _AREA), FAMILY_NAMES[name]))
        if front.filter(family=name)["high_quality"].any():
            entries.append((_marker(name, family_colour(name), _AREA, INK), "… filtered data"))
    if behind.height:
        pale = [
            _marker(name, pale_colour(name), _SMALL_AREA, tint(family_colour(name), PALE_EDGE))
            for name in _present(behind)
        ]
        entries.append((tuple(pale), "the paper's models"))
    return entries


def _scales(front: pl.DataFrame, behind: pl.DataFrame, area: float) -> list[Entry]:
    """Explain the sizes of markers, for all models, and the shades, for those that have them."""
    entries: list[Entry] = []
    if pl.concat([front, behind])["parameters"].drop_nulls().n_unique() > 1:
        entries += [
            (_marker("clip", QUIET, area * marker_area(count), QUIET), text) for count, text in _SIZES
        ]
    if front.filter(family="clip")["data_size"].drop_nulls().n_unique() > 1:
        entries += [(_marker("clip", shade("clip", size), _AREA), text) for size, text in _DATA]
    return entries


def _present(models: pl.DataFrame) -> list[str]:
    return [name for name in FAMILY_NAMES if name in models["family"]]


def _shade(models: pl.DataFrame, family: str) -> str:
    """Return the shade of a family whose models all had as much training data, else its full colour."""
    sizes = models.filter(family=family)["data_size"].unique()
    return shade(family, sizes[0] if len(sizes) == 1 else None)


def _marker(family: str, colour: str, area: float, edge: str | None = None) -> Artist:
    from matplotlib.lines import Line2D

    shape = MARKERS[family]
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=shape,
        color=colour,
        markersize=area**0.5,
        markeredgecolor=edge or family_colour(family),
        markeredgewidth=RING if edge == INK else EDGE,
    )


def _marks(points: pl.DataFrame, area: float) -> list[tuple[tuple[float, float], float]]:
    """Return the positions (percent) and areas (typographic points squared) of markers."""
    return [
        ((_percent(row["common"]), _percent(row["counter"])), area * marker_area(row["parameters"]))
        for row in points.iter_rows(named=True)
    ]


def name_points(
    axes: Axes,
    positions: Sequence[tuple[float, float]],
    texts: Sequence[str],
    sizes: Sequence[float],
    obstacles: Sequence[tuple[tuple[float, float], float]] = (),
) -> list[str]:
    """Write ``texts`` beside points; return those for which there was no room.

    This fixes the layout of the figure, because names are placed on measured positions.

    Args:
        axes: axes with everything else already drawn.
        positions: positions of the points, in the units of the axes.
        texts: a name for each.
        sizes: areas of their markers, in typographic points squared.
        obstacles: positions and areas of other markers that no name may cover.

    Raises:
        MissingExtraError: textalloc is not installed.
    """
    with needs_extra("paper"):
        import textalloc
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = axes.figure.get_figure(root=True)
    assert figure is not None
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    x, y = ([place[k] for place in positions] for k in (0, 1))
    marks = [*zip(positions, sizes, strict=True), *obstacles]
    allocate: Any = textalloc.allocate  # whose annotations want lists of lists
    limits = axes.get_xlim(), axes.get_ylim()
    _, _, written, _ = allocate(
        axes,
        x,
        y,
        list(texts),
        x_scatter=[place[0] for place, _ in marks],
        y_scatter=[place[1] for place, _ in marks],
        scatter_sizes=[_reach(area, figure.dpi) for _, area in marks],
        text_scatter_sizes=[_reach(area, figure.dpi) for area in sizes],
        textsize=_NAME_SIZE,
        textcolor=INK,
        margin=0.004,
        min_distance=0.006,
        max_distance=0.25,
        nbr_candidates=600,
        draw_all=False,
        avoid_label_lines_overlap=True,
        avoid_crossing_label_lines=True,
        linecolor=QUIET,
        linewidth=0.45,
        plot_kwargs={"zorder": 2.8, "gid": "leader"},
        zorder=5,
        gid="name",
        bbox=_GROUND,
    )
    axes.set(xlim=limits[0], ylim=limits[1])
    return [text for text, found in zip(texts, written, strict=True) if found is None]


def _reach(area: float, dpi: float) -> float:
    """Return how far a marker of an area (points squared) and its edge reach, in pixels."""
    return float(0.5 * area**0.5 + EDGE) * dpi / 72
