"""The scatter's marks as rows of data: probit positions, what hovering tells, and where names stand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl
from scipy.special import ndtr, ndtri

from counterground.report._labels import Box, Disc, Place, Segment, place_names, text_width
from counterground.report._style import FAMILY_COLOURS, FAMILY_NAMES, marker_area, strength
from counterground.report.page.explorer._marks import Mark
from counterground.results import bounds, count, percent

EDGE = 0.001
_ROOM = 0.15
_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class ProbitScale:
    """Map accuracies (fractions) between ``low`` and ``high`` to 0 to 1, linearly in ``ndtri``."""

    low: float
    high: float

    def __call__(self, accuracy: float) -> float:
        """Position in 0 to 1; what lies outside the scale (0 and 1 are infinite) sits on its edge."""
        clipped = min(max(accuracy, self.low), self.high)
        start, end = ndtri(self.low), ndtri(self.high)
        return float((ndtri(clipped) - start) / (end - start))

    def ticks(self, apart: float) -> list[float]:
        """Round percentages on the scale, at least ``apart`` (0 to 1) from each other."""
        kept: list[float] = []
        inside = [tick for tick in _TICKS if self.low <= tick <= self.high]
        # The middle of the scale first: its ticks are the evenly spaced ones a reader looks for.
        for tick in sorted(inside, key=lambda tick: abs(tick - 0.5)):
            if all(abs(self(tick) - self(other)) >= apart for other in kept):
                kept.append(tick)
        return sorted(kept)


def fit_scale(accuracies: Iterable[float]) -> ProbitScale:
    """Return the smallest scale that holds all ``accuracies`` with some room on both sides."""
    values = [min(max(value, EDGE), 1 - EDGE) for value in accuracies] or [0.5]
    low, high = ndtri(min(values)) - _ROOM, ndtri(max(values)) + _ROOM
    return ProbitScale(max(float(ndtr(low)), EDGE), min(float(ndtr(high)), 1 - EDGE))


NAMED = 10
FONT = 12.0
# Sides of the square that marks stand in, in pixels: on wide screens, on phones and on small ones.
FRAMES = (560.0, 290.0, 225.0)
_DIAGONAL_WORDS = 130.0


class Item(NamedTuple):
    """One of the runs' models on the scatter: its row of `model_points`, its label and how it is drawn."""

    row: dict[str, Any]
    label: str
    mark: Mark


@dataclass(frozen=True)
class Domain:
    """What both axes span, in probit units, and where their ticks stand."""

    low: float
    high: float
    ticks: list[float]


def quantile(accuracy: float) -> float:
    """The standard normal quantile of an accuracy (fraction), off 0 and 1 where it is infinite."""
    return float(ndtri(min(max(accuracy, EDGE), 1 - EDGE)))


def probits(accuracies: Sequence[float]) -> list[float]:
    """Standard normal quantiles as they are: the ends of a line may lie far off the axes, which cut it."""
    return [float(value) for value in ndtri(accuracies)]


def domain(rows: Sequence[dict[str, Any]]) -> Domain:
    """Return what the axes must span to hold these rows of `model_points` with some room."""
    levels = []
    for row in rows:
        levels += [row["common"], row["counter"]]
        # A bound near 0 or 1 is far away on this scale: its cross may run off the edge, a point may not.
        edges = (row[f"{group}_{side}"] for group in ("common", "counter") for side in ("low", "high"))
        levels += [edge for edge in edges if edge is not None and 0.02 <= edge <= 0.98]
    scale = fit_scale(levels)
    ticks = [quantile(tick) for tick in scale.ticks(0.09)]
    return Domain(quantile(scale.low), quantile(scale.high), ticks)


def own_points(
    items: Sequence[Item],
    domains: Sequence[Domain],
    named: Sequence[str],
    behind: Sequence[Sequence[dict[str, Any]]],
) -> list[dict[str, Any]]:
    """Return the runs' models as data of marks, with a place for the name in each domain and of `FRAMES`.

    ``behind`` are, for each domain, rows of `model_points` whose marks names had better leave uncovered.
    """
    # In the order in which the chart's expression counts them.
    places = [
        _places(items, span, side, named, others)
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
                "tip": tip(item.label, row),
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
    """A family's colour as CSS that follows the theme, paler for less data but never as if hollow."""
    share = round(40 + 60 * strength(data_size))
    return f"color-mix(in srgb, var(--f-{_known(family)}) {share}%, var(--page))"


def tip(title: str, row: dict[str, Any]) -> dict[str, str]:
    """What hovering tells of a model: its name first, then names of figures and figures."""
    told = {"title": title}
    for figure in ("common", "counter", "drop"):
        unit = "points" if figure == "drop" else "%"
        edges = bounds(row[f"{figure}_low"], row[f"{figure}_high"])
        told[figure.capitalize()] = f"{percent(row[figure])} {unit} {edges}".rstrip()
    told["Family"] = FAMILY_NAMES.get(row["family"], FAMILY_NAMES["other"])
    if row["backbone"]:
        told["Backbone"] = str(row["backbone"])
    if row["parameters"]:
        told["Parameters"] = in_short(row["parameters"])
    if row["pretrain_dataset"]:
        told["Trained on"] = str(row["pretrain_dataset"])
        if row["data_size"]:
            told["Trained on"] += f" ({in_short(row['data_size'])})"
    if row["source"] == "paper" and row["note"]:
        told["Note"] = str(row["note"])
    return told


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
) -> list[Name]:
    """Where each name of `named` stands; where there is no room there is no name, and hovering tells it."""

    def at(value: float, *, down: bool = False) -> float:
        share = (quantile(value) - span.low) / (span.high - span.low)
        return side * (1 - share if down else share)

    def disc(row: dict[str, Any]) -> Disc:
        radius = math.sqrt(marker_area(row["parameters"]) / math.pi) + 2
        return Disc(at(row["common"]), at(row["counter"], down=True), radius)

    chosen = [k for k, item in enumerate(items) if item.label in named]
    texts = [items[k].row["label"] for k in chosen]
    others = [item.row for item in items if item.label not in named]
    discs = [disc(items[k].row) for k in chosen]
    placed = place_names(
        discs,
        [(text_width(text, FONT), 1.25 * FONT) for text in texts],
        frame=Box(0, 0, side, side),
        lines=[Segment((0, side), (side, 0)), *(arm for item in items for arm in _cross(item.row, at))],
        taken=[Box(0, 0, _DIAGONAL_WORDS, 22)],
        markers=[disc(row) for row in (*others, *behind)],
    )
    names = [Name() for _ in items]
    for k, text, where, place in zip(chosen, texts, discs, placed, strict=True):
        if place is not None:
            names[k] = _name(text, where, place)
    return names


def _name(text: str, disc: Disc, place: Place) -> Name:
    x, y = place.box.left + 2 - disc.x, place.box.top + 0.95 * FONT - disc.y
    ends = [*place.leader.start, *place.leader.end] if place.leader else []
    leader = [round(end - (disc.x, disc.y)[k % 2], 1) for k, end in enumerate(ends)]
    return Name(text, round(x, 1), round(y, 1), tuple(leader))


def _cross(row: dict[str, Any], at: Any) -> list[Segment]:
    """The arms of a point's interval cross."""
    x, y = at(row["common"]), at(row["counter"], down=True)
    arms = []
    if row["common_low"] is not None:
        arms.append(Segment((at(row["common_low"]), y), (at(row["common_high"]), y)))
    if row["counter_low"] is not None:
        ends = (at(row[f"counter_{end}"], down=True) for end in ("low", "high"))
        arms += [Segment((x, low), (x, high)) for low, high in [tuple(ends)]]
    return arms
