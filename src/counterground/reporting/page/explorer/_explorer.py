"""Common vs. counter accuracy as a scatter: data for the script, a still picture, what the controls offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.errors import missing_extra
from counterground.metrics import EDGE, LineFit
from counterground.reporting._style import FAMILY_NAMES, FAMILY_SHAPES, strength
from counterground.reporting._words import DROP_WORDS, Words
from counterground.reporting.page._marks import OUTLINES
from counterground.reporting.page.explorer._points import (
    NAMED,
    Item,
    domain,
    mostly_above,
    off_scale,
    own_points,
    paper_points,
    quantile,
)
from counterground.results import decimal
from counterground.text import legible

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Explorer:
    """The scatter: what the script draws from, the same as a still picture, and what its controls offer.

    ``families``: each family, its name, the outline of the paper's models, and whether the runs have any.
    ``paper`` says whether the paper's models are shown initially. ``lines`` are the trend lines in words, and
    whether each is through the paper's models. ``sizes_differ`` and ``shades_differ``: whether the runs'
    models differ in parameters, or in size of training data. ``off_scale`` are those beyond the axes.
    ``beside_paper``: whether the paper's models can be shown.
    """

    spec: dict[str, Any]
    still: Markup
    families: list[tuple[str, str, str, bool]]
    paper: bool
    lines: list[tuple[str, bool]]
    sizes_differ: bool
    shades_differ: bool
    off_scale: list[str]
    beside_paper: bool


def draw_explorer(
    items: Sequence[Item], published: pl.DataFrame, lines: Sequence[Trend], words: Words = DROP_WORDS
) -> Explorer | None:
    """Lay out the scatter; return None if no model has both groups.

    Args:
        items: the runs' models that have both groups.
        published: the paper's rows of `model_points`.
        lines: trend lines of families.
        words: words for the contrast whose sides the axes are.

    Raises:
        UsageError: altair or vl-convert is not installed.
    """
    if not items:
        return None
    try:
        from counterground.reporting.page.explorer._chart import draw_chart, draw_still
    except ModuleNotFoundError as error:
        raise missing_extra(error, "report") from error
    own = [item.row for item in items]
    shown = all(row["comparable"] for row in own)
    spans = [domain(own), domain([*own, *published.iter_rows(named=True)])]
    families = [f for f in FAMILY_NAMES if f in {*(row["family"] for row in own), *published["family"]}]
    marks = own_points(items, spans, _named(items), [[], list(published.iter_rows(named=True))], words)
    theirs = paper_points(published, FAMILY_SHAPES)
    chart = draw_chart(
        marks,
        theirs,
        _line_rows(lines),
        spans,
        families,
        words=words,
        paper=shown,
        above=mostly_above(items, words),
    )
    spec = legible(chart)
    return Explorer(
        spec,
        draw_still(spec),
        [
            (f, FAMILY_NAMES[f], OUTLINES[FAMILY_SHAPES[f]], any(row["family"] == f for row in own))
            for f in families
        ],
        shown,
        [(line.words, line.paper) for line in lines],
        sizes_differ=len({mark["area"] for mark in marks}) > 1,
        shades_differ=len({strength(row["data_size"]) for row in own}) > 1,
        off_scale=[f"{item.label}, {beyond}" for item in items if (beyond := off_scale(item.row, words))],
        beside_paper=published.height > 0,
    )


@dataclass(frozen=True)
class Trend:
    """A straight line on probit axes: its family, two ends in probit units, what it says, and whose it is."""

    family: str
    x: tuple[float, float]
    y: tuple[float, float]
    words: str
    paper: bool

    @classmethod
    def of(cls, fit: LineFit, family: str, *, paper: bool, names: str | None = None) -> Trend:
        """Return the line of a fit on the probit scale, from one end of any axis to the other.

        ``names``: the label space of its models, if models of others are on the chart, too.
        """
        x = quantile(EDGE), quantile(1 - EDGE)
        low, high = (float(fit.at(end)) for end in x)
        whose = f"{fit.n} of the paper’s models" if paper else f"{fit.n} models here"
        whose += f" (names: {names})" if names else ""
        words = (
            f"{FAMILY_NAMES[family]}: slope {decimal(fit.slope)} "
            f"[{decimal(fit.slope_low)}, {decimal(fit.slope_high)}], through {whose}"
        )
        return cls(family, x, (low, high), words, paper)


def _named(items: Sequence[Item]) -> list[str]:
    """Return the labels written beside their points: all if they are few, else the ends of the ranking."""
    if len(items) <= NAMED:
        return [item.label for item in items]
    ranked = sorted(items, key=lambda item: item.row["drop"])
    return [item.label for item in (*ranked[:3], *ranked[-3:])]


def _line_rows(lines: Sequence[Trend]) -> list[dict[str, Any]]:
    return [
        {
            "family": line.family,
            "paper": line.paper,
            **dict(zip(("x", "x2"), (round(value, 4) for value in line.x), strict=True)),
            **dict(zip(("y", "y2"), (round(value, 4) for value in line.y), strict=True)),
            "line": f"var(--f-{line.family})",
        }
        for line in lines
    ]
