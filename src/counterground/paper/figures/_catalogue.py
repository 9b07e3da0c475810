"""Which figures there are, what draws each, and what to say if nothing can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from counterground.errors import UsageError, did_you_mean
from counterground.paper.figures._backbones import draw_bar_figure
from counterground.paper.figures._classes import draw_all_class_drops, draw_class_drops, draw_group_sizes
from counterground.paper.figures._material import Material, Outcome
from counterground.paper.figures._mitigation import draw_mitigation
from counterground.paper.figures._photos import draw_panel
from counterground.paper.figures._scatter import (
    draw_names_1v20,
    draw_names_1v1000,
    draw_scatter_1v20,
    draw_scatter_1v1000,
)
from counterground.paper.figures._studies import draw_coloredcoco, draw_multicoloredmnist, draw_theory

TABLES = "tables"


class FigureKind(NamedTuple):
    """What a figure shows, the function that draws it, and what to add if there is nothing to draw."""

    title: str
    draw: Callable[[Material], list[Outcome]]
    need: str


_RUN = "add --published, or name a RUN."


_EXAMPLES = (
    "example images of the paper, which are not in this package; `paper study coloredcoco` draws "
    "examples of its own. Table 8 is --only multicoloredmnist, the theorem --only theory."
)


def _draw_nothing(_material: Material) -> list[Outcome]:
    return []


def _study(name: str) -> str:
    return f"add --published, or --study DIR of `counterground paper study {name} --out DIR`."


FIGURES: dict[str, FigureKind] = {
    "1": FigureKind("photos of one class on both backgrounds", draw_panel, _RUN),
    "2a": FigureKind("counter against common accuracy, 1 vs. 1000", draw_scatter_1v1000, _RUN),
    "2b": FigureKind("counter against common accuracy, 1 vs. 20", draw_scatter_1v20, _RUN),
    "3": FigureKind("photos per class and group", draw_group_sizes, _RUN),
    "4": FigureKind("drop per class, one model", draw_class_drops, _RUN),
    "5": FigureKind("accuracy by backbone and by data", partial(draw_bar_figure, name="5"), _RUN),
    "6": FigureKind("accuracy by data", partial(draw_bar_figure, name="6"), _RUN),
    "7": FigureKind("accuracy by backbone", partial(draw_bar_figure, name="7"), _RUN),
    "8": FigureKind("drop by data", partial(draw_bar_figure, name="8"), _RUN),
    "9": FigureKind("drop of CLIPs and ImageNet models", partial(draw_bar_figure, name="9"), _RUN),
    "10": FigureKind("ColoredCOCO", draw_coloredcoco, _study("coloredcoco")),
    "11": FigureKind("example images", _draw_nothing, _EXAMPLES),
    "12": FigureKind("example images", _draw_nothing, _EXAMPLES),
    "13": FigureKind("as 2a, with names", draw_names_1v1000, _RUN),
    "14": FigureKind("as 2b, with names", draw_names_1v20, _RUN),
    "15": FigureKind("drop per class, several models", draw_all_class_drops, _RUN),
    "mitigation": FigureKind(
        "cost and gain of mitigations",
        draw_mitigation,
        "name the folder of `counterground mitigate BENCHMARK -m MODEL --method all --out DIR`.",
    ),
    "multicoloredmnist": FigureKind(
        "MultiColoredMNIST, Table 8", draw_multicoloredmnist, _study("multicoloredmnist")
    ),
    "theory": FigureKind(
        "the theorem and simulation",
        draw_theory,
        "add --study DIR of `counterground paper study theory --out DIR`.",
    ),
}
"""Every figure of the paper by its number, figures of two of its other results, and one of our own."""
OF_MODELS = ("2a", "2b", "4", "5", "6", "7", "8", "9", "13", "14", "15")
"""Those that show how models differ between two sides."""


def chosen_names(only: Sequence[str]) -> list[str]:
    """Return the requested names in the paper's order, all if there are none; ``2`` means 2a and 2b.

    Raises:
        UsageError: a name is unknown.
    """
    known = [*FIGURES, TABLES]
    wanted: set[str] = set()
    for name in only:
        plain = name.lower().removeprefix("figure").strip(" -_")
        parts = [each for each in known if each == plain or each.rstrip("ab") == plain]
        if not parts:
            hint = did_you_mean(plain, known)
            raise UsageError(f"There is no figure {name!r}; choose from {', '.join(known)}.{hint}")
        wanted |= set(parts)
    return [name for name in known if name in wanted or not only]
