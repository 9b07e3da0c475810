"""The budgets of a collection: iNaturalist's published limits, and bytes reserved for photos on their way."""

import pytest

# Parts of a collection that a whole one shows only over hours.
from counterground.construction.collection._collect import BytePacer, open_budget
from counterground.construction.settings import CollectOptions
from counterground.http import DAY, HOUR, Budget, Limit


def test_the_published_limits_hold_and_bursts_are_short(clock):
    budget = open_budget(CollectOptions())
    taken = []
    for _ in range(200):
        while wait := budget.take("requests", 1):
            clock.now += wait
        taken.append(clock.now)
    for start in taken:
        assert sum(start <= at < start + 60 for at in taken) <= 60
        assert sum(start <= at < start + 5 for at in taken) <= 5


def test_bytes_are_reserved_before_a_photo_and_settled_after(clock, tmp_path):
    budget = Budget("here", {"bytes": (Limit(HOUR, 1_000_000), Limit(DAY, 9_000_000))}, tmp_path / "b.sqlite")
    said = []
    pacer = BytePacer(budget, "large", said.append)
    assert pacer.seconds_to_wait() == 0
    assert pacer.seconds_to_wait() == pytest.approx(HOUR + 2, abs=1.1)  # a large one may have 600,000
    assert "per hour" in said[0]
    pacer.received(350_000)
    assert pacer.seconds_to_wait() == 0
    pacer.received(650_000)
    assert budget.take("bytes", 1) > 0
