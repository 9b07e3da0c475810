"""The scatter as an Altair chart: one specification for the script and for the still picture.

The only module that needs Altair.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from textwrap import wrap
from typing import Any

import altair as alt
import vl_convert
from altair.utils.schemapi import debug_mode
from markupsafe import Markup

from counterground.reporting._words import Words
from counterground.reporting.page.explorer._points import FONT, FRAMES, Domain

_SIDE = 620
_TITLE = 44  # characters in a line of an axis title, on the narrowest phones
_CSS = {"ink": "var(--ink)", "soft": "var(--soft)", "grid": "var(--grid)", "page": "var(--page)"}


def draw_chart(
    own: list[dict[str, Any]],
    theirs: list[dict[str, Any]],
    lines: list[dict[str, Any]],
    spans: Sequence[Domain],
    families: Sequence[str],
    *,
    words: Words,
    paper: bool,
    above: bool,
) -> dict[str, Any]:
    """Draw the scatter as Vega-Lite.

    ``paper`` says whether the paper's models are shown initially, ``above`` whether most models lie above the
    diagonal.
    """
    own_only, with_paper = spans
    params: list[dict[str, Any]] = [
        {"name": "paper", "value": paper},
        {"name": "families", "value": list(families)},
        {"name": "hover", "value": 0},
        {"name": "low", "expr": f"paper ? {with_paper.low} : {own_only.low}"},
        {"name": "high", "expr": f"paper ? {with_paper.high} : {own_only.high}"},
        {"name": "ticks", "expr": f"paper ? {with_paper.ticks} : {own_only.ticks}"},
    ]
    fixed = _specification(words, above)
    data = {"own": own, "theirs": theirs, "lines": lines or [{"family": ""}]}
    return fixed | {"params": params, "datasets": fixed["datasets"] | data}


@cache
def _specification(words: Words, above: bool) -> dict[str, Any]:
    """Return the chart without data and parameters; tests check it against Vega-Lite's schema (slow).

    A notebook's own theme and data transformer are for its own charts.
    """
    with debug_mode(False), alt.theme.enable("default"), alt.data_transformers.enable("default"):
        return _layered(words, above).to_dict(validate=False)


def _layered(words: Words, above: bool) -> alt.LayerChart:
    axes = _Axes(words)
    layers: list[Any] = [
        _diagonal(words, above),
        _lines(axes),
        _paper_layer(axes),
        *_crosses(axes),
        _leaders(axes),
        *_names(axes),
        _points(axes),
    ]
    layered: alt.LayerChart = (
        alt.layer(*layers)
        .properties(
            width=_SIDE, height=_SIDE, autosize=alt.AutoSizeParams(type="fit", contains="padding"), padding=4
        )
        .configure(background="transparent", font="sans-serif")
        .configure_view(stroke=_CSS["grid"])
    )
    return layered


class _Axes:
    """Both axes: probit positions, written in percent, with the domain that the controls choose."""

    def __init__(self, words: Words) -> None:
        self.left, self.right = (_axis_title(title) for title in words.titles[:2])
        low, high = alt.ExprRef("low"), alt.ExprRef("high")
        self.scale = alt.Scale(domain=[low, high], nice=False, zero=False)
        self.values = alt.ExprRef("ticks")

    def marker(self) -> dict[str, Any]:
        """Return the encoding of a model's point."""
        return {
            "x": self.x(),
            "y": self.y(),
            "size": alt.Size("area:Q", scale=None),
            "shape": alt.Shape("shape:N", scale=None),
            "tooltip": alt.Tooltip("tip:N"),
            "description": alt.Description("label:N"),
        }

    def _axis(self, title: str | list[str]) -> alt.Axis:
        return alt.Axis(
            title=title,
            titleLineHeight=alt.Undefined if isinstance(title, str) else 1.25 * FONT,
            values=self.values,
            labelExpr="format(100 * cumulativeNormal(datum.value), '.3~r')",
            labelOverlap=True,
            labelFontSize=FONT,
            titleFontSize=FONT,
            titleFontWeight="normal",
            labelColor=_CSS["soft"],
            titleColor=_CSS["soft"],
            gridColor=_CSS["grid"],
            domain=False,
            ticks=False,
            labelPadding=6,
        )

    def x(self, field: str = "x") -> alt.X:
        return alt.X(field, type="quantitative", scale=self.scale, axis=self._axis(self.left))

    def y(self, field: str = "y") -> alt.Y:
        return alt.Y(field, type="quantitative", scale=self.scale, axis=self._axis(self.right))


def _as(field: str) -> Any:
    """Return a colour that the data name."""
    return alt.ExprRef(f"datum.{field}")


def _axis_title(side: str) -> str | list[str]:
    """Return the title of an axis: one line, or several if the name of the side is long."""
    title = f"{side} accuracy, % (probit scale)"
    lines = [*wrap(side, _TITLE, break_on_hyphens=False), "accuracy, % (probit scale)"]
    return title if len(title) <= _TITLE else lines


def _diagonal(words: Words, above: bool) -> Any:
    ends = alt.InlineData([{"end": 0}])
    base = alt.Chart(ends).transform_calculate(x="low", x2="high", y="low", y2="high")
    line = base.mark_rule(strokeDash=[5, 4], color=_CSS["soft"], aria=False).encode(
        x="x:Q", x2="x2", y="y:Q", y2="y2"
    )
    label = base.mark_text(
        text=f"dashed: no {words.noun}",
        align="right" if above else "left",
        baseline="bottom" if above else "top",
        dx=-8 if above else 8,
        dy=-8 if above else 8,
        color=_CSS["soft"],
        fontSize=FONT,
        aria=False,
    ).encode(x="x2:Q" if above else "x:Q", y=alt.Y("y:Q" if above else "y2:Q"))
    return alt.layer(line, label)


def _lines(axes: _Axes) -> Any:
    return (
        alt.Chart(alt.NamedData("lines"))
        .transform_filter("indexof(families, datum.family) >= 0 && (paper || !datum.paper)")
        .mark_rule(clip=True, strokeWidth=1.5, opacity=0.75, stroke=_as("line"), aria=False)
        .encode(x=axes.x(), y=axes.y(), x2="x2", y2="y2")
    )


def _paper_layer(axes: _Axes) -> Any:
    return (
        alt.Chart(alt.NamedData("theirs"))
        .transform_filter("paper && indexof(families, datum.family) >= 0")
        .mark_point(filled=False, stroke=_as("colour"), fill="transparent", strokeWidth=1.4, opacity=0.8)
        .encode(**axes.marker())
    )


def _own() -> Any:
    return alt.Chart(alt.NamedData("own")).transform_filter("indexof(families, datum.family) >= 0")


def _crosses(axes: _Axes) -> list[Any]:
    base = _own()
    style: dict[str, Any] = {
        "clip": True,
        "stroke": _as("line"),
        "strokeWidth": 1.4,
        "opacity": 0.6,
        "aria": False,
    }
    return [
        base.transform_filter("datum.xl !== null")
        .mark_rule(**style)
        .encode(x=axes.x("xl"), x2="xh", y=axes.y()),
        base.transform_filter("datum.yl !== null")
        .mark_rule(**style)
        .encode(x=axes.x(), y=axes.y("yl"), y2="yh"),
    ]


# Names have a place for each domain and, within it, for each of `FRAMES`.
_AT = f"(paper ? {len(FRAMES)} : 0) + (width < 265 ? 2 : width < 430 ? 1 : 0)"


def _right(pixels: str) -> str:
    return f"datum.x + (high - low) * {pixels} / width"


def _down(pixels: str) -> str:
    return f"datum.y - (high - low) * {pixels} / height"


def _leaders(axes: _Axes) -> Any:
    """Thin lines from points to names at a distance."""
    return (
        _own()
        .transform_calculate(to=f"datum.leader[{_AT}]")
        .transform_filter("datum.to.length > 0")
        .transform_calculate(
            lx=_right("datum.to[0]"),
            ly=_down("datum.to[1]"),
            lx2=_right("datum.to[2]"),
            ly2=_down("datum.to[3]"),
        )
        .mark_rule(color=_CSS["soft"], strokeWidth=0.8, aria=False)
        .encode(x=axes.x("lx"), y=axes.y("ly"), x2="lx2", y2="ly2")
    )


def _names(axes: _Axes) -> list[Any]:
    """Names beside points, at the places found for this width and domain."""
    base = (
        _own()
        .transform_calculate(name=f"datum.text[{_AT}]", ox=f"datum.dx[{_AT}]", oy=f"datum.dy[{_AT}]")
        .transform_filter("datum.name !== ''")
        .transform_calculate(nx=_right("datum.ox"), ny=_down("datum.oy"))
    )
    style: dict[str, Any] = {
        "align": "left",
        "baseline": "alphabetic",
        "fontSize": FONT,
        "fontWeight": 600,
        "aria": False,
    }
    return [
        base.mark_text(**style, color=_CSS["page"], stroke=_CSS["page"], strokeWidth=4).encode(
            x=axes.x("nx"), y=axes.y("ny"), text="name:N"
        ),
        base.mark_text(**style, color=_CSS["ink"]).encode(x=axes.x("nx"), y=axes.y("ny"), text="name:N"),
    ]


def _points(axes: _Axes) -> Any:
    return (
        _own()
        .mark_point(
            filled=True,
            fill=_as("colour"),
            stroke=alt.ExprRef(f"datum.id === hover ? '{_CSS['ink']}' : datum.line"),
            strokeWidth=alt.ExprRef("datum.id === hover ? 3 : 1.2"),
            opacity=1,
        )
        .encode(**axes.marker())
    )


def draw_still(spec: dict[str, Any]) -> Markup:
    """Return the chart as SVG, for readers without scripts and for print; Vega escapes every text."""
    return Markup(vl_convert.vegalite_to_svg(spec))  # noqa: S704 - tested with hostile names
