"""What each mitigation costs on common photos, and how much of the drop it removes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.metrics import DROP
from counterground.paper.figures._material import Drawing, Material, Outcome
from counterground.paper.figures._scatter import name_points
from counterground.paper.figures._style import GRID, INK, PAGE, QUIET, new_figure, tint
from counterground.results import CHEAP, HALF, MITIGATION_FILE, Figure, MitigationRecord, read_mitigation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEIGHT = 4.2
_MARKER = 22.0  # points squared
_LABELS, _NONE = "#0072B2", "#D55E00"  # Okabe and Ito
_GOAL = tint("#009E73", 0.15)
_EVEN: dict[str, Any] = {"color": QUIET, "linewidth": 0.8, "linestyle": ":"}


def draw_mitigation(material: Material) -> list[Outcome]:
    """Draw one figure for each run that `counterground mitigate` made."""
    made = [run for run in material.runs if (run.path / MITIGATION_FILE).is_file()]
    stems = [f"mitigation{f'-{place + 1}' if place else ''}" for place in range(len(made))]
    return [_draw(read_mitigation(run.path), stem) for run, stem in zip(made, stems, strict=True)]


def _draw(record: MitigationRecord, stem: str) -> Drawing:
    figure = new_figure(PAGE, _HEIGHT)
    axes = figure.subplots()
    own = record.unmitigated.drop
    drop = own.value or 0.0
    axes.axhline(0, color=QUIET, linewidth=0.6)
    axes.axvline(0, color=QUIET, linewidth=0.6)
    methods = [each for each in record.methods if each.cost.value is not None and each.gain.value is not None]
    for each in methods:
        labelled = "used" in each.group_labels.values()
        _point(axes, each.cost, each.gain, labelled=labelled)
    axes.set_xlabel("Cost: accuracy lost on common photos (points; negative: gained)")
    axes.set_ylabel("Gain: points by which the drop shrinks")
    axes.grid(color=GRID, linewidth=0.5)
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    # Markers of methods that change nothing lie on both axes: leave some room on all sides.
    axes.set_xlim(min(left, -2.0), max(right, 2.0))
    axes.set_ylim(min(bottom, -2.0), max(top, 105 * HALF * drop))
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    ends = [max(left, bottom), min(right, top)]
    axes.plot(ends, ends, **_EVEN)
    if drop > 0:
        axes.fill_between([left, 100 * CHEAP], 100 * HALF * drop, top, color=_GOAL, linewidth=0)
    _legend(axes, goal=drop > 0)
    positions = [(100 * (each.cost.value or 0), 100 * (each.gain.value or 0)) for each in methods]
    names = [each.name for each in methods]
    left_out = name_points(axes, positions, names, [_MARKER] * len(names))
    size = f"{own.estimate.text} points {own.estimate.interval}".rstrip()
    caption = (
        f"What mitigations of {record.model} cost on common photos, and how much of its drop "
        f"({size}) they remove, on {record.benchmark}; lines are "
        "paired 95 % intervals. Above the dotted line, accuracy on counter photos rises; on the line, all of "
        "the gain is accuracy lost on common photos. Each photo was classified by a head that was fitted and "
        "chosen on other clusters."
    )
    if record.contrast != str(DROP):
        caption += f" Common photos are the left side and counter photos the right side of {record.contrast}."
    if drop > 0:
        caption += " Shaded: at least half of the drop gone at a cost of at most 1 point."
    if left_out:
        caption += f" No room for the names of {', '.join(left_out)}."
    return Drawing(stem, figure, caption)


def _point(axes: Axes, cost: Figure, gain: Figure, *, labelled: bool) -> None:
    if cost.value is None or gain.value is None:
        return
    colour, x, y = (_LABELS if labelled else _NONE), 100 * cost.value, 100 * gain.value
    if cost.low is not None and cost.high is not None:
        axes.plot([100 * cost.low, 100 * cost.high], [y, y], color=tint(colour, 0.4), linewidth=0.6)
    if gain.low is not None and gain.high is not None:
        axes.plot([x, x], [100 * gain.low, 100 * gain.high], color=tint(colour, 0.4), linewidth=0.6)
    axes.scatter(
        [x],
        [y],
        s=_MARKER,
        marker="o" if labelled else "^",
        c=colour,
        edgecolors="white",
        linewidths=0.5,
        zorder=3,
    )


def _legend(axes: Axes, *, goal: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [
        Line2D([], [], linestyle="none", marker="o", color=_LABELS, markersize=4),
        Line2D([], [], linestyle="none", marker="^", color=_NONE, markersize=4),
        Line2D([], [], **_EVEN),
        Patch(facecolor=_GOAL, edgecolor=INK, linewidth=0.3),
    ]
    texts = [
        "background labels used for fitting or choosing",
        "no such labels",
        "counter accuracy as before",
        "half of the drop gone, cost at most 1 point",
    ]
    shown = 3 + goal
    axes.figure.legend(entries[:shown], texts[:shown], loc="outside lower center", ncols=shown)
