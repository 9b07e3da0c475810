"""Placing names: what holds wherever the points lie."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

# Where names go holds for any points, not only for those of a page.
from counterground.reporting._placement import Box, Disc, Segment, place_names, text_width

FRAME = Box(0, 0, 300, 200)
DISCS = st.lists(
    st.builds(Disc, st.floats(0, 300), st.floats(0, 200), st.floats(1, 5)), min_size=1, max_size=25
)


@settings(max_examples=40, deadline=None)
@given(DISCS, st.floats(10, 70))
def test_names_never_share_room(discs, width):
    places = place_names(discs, [(width, 7)] * len(discs), frame=FRAME)
    boxes = [place.box for place in places if place is not None]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    for box in boxes:
        assert box.inside(FRAME)
        assert not any(box.overlaps(disc.box) for disc in discs)


def inner_points(line, count=60):
    """Points along a leader, without its ends."""
    (x, y), (to_x, to_y) = line
    return [(x + share * (to_x - x), y + share * (to_y - y)) for share in np.linspace(0.01, 0.99, count)]


def cross(one, other):
    """Whether two segments meet between their ends: where along each, from two linear equations."""
    start, along = np.array(one.start), np.subtract(one.end, one.start)
    beside, aside = np.array(other.start), np.subtract(other.end, other.start)
    matrix = np.column_stack([along, -aside])
    if abs(np.linalg.det(matrix)) < 1e-9:
        return False
    shares = np.linalg.solve(matrix, beside - start)
    return bool(((shares > 1e-6) & (shares < 1 - 1e-6)).all())


@settings(max_examples=40, deadline=None)
@given(DISCS, st.floats(10, 70))
def test_nobody_takes_a_name_for_another_markers(discs, width):
    places = place_names(discs, [(width, 7)] * len(discs), frame=FRAME)
    placed = [(disc, place) for disc, place in zip(discs, places, strict=True) if place is not None]
    leaders = [place.leader for _, place in placed if place.leader]
    for disc, place in placed:
        others = [other for other in discs if other != disc]
        if place.leader is None:
            own = disc.gap(place.box)
            assert all(other.gap(place.box) > own + 1 for other in others)
            continue
        for x, y in [place.leader.start, *inner_points(place.leader)]:
            assert all(np.hypot(x - other.x, y - other.y) >= other.radius - 1e-6 for other in others)
            for _, beside in placed:
                box = beside.box
                inside = box.left < x < box.right and box.top < y < box.bottom
                assert not inside
    for one, other in itertools.combinations(leaders, 2):
        assert not cross(one, other)


def test_a_half_covered_marker_is_reached_on_the_side_that_is_seen():
    covered, above = Disc(100, 100, 4), Disc(104, 100, 5)
    places = place_names([covered, above], [(50, 7), (50, 7)], frame=FRAME)
    (x, y), _ = places[0].leader or ((covered.x - covered.radius, 100), None)
    assert np.hypot(x - above.x, y - above.y) >= above.radius
    assert places[0].box.right < 104


def test_leaders_pass_over_paler_markers_only_where_they_must():
    wall = [Disc(150 + 12 * np.cos(a), 100 + 12 * np.sin(a), 4) for a in np.linspace(0, 2 * np.pi, 14)]
    (place,) = place_names([Disc(150, 100, 3)], [(40, 7)], frame=FRAME, markers=wall)
    assert place is not None
    assert place_names([Disc(150, 100, 3), *wall], [(40, 7)] * 15, frame=FRAME)[0] is None


def test_a_lonely_name_stands_beside_its_point_without_a_leader():
    (place,) = place_names([Disc(100, 100, 3)], [(40, 7)], frame=FRAME)
    assert place.leader is None
    assert abs(place.box.left - 104) < 1


def test_names_avoid_lines_and_other_markers():
    line = Segment((100, 100), (300, 100))
    (place,) = place_names([Disc(100, 100, 3)], [(40, 7)], frame=FRAME, lines=[line])
    assert not place.box.top < 100 < place.box.bottom or place.box.right < 100
    other = Disc(125, 100, 15)
    (place,) = place_names([Disc(100, 100, 3)], [(40, 7)], frame=FRAME, markers=[other])
    assert not place.box.overlaps(other.box)


def test_a_leader_does_not_prolong_an_interval():
    cross = [Segment((90, 100), (110, 100)), Segment((100, 90), (100, 110))]
    around = Box(95, 95, 105, 105)  # so that the name has to stand off
    (place,) = place_names([Disc(100, 100, 3)], [(40, 7)], frame=FRAME, lines=cross, taken=[around])
    (x, y), (to_x, to_y) = place.leader
    assert min(abs(x - to_x), abs(y - to_y)) > 1


def test_a_leader_ends_at_its_own_marker_and_at_its_name():
    crowd = [Disc(150 + 4 * k, 100 + 3 * k, 3) for k in range(9)]
    places = place_names(crowd, [(60, 7)] * 9, frame=FRAME)
    assert all(place is not None for place in places)
    led = [(disc, place) for disc, place in zip(crowd, places, strict=True) if place.leader]
    assert led
    for disc, place in led:
        (x, y), (to_x, to_y) = place.leader
        assert abs((x - disc.x) ** 2 + (y - disc.y) ** 2 - disc.radius**2) < 1e-6
        assert place.box.left - 1e-6 <= to_x <= place.box.right + 1e-6
        assert place.box.top - 1e-6 <= to_y <= place.box.bottom + 1e-6


def test_no_room_is_none():
    assert place_names([Disc(5, 5, 3)], [(400, 7)], frame=FRAME) == [None]


def test_wide_characters_have_their_width():
    assert text_width("\u6a21" * 10, 12) >= 120  # a square each
    assert text_width("model", 12) == 5 * 0.6 * 12 + 4
