"""How figures look in print, and how they are written: sizes, inks, panels, Matplotlib's parameters."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from counterground.errors import needs_extra
from counterground.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.3, 6.9
"""Inches: one column and the full width of a two-column page."""
TEXT, SMALL, TINY = 7.0, 6.0, 5.0
"""Points, at print size."""
INK, QUIET, GRID = "#1F2328", "#5B6470", "#E3E7EB"
BLUE, ORANGE = "#0072B2", "#D55E00"
"""Distinct for colour-blind readers."""
Format = Literal["pdf", "svg", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)
_TICKS = {"labelsize": SMALL, "color": QUIET, "labelcolor": INK}
_TICKS |= {"major.width": 0.6, "major.size": 2.5, "major.pad": 2}
_RC: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    **{f"{axis}tick.{name}": value for axis in "xy" for name, value in _TICKS.items()},
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 0.8,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.5,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "figure.dpi": 200,
    "figure.constrained_layout.h_pad": 0.02,
    "figure.constrained_layout.w_pad": 0.02,
    # Text stays text in every format.
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
_METADATA: dict[Format, dict[str, Any]] = {
    "pdf": {"Creator": "CounterGround", "Producer": None, "CreationDate": None},
    "svg": {"Creator": "CounterGround", "Date": None},
    "png": {"Software": "CounterGround"},
}


def print_style() -> AbstractContextManager[None]:
    """Return a context with Matplotlib's defaults and ours, whatever the matplotlibrc, to draw and save in.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    with needs_extra("paper"):
        from matplotlib import style
    context: AbstractContextManager[None] = style.context(["default", _RC])
    return context


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches; pyplot does not know about it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panel_grid(
    panels: int, columns: int, height: float, label: str, *, sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of a page's width with panels of ``height`` inches that share their y-axis."""
    lines = -(-panels // columns)
    figure = new_figure(PAGE, height * lines + 0.3)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=sharex, sharey=True).ravel()
    for axes in grid[panels:]:
        axes.set_visible(False)
    figure.supylabel(label, fontsize=TEXT)
    return figure, list(grid[:panels])


def save_figure(figure: Figure, stem: Path, formats: Sequence[Format]) -> list[Path]:
    """Write ``<stem>.<format>`` without dates: the same figure, the same bytes; call it in `print_style`."""
    from matplotlib import rc_context

    written = []
    for kind in formats:
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": stem.name, "svg.id": stem.name}):  # ids of the drawing alone
            figure.savefig(buffer, format=kind, dpi=300, metadata=_METADATA[kind])
        written.append(stem.with_suffix(f".{kind}"))
        write_bytes(written[-1], buffer.getvalue())
    return written
