"""Text for people and pages."""

from counterground.text import duration


def test_times_read_as_people_say_them():
    assert [duration(seconds) for seconds in (None, 2.34, 45, 600, 7500)] == [
        "–",
        "2.3 s",
        "45 s",
        "10 min",
        "2 h 05 min",
    ]
