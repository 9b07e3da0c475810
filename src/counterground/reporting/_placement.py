"""Where to write many names so that each clearly belongs to one model.

Every text gets the cheapest of a few hundred places around its point: near the point and off the trend
lines. This repeats until nothing moves. Three conditions are absolute, not costs: texts share no area and
cover no marker; a text without a leader is clearly nearer to its own marker than to any other; a leader
reaches its marker from outside all other named markers, runs through no text and crosses no leader. A text
without such a place is left out, and the caller learns which.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from unicodedata import east_asian_width


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


def text_width(text: str, size: float) -> float:
    """Return an upper estimate of the width (pixels) of a text in a system sans serif of ``size`` pixels."""
    # Wide characters, such as Chinese ones and emoji, are as wide as the font is high.
    wide = sum(east_asian_width(sign) in "WF" for sign in text)
    return (0.6 * (len(text) - wide) + 1.0 * wide) * size + 4


_RADII = (1.0, 5.0, 10.0, 16.0, 23.0, 31.0, 40.0, 50.0, 62.0, 76.0, 92.0)
_ANGLES = tuple(math.radians(step) for step in range(0, 360, 15))
_LEADER_FROM = 2.0
_PASSES, _ATTEMPTS = 8, 6
_CLEARLY = 1.5  # points by which a text without a leader is nearer to its own marker than to any other
_ALONG = 1.0  # points from a line, such as an interval, at which a leader would be taken for a part of it
_ON_LINE, _OVER_MARKER = 14.0, 25.0

Point = tuple[float, float]


class Segment(NamedTuple):
    """A straight line between two points."""

    start: Point
    end: Point


class Disc(NamedTuple):
    """A marker: its centre and how far it reaches."""

    x: float
    y: float
    radius: float

    @property
    def box(self) -> Box:
        """The square around it."""
        return Box(self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius)

    def gap(self, box: Box) -> float:
        """Return how far its edge is from a rectangle; negative if they overlap."""
        across = max(box.left - self.x, 0.0, self.x - box.right)
        up = max(box.top - self.y, 0.0, self.y - box.bottom)
        return math.hypot(across, up) - self.radius

    def touches(self, line: Segment) -> bool:
        """Whether a line comes nearer to the centre than the edge is."""
        (x, y), (to_x, to_y) = line
        along, up = to_x - x, to_y - y
        length = along**2 + up**2
        share = ((self.x - x) * along + (self.y - y) * up) / length if length else 0.0
        share = min(max(share, 0.0), 1.0)
        return math.hypot(x + share * along - self.x, y + share * up - self.y) < self.radius


class Place(NamedTuple):
    """Where a text goes, and the line to it from the edge of its marker, if it is at a distance."""

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
    """Find a place for each text; all lengths are typographic points.

    Args:
        discs: the marker of each text.
        sizes: width and height of each text.
        frame: where texts may stand.
        lines: lines to leave uncovered if possible, such as trends.
        taken: rectangles that are not free.
        markers: other, paler markers that texts must not cover; leaders pass over them if they have to.

    Returns:
        A place for each text, or None if there is no room.
    """
    blocked = [disc.box for disc in (*discs, *markers)] + list(taken)
    fixed = _Surroundings(frame, blocked, tuple(lines), tuple(discs), tuple(markers))
    options = [_options(disc, size, fixed) for disc, size in zip(discs, sizes, strict=True)]
    # Texts with the fewest options come first; in a further attempt, those left out before.
    order = sorted(range(len(discs)), key=lambda k: (len(options[k]), discs[k].x, discs[k].y))
    best: list[Place | None] = []
    for _ in range(_ATTEMPTS):
        chosen = _settle(options, order)
        left_out = [k for k in order if chosen[k] is None and options[k]]
        if not best or chosen.count(None) < best.count(None):
            best = chosen
        if not left_out:
            break
        order = [*left_out, *(k for k in order if k not in left_out)]
    return best


def _settle(options: Sequence[Sequence[_Option]], order: Sequence[int]) -> list[Place | None]:
    """Place one text after another; later passes let each move to places that others have left."""
    chosen: list[Place | None] = [None] * len(options)
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
    named: Sequence[Disc]
    paler: Sequence[Disc]


class _Option(NamedTuple):
    place: Place
    cost: float


def _options(disc: Disc, size: tuple[float, float], fixed: _Surroundings) -> list[_Option]:
    others = [other for other in fixed.named if other != disc]
    # No leader and no text reaches farther than this, so most markers need no check at each place.
    reach = disc.radius + _RADII[-1]
    near, near_paler = (
        [each for each in discs if math.hypot(each.x - disc.x, each.y - disc.y) < reach + each.radius]
        for discs in (others, fixed.paler)
    )
    across, up = reach + size[0], reach + size[1]
    room = Box(disc.x - across, disc.y - up, disc.x + across, disc.y + up)
    blocked = [box for box in fixed.blocked if box.overlaps(room)]
    found = []
    for radius in _RADII:
        for angle in _ANGLES:
            place = _place(disc, size, radius, angle)
            if not place.box.inside(fixed.frame) or any(place.box.overlaps(box) for box in blocked):
                continue
            if place.leader is None:
                clear = _is_nearest(place.box, disc, (*others, *fixed.paler))
            else:
                clear = not any(other.touches(place.leader) for other in near)
            if clear:
                found.append(_Option(place, radius + _cost(place, fixed.lines, near_paler)))
    return sorted(found, key=lambda option: option.cost)


def _is_nearest(box: Box, disc: Disc, others: Sequence[Disc]) -> bool:
    """Whether a text without a leader clearly belongs to this marker."""
    nearest = min((other.gap(box) for other in others), default=math.inf)
    return disc.gap(box) + _CLEARLY <= nearest


def _place(disc: Disc, size: tuple[float, float], radius: float, angle: float) -> Place:
    """Let the text begin, end or be centred where the ray at this angle arrives, by its direction."""
    across, up = math.cos(angle), math.sin(angle)
    reach = disc.radius + radius
    x, y = disc.x + reach * across, disc.y + reach * up
    left, bottom = x - size[0] * (1 - across) / 2, y - size[1] * (1 - up) / 2
    box = Box(left, bottom, left + size[0], bottom + size[1])
    if radius < _LEADER_FROM:
        return Place(box, None)
    edge = (disc.x + disc.radius * across, disc.y + disc.radius * up)
    arrives, _ = _within(Segment(edge, (x, y)), box) or (1.0, 1.0)
    return Place(box, Segment(edge, (edge[0] + arrives * (x - edge[0]), edge[1] + arrives * (y - edge[1]))))


def _cost(place: Place, lines: Sequence[Segment], paler: Sequence[Disc]) -> float:
    cost = _ON_LINE * sum(_meets(line, place.box) for line in lines)
    if place.leader is not None:
        cost += _OVER_MARKER * sum(other.touches(place.leader) for other in paler)
        (x, y), (to_x, to_y) = place.leader
        middle = Disc((x + to_x) / 2, (y + to_y) / 2, _ALONG)
        cost += _ON_LINE * any(middle.touches(line) for line in lines)
    return cost


def _cheapest(options: Sequence[_Option], others: Sequence[Place]) -> Place | None:
    for place, _ in options:
        if not any(_clash(place, other) for other in others):
            return place
    return None


def _clash(one: Place, other: Place) -> bool:
    """Whether two texts overlap, or a leader runs through the other's text or leader."""
    if one.box.overlaps(other.box):
        return True
    if one.leader is not None and _meets(one.leader, other.box):
        return True
    if other.leader is not None and _meets(other.leader, one.box):
        return True
    return one.leader is not None and other.leader is not None and _crosses(one.leader, other.leader)


def _meets(line: Segment, box: Box) -> bool:
    """Whether a line passes through a rectangle."""
    return _within(line, box) is not None


def _within(line: Segment, box: Box) -> tuple[float, float] | None:
    """Return the part of a line inside a rectangle, as shares of its length (Liang and Barsky), if any."""
    (x, y), (to_x, to_y) = line
    first, last = 0.0, 1.0
    for start, step, low, high in ((x, to_x - x, box.left, box.right), (y, to_y - y, box.top, box.bottom)):
        if step == 0:
            if not low < start < high:
                return None
            continue
        near, far = sorted(((low - start) / step, (high - start) / step))
        first, last = max(first, near), min(last, far)
    return (first, last) if first < last else None


def _crosses(one: Segment, other: Segment) -> bool:
    def side(line: Segment, point: Point) -> float:
        (x, y), (to_x, to_y) = line
        return (to_x - x) * (point[1] - y) - (to_y - y) * (point[0] - x)

    return (side(one, other.start) > 0) != (side(one, other.end) > 0) and (side(other, one.start) > 0) != (
        side(other, one.end) > 0
    )
