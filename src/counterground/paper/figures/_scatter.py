"""Figures 2, 13 and 14: counter against common accuracy, with each family's trend, a key and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from counterground.comparison import RobustnessLine, effective_robustness
from counterground.errors import needs_extra
from counterground.findings import DROP_WORDS, Words
from counterground.metrics import COMPETING, EDGE, GROUPS, Estimate, from_scale, to_scale
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
from counterground.paper.style import BLUE, COLUMN, INK, ORANGE, PAGE, QUIET, TINY, new_figure
from counterground.published import SETTINGS, SettingName
from counterground.reporting.shell import FAMILY_COLOURS, FAMILY_NAMES
from counterground.results import HALF, MITIGATION_FILE, MitigationRecord, read_mitigation
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
    for line, family in _lines(paper if paper.height else mine):
        fit, name = line.fit, FAMILY_NAMES[family]
        _draw_line(axes, ends, family, f"trend, {name}", 100 * fit.predict(ends / 100))
        caption += (
            f" Line of {name}: slope {decimal(fit.slope)} "
            f"[{decimal(fit.slope_low)}, {decimal(fit.slope_high)}], {fit.n} models."
        )
    for source, points in (("paper", paper), ("own", mine)):
        for (family,), part in points.group_by("family", maintain_order=True):
            pale = source == "paper" and mine.height > 0
            _draw_points(axes, part, str(family), _LARGEST[width], source, pale=pale)
    figure.legend(loc="outside lower center", ncols=2 if width == COLUMN else 4)
    front, behind = (mine, paper) if mine.height else (paper, mine)
    if width == PAGE or len(mine) in range(1, 9):
        both = pl.concat([front, behind])
        areas = [_marker_area(n, _LARGEST[width]) for n in both["parameters"]]
        name_points(axes, np.stack(_places(both), axis=1), front["shown"].to_list(), areas)
    return Drawing(stem, figure, caption + _KEY, () if mine.height else distinct_notes(paper))


def _lines(points: pl.DataFrame) -> list[tuple[RobustnessLine, str]]:
    """Return the trend of each family that has three models."""
    return [
        (line, family)
        for family in _LINED
        if family in points["family"]
        for line in effective_robustness(points, baseline=family).lines[:1]
    ]


def _scale(axes: Axes, points: pl.DataFrame, words: Words) -> None:
    """Show all points, and ends of intervals that are not near 0 or 1: those are far away on this scale."""
    low, high = _BOUNDS_SHOWN
    shown = {
        group: [
            *points[group],
            *(points[f"{group}_{end}"].drop_nulls().clip(low, high) for end in ("low", "high")),
        ]
        for group in GROUPS
    }
    common, counter = (np.hstack(values).astype(float) for values in shown.values())
    _set_probit(axes, "x", common, words.left)
    # High enough for the line of no drop to pass the whole width of the cloud.
    _set_probit(axes, "y", np.hstack([counter, points["common"].to_numpy()]), words.right)
    axes.grid()


def _set_probit(axes: Axes, which: Literal["x", "y"], values: np.ndarray, side: str) -> None:
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


def name_points(axes: Axes, places: np.ndarray, texts: Sequence[str], areas: Sequence[float]) -> None:
    """Write ``texts`` beside the first points, if there is room; no name covers any marker.

    This fixes the layout of the figure, because names are placed on measured positions.

    Args:
        axes: axes with everything else already drawn.
        places: ``[n, 2]`` positions of markers, in the units of the axes.
        texts: names of the first of them.
        areas: of the markers, in typographic points squared.

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
    reach = ((0.5 * np.array(areas) ** 0.5 + _EDGE) * figure.dpi / 72).tolist()
    allocate: Any = textalloc.allocate  # whose annotations want lists of lists
    limits, (x, y) = (axes.get_xlim(), axes.get_ylim()), places.T.tolist()
    allocate(
        axes,
        x[: len(texts)],
        y[: len(texts)],
        list(texts),
        x_scatter=x,
        y_scatter=y,
        scatter_sizes=reach,
        text_scatter_sizes=reach[: len(texts)],
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


def draw_mitigation(material: Material) -> list[Outcome]:
    """Draw one figure for each run that `counterground mitigate` made."""
    made = [run for run in material.runs if (run.path / MITIGATION_FILE).is_file()]
    stems = [f"mitigation{f'-{place + 1}' if place else ''}" for place in range(len(made))]
    return [_draw(read_mitigation(run.path), stem) for run, stem in zip(made, stems, strict=True)]


def _draw(record: MitigationRecord, stem: str) -> Drawing:
    figure = new_figure(PAGE, 4.2)
    axes = figure.subplots()
    estimate = record.unmitigated.drop
    drop = 100 * (estimate.value or 0.0)
    axes.axhline(0, color=QUIET, linewidth=0.6)
    axes.axvline(0, color=QUIET, linewidth=0.6)
    for label, colour, marker, labelled in (
        ("background labels used for fitting or choosing", BLUE, "o", True),
        ("no such labels", ORANGE, "^", False),
    ):
        chosen = [each for each in record.methods if ("used" in each.group_labels.values()) == labelled]
        if chosen:
            x, across = _ends([each.cost for each in chosen])
            y, up = _ends([each.gain for each in chosen])
            axes.errorbar(
                x, y, up, across, fmt=marker, color=colour, elinewidth=0.6, markersize=4, label=label
            )
    axes.set_xlabel("Cost: accuracy lost on common photos (points; negative: gained)")
    axes.set_ylabel("Gain: points by which the drop shrinks")
    axes.grid()
    # Markers of methods that change nothing lie on both axes: leave some room on all sides.
    left, right = min(axes.get_xlim()[0], -2.0), max(axes.get_xlim()[1], 2.0)
    bottom, top = min(axes.get_ylim()[0], -2.0), max(axes.get_ylim()[1], 2.0, 1.05 * HALF * drop)
    ends = [max(left, bottom), min(right, top)]
    axes.plot(ends, ends, color=QUIET, linewidth=0.8, linestyle=":", label="counter accuracy as before")
    if drop > 0:
        goal = "half of the drop gone, cost at most 1 point"
        green = tint(FAMILY_COLOURS["lvlm"], 0.15)
        axes.fill_between([left, 1], HALF * drop, top, color=green, linewidth=0, label=goal)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    figure.legend(loc="outside lower center", ncols=4)
    shown = [each for each in record.methods if each.cost.value is not None and each.gain.value is not None]
    places = np.stack([_ends([getattr(each, of) for each in shown])[0] for of in ("cost", "gain")], axis=1)
    name_points(axes, places, [each.name for each in shown], [22.0] * len(shown))
    caption = (
        f"What mitigations of {record.model} cost on the left side of {record.contrast}, and how much of its "
        f"difference ({estimate.text} points {estimate.interval}) they remove, on {record.benchmark}; with "
        "paired 95 % intervals. Above the dotted line, accuracy on the right side rises; on the line, all of "
        "the gain is accuracy lost on the left side. Each photo was classified by a head that was fitted and "
        "chosen on other clusters. Names without room are left out."
    )
    return Drawing(stem, figure, caption)


def _ends(estimates: Sequence[Estimate]) -> tuple[np.ndarray, np.ndarray]:
    """Return values in points, and how far their intervals reach below and above, ``[2, n]``."""
    values, *ends = 100 * np.array([(each.value, each.low, each.high) for each in estimates], dtype=float).T
    return values, np.abs(ends - values)
