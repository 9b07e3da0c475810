"""Common against counter accuracy on probit axes: positions only, the template draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from counterground.report._labels import Box, Label, place_labels, text_width
from counterground.report._marks import Mark
from counterground.report._paper import PaperPoint
from counterground.report._probit import ProbitScale, fit_scale
from counterground.report._summary import ModelScores

_DIAGONAL = "y = x: no drop"
_FONT = 12.0
NAMED = 8


class Tick(NamedTuple):
    """A grid line: its pixel position and its text in percent."""

    at: float
    text: str


class GreyPoint(NamedTuple):
    """A published model in pixels."""

    x: float
    y: float
    family: str
    title: str


class OwnPoint(NamedTuple):
    """One of the run's models in pixels, with its interval cross (None where there is no interval)."""

    x: float
    y: float
    across: tuple[float, float] | None
    along: tuple[float, float] | None
    mark: Mark
    title: str
    label: Label | None


@dataclass(frozen=True)
class Scatter:
    """Everything the template needs to draw one scatter; pixels, origin at the top left."""

    css: str
    width: float
    height: float
    frame: Box
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    grey: list[GreyPoint]
    own: list[OwnPoint]
    diagonal: tuple[float, float, float, float]
    diagonal_text: str
    diagonal_at: tuple[float, float]
    keyed: bool
    description: str


def draw_scatter(
    models: Sequence[tuple[ModelScores, Mark]], paper: Sequence[PaperPoint], *, width: int, css: str
) -> Scatter | None:
    """Lay out the scatter ``width`` pixels wide, both axes on one probit scale; None without groups.

    Args:
        models: the run's models with both groups (others are left out) and their markers.
        paper: published models, drawn grey behind.
        width: pixels.
        css: class of the SVG element.
    """
    shown = [(model, drawn) for model, drawn in models if model.has_groups]
    if not shown:
        return None
    scale = fit_scale(_levels(shown, paper))
    frame = Box(52, 12, width - 12, width - 52)
    x, y = _Axis(scale, frame.left, frame.right).at, _Axis(scale, frame.bottom, frame.top).at
    ticks = [(tick, f"{tick * 100:g}") for tick in scale.ticks(44 / (frame.right - frame.left))]
    grey = [GreyPoint(x(p.common), y(p.counter), p.family, p.title) for p in paper]
    centres = [(x(_value(m, "common")), y(_value(m, "counter"))) for m, _ in shown]
    diagonal_at = (frame.left + 10, frame.top + 18)
    soft = [Box(p.x - 3, p.y - 3, p.x + 3, p.y + 3) for p in grey]
    labels = place_labels(
        centres,
        _names(shown, 30 if width > 500 else 20),
        [str(drawn.number) for _, drawn in shown],
        frame=frame,
        size=_FONT,
        taken=[_beside_diagonal(frame, diagonal_at)],
        soft=[*soft, *_crosses(shown, centres, x, y), *_along_diagonal(frame)],
    )
    own = [
        OwnPoint(*centre, _span(m, "common", x), _span(m, "counter", y), drawn, describe(m), label)
        for (m, drawn), centre, label in zip(shown, centres, labels, strict=True)
    ]
    return Scatter(
        css,
        width,
        frame.bottom + 44,
        frame,
        [Tick(x(tick), text) for tick, text in ticks],
        [Tick(y(tick), text) for tick, text in ticks],
        grey,
        own,
        (frame.left, frame.bottom, frame.right, frame.top),
        _DIAGONAL,
        diagonal_at,
        any(label is None or label.text == str(m[1].number) for m, label in zip(shown, labels, strict=True)),
        "Counter accuracy against common accuracy in percent. " + ". ".join(describe(m) for m, _ in shown),
    )


def _beside_diagonal(frame: Box, at: tuple[float, float]) -> Box:
    """The room that the words on the diagonal take."""
    return Box(at[0], frame.top, at[0] + text_width(_DIAGONAL, _FONT), at[1] + 6)


def describe(model: ModelScores) -> str:
    """One line for hover and for screen readers."""
    common, counter, drop = (
        model.get("accuracy", "common"),
        model.get("accuracy", "counter"),
        model.get("drop"),
    )
    return (
        f"{model.label}: common {common.text} {common.interval}, counter {counter.text} {counter.interval}, "
        f"drop {drop.text} {drop.interval}"
    )


def _names(models: Sequence[tuple[ModelScores, Mark]], longest: int) -> list[str]:
    """Short names where all are short and few; else all get their numbers, as cut names look alike."""
    names = [model.label.split(":", 1)[-1] for model, _ in models]
    if len(names) > NAMED or len(set(names)) < len(names) or max(map(len, names)) > longest:
        return [str(drawn.number) for _, drawn in models]
    return names


class _Axis(NamedTuple):
    """Accuracy (fraction) to pixels."""

    scale: ProbitScale
    start: float
    end: float

    def at(self, accuracy: float) -> float:
        return round(self.start + self.scale(accuracy) * (self.end - self.start), 2)


def _crosses(
    models: Sequence[tuple[ModelScores, Mark]],
    centres: Sequence[tuple[float, float]],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> list[Box]:
    boxes = []
    for (model, _), (across, along) in zip(models, centres, strict=True):
        horizontal, vertical = _span(model, "common", x), _span(model, "counter", y)
        if horizontal is not None:
            boxes.append(Box(horizontal[0], along - 1, horizontal[1], along + 1))
        if vertical is not None:
            boxes.append(Box(across - 1, vertical[1], across + 1, vertical[0]))
    return boxes


def _along_diagonal(frame: Box) -> list[Box]:
    side = (frame.right - frame.left) / 40
    return [
        Box(
            frame.left + k * side,
            frame.bottom - (k + 1) * side,
            frame.left + (k + 1) * side,
            frame.bottom - k * side,
        )
        for k in range(40)
    ]


def _value(model: ModelScores, group: str) -> float:
    value = model.get("accuracy", group).value
    assert value is not None, "a model with a drop has both groups"
    return value


def _levels(models: Sequence[tuple[ModelScores, Mark]], paper: Sequence[PaperPoint]) -> list[float]:
    levels = [level for point in paper for level in (point.common, point.counter)]
    for model, _ in models:
        for group in ("common", "counter"):
            estimate = model.get("accuracy", group)
            levels.append(_value(model, group))
            # A bound near 0 or 1 is far away on this scale: its cross may run off the edge, a point may not.
            levels += [v for v in (estimate.low, estimate.high) if v is not None and 0.02 <= v <= 0.98]
    return levels


def _span(model: ModelScores, group: str, axis: Callable[[float], float]) -> tuple[float, float] | None:
    estimate = model.get("accuracy", group)
    if estimate.low is None or estimate.high is None:
        return None
    return axis(estimate.low), axis(estimate.high)
