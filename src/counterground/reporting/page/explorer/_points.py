"""The scatter's marks as rows of data: positions, what hovering shows, and where names go."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from counterground.metrics import GROUPS
from counterground.reporting._axes import WIDEST_APART, limits, on_axis, probit, shown_values, ticks
from counterground.reporting._placement import Box, Disc, Place, Segment, place_names, text_width
from counterground.reporting._style import FAMILY_COLOURS, FAMILY_NAMES, marker_area, strength
from counterground.reporting._words import DROP_WORDS, Words
from counterground.reporting.page._marks import Mark
from counterground.results import bounds, count, percent

NAMED = 10
FONT = 12.0
# Sides of the square that holds the marks, in pixels: on wide screens, on phones and on small ones.
FRAMES = (560.0, 290.0, 225.0)
_DIAGONAL_WORDS = 130.0


class Item(NamedTuple):
    """One of the runs' models on the scatter: its row of `model_points`, its label and how it is drawn."""

    row: dict[str, Any]
    label: str
    mark: Mark


@dataclass(frozen=True)
class Domain:
    """The range of both axes and their ticks, in probit units."""

    low: float
    high: float
    ticks: list[float]


def quantile(accuracy: float) -> float:
    """Return the position of an accuracy (fraction) on the axes."""
    return float(probit(on_axis(accuracy)))


def domain(rows: Sequence[dict[str, Any]]) -> Domain:
    """Return what the axes must span to hold these rows of `model_points`."""
    low, high = limits(shown_values(rows))
    marks = [round(float(probit(tick)), 6) for tick in ticks(low, high, WIDEST_APART)]
    return Domain(float(probit(low)), float(probit(high)), marks)


def mostly_above(items: Sequence[Item], words: Words) -> bool:
    """Whether most models lie above the diagonal, so that its name goes below; never for the drop."""
    above = [item for item in items if item.row["drop"] < 0]
    return not words.is_drop and 2 * len(above) > len(items)


def off_scale(row: dict[str, Any], words: Words) -> str:
    """Name the accuracies of a model that the axes cannot show (0 and 100 %); empty if they show both."""
    beyond = [
        (title, row[name])
        for name, title in zip(GROUPS, (words.left, words.right), strict=True)
        if on_axis(row[name]) != row[name]
    ]
    return " and ".join(f"{title} {percent(value)} %" for title, value in beyond)


def own_points(
    items: Sequence[Item],
    domains: Sequence[Domain],
    named: Sequence[str],
    behind: Sequence[Sequence[dict[str, Any]]],
    words: Words = DROP_WORDS,
) -> list[dict[str, Any]]:
    """Return the runs' models as data of marks, with a place for the name in each domain and frame.

    ``behind``: for each domain, rows of `model_points` whose marks names should not cover.
    """
    # In the order in which the chart's expression counts them.
    places = [
        _places(items, span, side, named, others, words=words)
        for span, others in zip(domains, behind, strict=True)
        for side in FRAMES
    ]
    points = []
    for at, item in enumerate(items):
        row, family = item.row, item.row["family"]
        points.append(
            {
                **_position(row),
                **_interval(row, "common", "x"),
                **_interval(row, "counter", "y"),
                "id": item.mark.number,
                "label": item.label,
                "family": family,
                "colour": own_colour(family, row["data_size"]),
                "line": f"var(--f-{_known(family)})",
                "area": round(marker_area(row["parameters"])),
                "shape": item.mark.shape,
                "tip": tip(item.label, row, words),
                "dx": [place[at].x for place in places],
                "dy": [place[at].y for place in places],
                "text": [place[at].text for place in places],
                "leader": [place[at].leader for place in places],
            }
        )
    return points


def paper_points(points: pl.DataFrame, shapes: dict[str, str]) -> list[dict[str, Any]]:
    """Return the paper's models as data of marks."""
    return [
        {
            **_position(row),
            "label": row["label"],
            "family": row["family"],
            "colour": own_colour(row["family"], row["data_size"]),
            "line": f"var(--f-{_known(row['family'])})",
            "area": round(marker_area(row["parameters"])),
            "shape": shapes.get(row["family"], "circle"),
            "tip": tip(f"{row['label']} (paper)", row),
        }
        for row in points.iter_rows(named=True)
    ]


def own_colour(family: str, data_size: int | None) -> str:
    """Return a family's colour as CSS that follows the theme, paler for less data but never hollow."""
    share = round(40 + 60 * strength(data_size))
    return f"color-mix(in srgb, var(--f-{_known(family)}) {share}%, var(--page))"


def tip(title: str, row: dict[str, Any], words: Words = DROP_WORDS) -> dict[str, str]:
    """Return what hovering shows about a model: its name, then the names of figures and the figures."""
    facts = {"title": title}
    for figure, name in zip((*GROUPS, "drop"), words.titles, strict=True):
        unit = "points" if figure == "drop" else "%"
        edges = bounds(row[f"{figure}_low"], row[f"{figure}_high"])
        facts[name] = f"{percent(row[figure])} {unit} {edges}".rstrip()
    facts["Family"] = FAMILY_NAMES.get(row["family"], FAMILY_NAMES["other"])
    if row["backbone"]:
        facts["Backbone"] = str(row["backbone"])
    if row["parameters"]:
        facts["Parameters"] = in_short(row["parameters"])
    if row["pretrain_dataset"]:
        facts["Trained on"] = str(row["pretrain_dataset"])
        if row["data_size"]:
            facts["Trained on"] += f" ({in_short(row['data_size'])})"
    if row["source"] == "paper" and row["note"]:
        facts["Note"] = str(row["note"])
    return facts


def in_short(number: int) -> str:
    """Write a large count in words: 86 million, 2.3 billion."""
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return count(number)


def _known(family: str) -> str:
    return family if family in FAMILY_COLOURS else "other"


def _position(row: dict[str, Any]) -> dict[str, float]:
    return {"x": round(quantile(row["common"]), 4), "y": round(quantile(row["counter"]), 4)}


def _interval(row: dict[str, Any], group: str, axis: str) -> dict[str, float | None]:
    low, high = row[f"{group}_low"], row[f"{group}_high"]
    if low is None or high is None:
        return {f"{axis}l": None, f"{axis}h": None}
    return {f"{axis}l": round(quantile(low), 4), f"{axis}h": round(quantile(high), 4)}


class Name(NamedTuple):
    """A name beside its point, in pixels from it: where its baseline starts, and the ends of its leader."""

    text: str = ""
    x: float = 0.0
    y: float = 0.0
    leader: tuple[float, ...] = ()


def _places(
    items: Sequence[Item],
    span: Domain,
    side: float,
    named: Sequence[str],
    behind: Sequence[dict[str, Any]],
    *,
    words: Words,
) -> list[Name]:
    """Return where each name of `named` goes; if there is no room, only hovering shows it."""

    def at(value: float, *, down: bool = False) -> float:
        share = (quantile(value) - span.low) / (span.high - span.low)
        return side * (1 - share if down else share)

    def disc(row: dict[str, Any]) -> Disc:
        radius = math.sqrt(marker_area(row["parameters"]) / math.pi) + 2
        return Disc(at(row["common"]), at(row["counter"], down=True), radius)

    chosen = [k for k, item in enumerate(items) if item.label in named]
    times = Counter(item.row["label"] for item in items)
    texts = [_text(items[k], words, short=times[items[k].row["label"]] == 1) for k in chosen]
    others = [item.row for item in items if item.label not in named]
    discs = [disc(items[k].row) for k in chosen]
    placed = place_names(
        discs,
        [(text_width(text, FONT), 1.25 * FONT) for text in texts],
        frame=Box(0, 0, side, side),
        lines=[Segment((0, side), (side, 0)), *(arm for item in items for arm in _cross(item.row, at))],
        taken=[
            Box(side - _DIAGONAL_WORDS, side - 22, side, side)
            if mostly_above(items, words)
            else Box(0, 0, _DIAGONAL_WORDS, 22)
        ],
        markers=[disc(row) for row in (*others, *behind)],
    )
    names = [Name() for _ in items]
    for k, text, where, place in zip(chosen, texts, discs, placed, strict=True):
        if place is not None:
            names[k] = _name(text, where, place)
    return names


def _text(item: Item, words: Words, *, short: bool) -> str:
    """Return a model's short name or its label, with the accuracies that its place does not show."""
    row, name = item.row, str(item.row["label"]) if short else item.label
    beyond = off_scale(row, words)
    if beyond and row["common"] == row["counter"]:
        beyond = f"{percent(row['common'])} %"
    return f"{name} ({beyond})" if beyond else name


def _name(text: str, disc: Disc, place: Place) -> Name:
    x, y = place.box.left + 2 - disc.x, place.box.top + 0.95 * FONT - disc.y
    ends = [*place.leader.start, *place.leader.end] if place.leader else []
    leader = [round(end - (disc.x, disc.y)[k % 2], 1) for k, end in enumerate(ends)]
    return Name(text, round(x, 1), round(y, 1), tuple(leader))


def _cross(row: dict[str, Any], at: Callable[..., float]) -> list[Segment]:
    """The arms of a point's interval cross."""
    x, y = at(row["common"]), at(row["counter"], down=True)
    arms = []
    if row["common_low"] is not None:
        arms.append(Segment((at(row["common_low"]), y), (at(row["common_high"]), y)))
    if row["counter_low"] is not None:
        ends = (at(row[f"counter_{end}"], down=True) for end in ("low", "high"))
        arms += [Segment((x, low), (x, high)) for low, high in [tuple(ends)]]
    return arms
