"""Placing names: what holds wherever the points lie."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from counterground.report._labels import Box
from counterground.report.figures._place import Disc, Segment, place_names

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
