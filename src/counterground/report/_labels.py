"""Where to write the names of points so that nothing covers anything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_RADII = (12.0, 20.0, 32.0, 46.0, 62.0)
_ANGLES = tuple(math.radians(step) for step in range(0, 360, 30))
_LEADER_FROM = 18.0


class Box(NamedTuple):
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def inside(self, frame: Box) -> bool:
        """Whether the box lies within ``frame``."""
        return (
            frame.left <= self.left
            and self.right <= frame.right
            and frame.top <= self.top
            and self.bottom <= frame.bottom
        )


class Label(NamedTuple):
    """A text placed beside its point; ``leader`` asks for a thin line from the point to ``to``."""

    text: str
    x: float
    y: float
    box: Box
    leader: bool
    to: tuple[float, float]


def text_width(text: str, size: float) -> float:
    """Upper estimate in pixels of a text in a system sans serif of ``size`` pixels."""
    return 0.6 * size * len(text) + 4


def place_labels(
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    keys: Sequence[str],
    *,
    frame: Box,
    size: float,
    taken: Sequence[Box] = (),
    soft: Sequence[Box] = (),
) -> list[Label | None]:
    """Place each text near its point: inside ``frame``, off all points, off each other and off ``taken``.

    Args:
        points: pixel positions of the points.
        texts: what to write; where a text finds no room its key is tried, then nothing.
        keys: short stand-ins, one for each text.
        frame: where texts may stand.
        size: font size in pixels.
        taken: rectangles that are not free.
        soft: rectangles that are better left uncovered, such as other points and interval crosses.
    """
    blocked = [Box(x - 8, y - 8, x + 8, y + 8) for x, y in points] + list(taken)
    placed: list[Label | None] = []
    for point, text, key in zip(points, texts, keys, strict=True):
        best: Label | None = None
        for wording in (text, key):
            best = _best(point, wording, frame=frame, size=size, blocked=blocked, soft=soft)
            if best is not None:
                blocked.append(best.box)
                break
        placed.append(best)
    return placed


def _best(
    point: tuple[float, float],
    text: str,
    *,
    frame: Box,
    size: float,
    blocked: Sequence[Box],
    soft: Sequence[Box],
) -> Label | None:
    best, lowest = None, math.inf
    for radius in _RADII:
        for angle in _ANGLES:
            label = _candidate(point, text, size, radius, angle)
            if not label.box.inside(frame) or any(label.box.overlaps(box) for box in blocked):
                continue
            cost = radius + 9 * sum(label.box.overlaps(box) for box in soft)
            if cost < lowest:
                best, lowest = label, cost
    return best


def _candidate(point: tuple[float, float], text: str, size: float, radius: float, angle: float) -> Label:
    width, height = text_width(text, size), 1.25 * size
    across, down = math.cos(angle), -math.sin(angle)
    x, y = point[0] + radius * across, point[1] + radius * down
    # The anchor slides along the text with the direction: left edge to the right of a point, centre above it.
    left = x - width * (1 - across) / 2
    top = y - height * (1 - down) / 2
    box = Box(left, top, left + width, top + height)
    return Label(text, left + 2, top + 0.95 * size, box, radius > _LEADER_FROM, (round(x, 2), round(y, 2)))
