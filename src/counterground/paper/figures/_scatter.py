"""Figures 2, 13 and 14: counter against common accuracy, with each family's trend, a key and names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from counterground.comparison import effective_robustness
from counterground.errors import needs_extra
from counterground.findings import DROP_WORDS, Words
from counterground.metrics import COMPETING, EDGE, GROUPS, from_scale, to_scale
from counterground.paper.figures._material import (
    PHOTOS,
    Absent,
    Drawing,
    Material,
    Outcome,
    between,
    distinct_notes,
    own,
    points_of,
    shade,
    shorten,
    tint,
)
from counterground.paper.style import COLUMN, INK, PAGE, QUIET, TINY, new_figure
from counterground.published import SETTINGS, SettingName
from counterground.reporting.shell import FAMILY_COLOURS, FAMILY_NAMES
from counterground.text import decimal

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LINED = ("clip", "imagenet", "other")
_MARKERS = {"clip": "o", "imagenet": "^", "lvlm": "s", "other": "D"}
"""Matplotlib's markers: nothing depends on colour alone."""
_PARAMETERS = (5e6, 2.5e9)
_HEIGHTS, _LARGEST = {COLUMN: 3.9, PAGE: 7.2}, {COLUMN: 52.0, PAGE: 85.0}
"""Inches, and the area of the largest marker (points squared), by width."""
_EDGE = 0.6
# Axes extend a little beyond EDGE, to half of it, so that markers at 0 and 100 % are whole.
_BEYOND = 0.5 / (EDGE / 2)
_BOUNDS_SHOWN = (0.02, 0.98)
_KEY = (
    " Axes are probit-scaled, lines fitted by family. Markers are larger for more parameters and darker for "
    "more training data; dark rings: filtered data. Names without room are left out."
)


def draw_scatter(material: Material, name: str, setting: SettingName, width: float) -> list[Outcome]:
    """Draw figure 2a or 2b at column width, or 13 or 14 with the name of every model."""
    outcomes: list[Outcome] = []
    paper, chosen = points_of(setting=setting), SETTINGS[setting]
    stem, words = f"figure-{name}", material.words
    if material.published:
        caption = (
            f"Counter against common accuracy (percent) of the paper's models, as printed in {chosen.tables} "
            f"({chosen.description}; vision-language models: Table 5). How far CLIPs are below the ImageNet "
            "line depends on the prompts: see `counterground compare --published`."
        )
        outcomes.append(_scatter(stem, paper, paper.clear(), width, caption))
    if not material.runs:
        return outcomes
    points = points_of(material, setting)
    confusable = pl.col(COMPETING) == "confusable"
    points = points.filter(confusable if chosen.setup == "1v20" else ~confusable)
    if points.is_empty():
        lack = "1 vs. 20 (--label-space confusable)" if chosen.setup == "1v20" else "other than 1 vs. 20"
        outcomes.append(Absent(name, f"{words.absent} Wanted: {lack}."))
    for place, (_, part) in enumerate(points.group_by(PHOTOS, maintain_order=True)):
        behind = paper if material.published and part["comparable"].all() else paper.clear()
        caption = (
            f"Accuracy on {words.right} against accuracy on {words.left} (percent) on "
            f"{part['benchmark'][0]}, label space {part[COMPETING][0]}, with 95 % intervals. Pale, and "
            "lines with them: the paper's models, if photos and candidate names are theirs."
        )
        outcomes.append(_scatter(own(stem, place), behind, part, width, caption, words=words))
    return outcomes


def _scatter(
    stem: str,
    paper: pl.DataFrame,
    mine: pl.DataFrame,
    width: float,
    caption: str,
    *,
    words: Words = DROP_WORDS,
) -> Drawing:
    figure = new_figure(width, _HEIGHTS[width])
    axes = figure.subplots()
    _scale(axes, pl.concat([paper, mine]), words)
    limits = axes.get_xlim() + axes.get_ylim()
    _draw_line(axes, [min(limits), max(limits)], None, f"y = x: no {words.noun}")
    ends = np.array(axes.get_xlim())
    lined = paper if paper.height else mine
    for family in (name for name in _LINED if name in lined["family"]):
        for line in effective_robustness(lined, baseline=family).lines[:1]:
            fit, name = line.fit, FAMILY_NAMES[family]
            _draw_line(axes, ends, family, f"trend, {name}", 100 * fit.predict(ends / 100))
            slope, low, high = map(decimal, (fit.slope, fit.slope_low, fit.slope_high))
            caption += f" Line of {name}: slope {slope} [{low}, {high}], {fit.n} models."
    for source, points in (("paper", paper), ("own", mine)):
        for (family,), part in points.group_by("family", maintain_order=True):
            pale = source == "paper" and mine.height > 0
            _draw_points(axes, part, str(family), _LARGEST[width], source, pale=pale)
    figure.legend(loc="outside lower center", ncols=2 if width == COLUMN else 4)
    front, behind = (mine, paper) if mine.height else (paper, mine)
    if width == PAGE or len(mine) in range(1, 9):
        _name_points(axes, pl.concat([front, behind]), len(front), _LARGEST[width])
    return Drawing(stem, figure, caption + _KEY, () if mine.height else distinct_notes(paper))


def _scale(axes: Axes, points: pl.DataFrame, words: Words) -> None:
    """Show all points, and ends of intervals that are not near 0 or 1: those are far away on this scale."""
    ends = [pl.col(f"{group}_{end}").clip(*_BOUNDS_SHOWN) for group in GROUPS for end in ("low", "high")]
    shown = points.select(*GROUPS, *ends)
    common, counter = (
        pl.concat(shown.select(pl.col(f"^{group}.*$")).cast(pl.Float64)).drop_nulls() for group in GROUPS
    )
    _set_probit(axes, "x", common, words.left)
    # High enough for the line of no drop to pass the whole width of the cloud.
    _set_probit(axes, "y", pl.concat([counter, points["common"]]), words.right)
    axes.grid()


def _set_probit(axes: Axes, which: Literal["x", "y"], values: pl.Series, side: str) -> None:
    """Give one axis, whose units are percent, the probit scale around these accuracies, with ticks."""
    from matplotlib.ticker import MaxNLocator

    ends = _to_probit(_percent(values))
    margin = max(0.08 * np.ptp(ends), 0.05)
    low, high = _to_percent(ends.min() - margin), _to_percent(ends.max() + margin)
    getattr(axes, f"set_{which}scale")("function", functions=(_to_probit, _to_percent))
    getattr(axes, f"set_{which}lim")(low, high)
    ticks = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(low, high)
    marks = [tick for tick in ticks if low <= tick <= high]
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(marks, [f"{tick:g}" for tick in marks])
    axis.set_ticks([], minor=True)
    axis.set_label_text(f"{shorten(side, 44)}\naccuracy (%, probit scale)")


def _to_probit(percent: Any) -> Any:
    return to_scale(np.clip(np.asarray(percent, dtype=float) / 100, 0, 1), "probit", _BEYOND)


def _to_percent(quantile: Any) -> Any:
    return 100 * from_scale(quantile, "probit")


def _percent(accuracies: Any) -> Any:
    """The positions of accuracies; 0 and 1, which lie infinitely far away, are drawn `EDGE` from there."""
    return 100 * np.clip(np.asarray(accuracies, dtype=float), EDGE, 1 - EDGE)


def _places(points: pl.DataFrame) -> tuple[Any, Any]:
    return _percent(points["common"]), _percent(points["counter"])


def _marker_area(parameters: int | None, largest: float) -> float:
    """Return a model's marker area (points squared) by its parameters, on a logarithmic scale."""
    share = 0.324 if parameters is None else 0.118 + 0.882 * between(parameters, _PARAMETERS)
    return share * largest


def _draw_points(
    axes: Axes, part: pl.DataFrame, family: str, largest: float, source: str, *, pale: bool
) -> None:
    """Draw small markers over large ones, with intervals, and pale ones behind, without shade and ring."""
    part = part.sort("parameters", descending=True, nulls_last=True, maintain_order=True)
    colour = FAMILY_COLOURS[family]
    x, y = _places(part)
    axes.scatter(
        x,
        y,
        s=[_marker_area(count, largest) for count in part["parameters"]],
        c=[tint(colour, 0.2) if pale else shade(family, size) for size in part["data_size"]],
        marker=_MARKERS[family],
        edgecolors=[tint(colour, 0.45) if pale else INK if ring else colour for ring in part["high_quality"]],
        linewidths=_EDGE,
        zorder=2.5 if pale else 3,
        gid=f"{source}-{family}",
        label=f"{FAMILY_NAMES[family]}{' of the paper' if pale else ''}",
    )
    if source == "own":
        across, up = (
            np.abs([_percent(part[f"{group}_{end}"]) - at for end in ("low", "high")])
            for group, at in zip(GROUPS, (x, y), strict=True)
        )
        axes.errorbar(x, y, up, across, fmt="none", ecolor=tint(colour, 0.6), elinewidth=0.6, zorder=2.2)


def _draw_line(axes: Axes, x: Any, family: str | None, label: str, y: Any = None) -> None:
    axes.plot(
        x,
        x if y is None else y,
        color=FAMILY_COLOURS[family] if family else QUIET,
        linestyle="-" if family else "--",
        zorder=1.8 if family else 1.6,
        gid=f"line-{family}" if family else "diagonal",
        label=label,
    )


def _name_points(axes: Axes, points: pl.DataFrame, named: int, largest: float) -> None:
    """Write the names of the first points beside them, if there is room; no name covers any marker.

    This fixes the layout of the figure, which has everything else by now: positions are measured.

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
    # How far markers and their edges reach, in pixels.
    areas = np.array([_marker_area(count, largest) for count in points["parameters"]])
    reach = ((0.5 * areas**0.5 + _EDGE) * figure.dpi / 72).tolist()
    allocate: Any = textalloc.allocate  # whose annotations want lists of lists
    limits, (x, y) = (axes.get_xlim(), axes.get_ylim()), (each.tolist() for each in _places(points))
    allocate(
        axes,
        x[:named],
        y[:named],
        points["shown"].to_list()[:named],
        x_scatter=x,
        y_scatter=y,
        scatter_sizes=reach,
        text_scatter_sizes=reach[:named],
        textsize=TINY + 0.3,
        textcolor=INK,
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
        # Lines behind a name fade; a stroke around the letters would turn text into outlines.
        bbox={"boxstyle": "square,pad=0.08", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
    )
    axes.set(xlim=limits[0], ylim=limits[1])
