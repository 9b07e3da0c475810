"""What each mitigation costs on common photos, and how much of the drop it removes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterground.metrics import Estimate
from counterground.paper.figures._material import Drawing, Material, Outcome
from counterground.paper.figures._scatter import name_points
from counterground.paper.figures._style import GRID, PAGE, QUIET, new_figure, tint
from counterground.results import CHEAP, HALF, MITIGATION_FILE, MitigationRecord, read_mitigation

_HEIGHT = 4.2
_MARKER = 22.0  # points squared
_GOAL = tint("#009E73", 0.15)
_KINDS = (
    ("background labels used for fitting or choosing", "#0072B2", "o", True),
    ("no such labels", "#D55E00", "^", False),
)


def draw_mitigation(material: Material) -> list[Outcome]:
    """Draw one figure for each run that `counterground mitigate` made."""
    made = [run for run in material.runs if (run.path / MITIGATION_FILE).is_file()]
    stems = [f"mitigation{f'-{place + 1}' if place else ''}" for place in range(len(made))]
    return [_draw(read_mitigation(run.path), stem) for run, stem in zip(made, stems, strict=True)]


def _draw(record: MitigationRecord, stem: str) -> Drawing:
    figure = new_figure(PAGE, _HEIGHT)
    axes = figure.subplots()
    drop = 100 * (record.unmitigated.drop.value or 0.0)
    axes.axhline(0, color=QUIET, linewidth=0.6)
    axes.axvline(0, color=QUIET, linewidth=0.6)
    for label, colour, marker, labelled in _KINDS:
        chosen = [each for each in record.methods if ("used" in each.group_labels.values()) == labelled]
        if chosen:
            (x, across), (y, up) = (
                _figures([each.cost for each in chosen]),
                _figures([each.gain for each in chosen]),
            )
            axes.errorbar(
                x, y, up, across, fmt=marker, color=colour, elinewidth=0.6, markersize=4, label=label
            )
    axes.set_xlabel("Cost: accuracy lost on common photos (points; negative: gained)")
    axes.set_ylabel("Gain: points by which the drop shrinks")
    axes.grid(color=GRID, linewidth=0.5)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    # Markers of methods that change nothing lie on both axes: leave some room on all sides.
    left, right, bottom, top = (
        min(left, -2.0),
        max(right, 2.0),
        min(bottom, -2.0),
        max(top, 1.05 * HALF * drop),
    )
    ends = [max(left, bottom), min(right, top)]
    axes.plot(ends, ends, color=QUIET, linewidth=0.8, linestyle=":", label="counter accuracy as before")
    if drop > 0:
        goal = "half of the drop gone, cost at most 1 point"
        axes.fill_between([left, 100 * CHEAP], HALF * drop, top, color=_GOAL, linewidth=0, label=goal)
    axes.set(xlim=(left, right), ylim=(bottom, top))
    figure.legend(loc="outside lower center", ncols=4)
    shown = [each for each in record.methods if each.cost.value is not None and each.gain.value is not None]
    positions = [(100 * (each.cost.value or 0), 100 * (each.gain.value or 0)) for each in shown]
    name_points(axes, positions, [each.name for each in shown], [_MARKER] * len(shown))
    estimate = record.unmitigated.drop
    caption = (
        f"What mitigations of {record.model} cost on the left side of {record.contrast}, and how much of its "
        f"difference ({estimate.text} points {estimate.interval}) they remove, on {record.benchmark}; with "
        "paired 95 % intervals. Above the dotted line, accuracy on the right side rises; on the line, all of "
        "the gain is accuracy lost on the left side. Each photo was classified by a head that was fitted and "
        "chosen on other clusters. Names without room are left out."
    )
    return Drawing(stem, figure, caption)


def _figures(found: Sequence[Estimate]) -> tuple[np.ndarray, np.ndarray]:
    """Return values in points, and how far their intervals reach below and above, ``[2, n]``."""
    values, *ends = 100 * np.array([(each.value, each.low, each.high) for each in found], dtype=float).T
    return values, np.abs(ends - values)
