"""Where to write many names so that none covers a point, a line or another name.

Every text gets the cheapest of some hundred places around its point, again and again until nothing moves:
near its point, off the trend lines, its leader crossing no other. That texts share no area and cover no
marker is a condition, not a cost; a text that finds no such place is left out and told to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from counterground.report._labels import Box

_RADII = (1.0, 5.0, 10.0, 16.0, 23.0, 31.0, 40.0, 50.0, 62.0, 76.0, 92.0)
_ANGLES = tuple(math.radians(step) for step in range(0, 360, 15))
_LEADER_FROM = 2.0
_PASSES = 8
_ON_LINE, _CROSSED, _OVER_MARKER, _UNDER_TEXT = 14.0, 60.0, 25.0, 60.0

Point = tuple[float, float]


class Segment(NamedTuple):
    """A straight line between two points."""

    start: Point
    end: Point


class Disc(NamedTuple):
    """A marker: where it stands and how far it reaches."""

    x: float
    y: float
    radius: float

    @property
    def box(self) -> Box:
        """The square around it."""
        return Box(self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius)


class Place(NamedTuple):
    """Where a text stands, and the line that leads to it from the edge of its marker, if it stands off."""

    box: Box
    leader: Segment | None


def place_names(
    discs: Sequence[Disc],
    sizes: Sequence[tuple[float, float]],
    *,
    frame: Box,
    lines: Sequence[Segment] = (),
    taken: Sequence[Box] = (),
    markers: Sequence[Disc] = (),
) -> list[Place | None]:
    """Find a place for each text; all lengths are points of print.

    Args:
        discs: the marker of each text.
        sizes: width and height of each text.
        frame: where texts may stand.
        lines: lines that are better left uncovered, such as trends.
        taken: rectangles that are not free.
        markers: other markers that texts must not cover.

    Returns:
        A place for each text, or None where there is no room.
    """
    blocked = [disc.box for disc in (*discs, *markers)] + list(taken)
    fixed = _Surroundings(frame, blocked, tuple(lines), (*discs, *markers))
    options = [_options(disc, size, fixed) for disc, size in zip(discs, sizes, strict=True)]
    chosen: list[Place | None] = [None] * len(discs)
    # Who has least choice chooses first; later passes let everyone move to what others left.
    order = sorted(range(len(discs)), key=lambda k: (len(options[k]), discs[k].x, discs[k].y))
    for _ in range(_PASSES):
        moved = False
        for k in order:
            others = [place for j, place in enumerate(chosen) if j != k and place is not None]
            best = _cheapest(options[k], others)
            moved |= best != chosen[k]
            chosen[k] = best
        if not moved:
            break
    return chosen


class _Surroundings(NamedTuple):
    frame: Box
    blocked: Sequence[Box]
    lines: Sequence[Segment]
    markers: Sequence[Disc]


class _Option(NamedTuple):
    place: Place
    cost: float


def _options(disc: Disc, size: tuple[float, float], fixed: _Surroundings) -> list[_Option]:
    found = []
    for radius in _RADII:
        for angle in _ANGLES:
            place = _place(disc, size, radius, angle)
            if place.box.inside(fixed.frame) and not any(place.box.overlaps(box) for box in fixed.blocked):
                found.append(_Option(place, radius + _cost(place, disc, fixed)))
    return sorted(found, key=lambda option: option.cost)


def _place(disc: Disc, size: tuple[float, float], radius: float, angle: float) -> Place:
    """The text begins, ends or is centred where the ray of this angle arrives, as the direction asks."""
    across, up = math.cos(angle), math.sin(angle)
    reach = disc.radius + radius
    x, y = disc.x + reach * across, disc.y + reach * up
    left, bottom = x - size[0] * (1 - across) / 2, y - size[1] * (1 - up) / 2
    box = Box(left, bottom, left + size[0], bottom + size[1])
    if radius < _LEADER_FROM:
        return Place(box, None)
    edge = (disc.x + disc.radius * across, disc.y + disc.radius * up)
    return Place(box, Segment(edge, (x, y)))


def _cost(place: Place, disc: Disc, fixed: _Surroundings) -> float:
    cost = _ON_LINE * sum(_meets(line, place.box) for line in fixed.lines)
    if place.leader is not None:
        others = (marker.box for marker in fixed.markers if marker != disc)
        cost += _OVER_MARKER * sum(_meets(place.leader, box) for box in others)
    return cost


def _cheapest(options: Sequence[_Option], others: Sequence[Place]) -> Place | None:
    best, lowest = None, math.inf
    for place, cost in options:
        if cost >= lowest:
            break
        if any(place.box.overlaps(other.box) for other in others):
            continue
        total = cost + sum(_quarrel(place, other) for other in others)
        if total < lowest:
            best, lowest = place, total
    return best


def _quarrel(one: Place, other: Place) -> float:
    """What it costs that leaders cross, or pass under the other's text."""
    cost = 0.0
    if one.leader is not None:
        cost += _UNDER_TEXT * _meets(one.leader, other.box)
    if other.leader is not None:
        cost += _UNDER_TEXT * _meets(other.leader, one.box)
    if one.leader is not None and other.leader is not None:
        cost += _CROSSED * _crosses(one.leader, other.leader)
    return cost


def _meets(line: Segment, box: Box) -> bool:
    """Whether a line passes through a rectangle (Liang and Barsky)."""
    (x, y), (to_x, to_y) = line
    first, last = 0.0, 1.0
    for start, step, low, high in ((x, to_x - x, box.left, box.right), (y, to_y - y, box.top, box.bottom)):
        if step == 0:
            if not low < start < high:
                return False
            continue
        near, far = sorted(((low - start) / step, (high - start) / step))
        first, last = max(first, near), min(last, far)
    return first < last


def _crosses(one: Segment, other: Segment) -> bool:
    def side(line: Segment, point: Point) -> float:
        (x, y), (to_x, to_y) = line
        return (to_x - x) * (point[1] - y) - (to_y - y) * (point[0] - x)

    return (side(one, other.start) > 0) != (side(one, other.end) > 0) and (side(other, one.start) > 0) != (
        side(other, one.end) > 0
    )
