"""The scatter's marks as rows of data: probit positions, what hovering tells, and where names stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl
from scipy.special import ndtri

from counterground.report._families import FAMILY_COLOURS, FAMILY_NAMES, marker_area, strength
from counterground.report._labels import Box, place_labels
from counterground.report._marks import Mark
from counterground.report._numbers import bounds, count, percent
from counterground.report._probit import EDGE, fit_scale

NAMED = 10
FONT = 12.0
# Sides of the square that marks stand in, in pixels: on wide screens and on phones.
FRAMES = (560.0, 290.0)
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
                "dx": [place[at][0] for place in places],
                "dy": [place[at][1] for place in places],
                "text": [place[at][2] for place in places],
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
    """A family's colour as CSS that follows the theme, paler for less training data."""
    share = round(100 * strength(data_size))
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


def _places(
    items: Sequence[Item],
    span: Domain,
    side: float,
    named: Sequence[str],
    behind: Sequence[dict[str, Any]],
) -> list[tuple[float, float, str]]:
    """Where each name stands: pixels from its point to the start of its baseline, and the words.

    Names come from `named`; where there is no room there is no name, and hovering tells it.
    """

    def at(value: float, *, down: bool = False) -> float:
        share = (value - span.low) / (span.high - span.low)
        return side * (1 - share if down else share)

    centres = [(at(quantile(i.row["common"])), at(quantile(i.row["counter"]), down=True)) for i in items]
    texts = [item.row["label"] if item.label in named else "" for item in items]
    soft = [box for item, (x, y) in zip(items, centres, strict=True) for box in _cross(item.row, x, y, at)]
    for row in behind:
        x, y = at(quantile(row["common"])), at(quantile(row["counter"]), down=True)
        soft.append(Box(x - 5, y - 5, x + 5, y + 5))
    steps = [side * k / 40 for k in range(40)]
    soft += [Box(step, side - step - side / 40, step + side / 40, side - step) for step in steps]
    chosen = [k for k, text in enumerate(texts) if text]
    labels = place_labels(
        [centres[k] for k in chosen],
        [texts[k] for k in chosen],
        ["" for _ in chosen],
        frame=Box(0, 0, side, side),
        size=FONT,
        taken=[
            Box(0, 0, _DIAGONAL_WORDS, 22),
            *(Box(x - 8, y - 8, x + 8, y + 8) for k, (x, y) in enumerate(centres) if k not in chosen),
        ],
        soft=soft,
    )
    places = [(0.0, 0.0, "") for _ in items]
    for k, label in zip(chosen, labels, strict=True):
        if label is not None:
            places[k] = (round(label.x - centres[k][0], 1), round(label.y - centres[k][1], 1), label.text)
    return places


def _cross(row: dict[str, Any], x: float, y: float, at: Any) -> list[Box]:
    boxes = []
    if row["common_low"] is not None:
        boxes.append(Box(at(quantile(row["common_low"])), y - 1, at(quantile(row["common_high"])), y + 1))
    if row["counter_low"] is not None:
        low, high = (at(quantile(row[f"counter_{end}"]), down=True) for end in ("low", "high"))
        boxes.append(Box(x - 1, high, x + 1, low))
    return boxes
