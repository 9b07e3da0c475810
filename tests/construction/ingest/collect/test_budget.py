"""Budgets: no window ever holds more than its limit, whoever spends."""

import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterground.construction.ingest.collect import CollectOptions
from counterground.construction.ingest.collect import _budget as budget_module
from counterground.construction.ingest.collect._budget import (
    DAY,
    HOUR,
    Budget,
    Limit,
    open_budget,
    refuse_long_wait,
)
from counterground.construction.ingest.collect._pacer import MediaPacer
from counterground.errors import CounterGroundError, UsageError

LOCAL = "http://127.0.0.1:1/v1"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, now=1_000_000.0):
        self.now = now

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(budget_module, "time", clock)
    return clock


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


def test_the_day_holds_for_requests_and_the_hour_for_bytes(clock, tmp_path):
    limits = {"requests": (Limit(DAY, 3),), "bytes": (Limit(HOUR, 100),)}
    budget = Budget("here", limits, tmp_path / "budget.sqlite")
    assert [budget.take("requests", 1) for _ in range(3)] == [0, 0, 0]
    assert budget.take("requests", 1) == pytest.approx(DAY)
    assert budget.take("bytes", 60) == 0
    clock.now += 100
    assert budget.take("bytes", 60) == pytest.approx(HOUR - 100, abs=1.1)
    budget.settle("bytes", -30)
    assert budget.take("bytes", 60) == 0
    clock.now += DAY
    assert budget.take("requests", 1) == 0


def test_what_exceeds_a_limit_alone_goes_when_nothing_else_does(clock, tmp_path):
    budget = Budget("here", {"bytes": (Limit(HOUR, 100),)}, tmp_path / "budget.sqlite")
    assert budget.take("bytes", 500) == 0
    assert budget.take("bytes", 1) > 0


def test_services_have_budgets_of_their_own(clock, tmp_path):
    limits = {"requests": (Limit(DAY, 1),)}
    here, there = (Budget(name, limits, tmp_path / "budget.sqlite") for name in ("here", "there"))
    assert here.take("requests", 1) == there.take("requests", 1) == 0
    assert here.take("requests", 1) > 0


def test_a_clock_that_was_set_back_keeps_nobody_waiting(clock, tmp_path):
    budget = Budget("here", {"requests": (Limit(DAY, 1),)}, tmp_path / "budget.sqlite")
    assert budget.take("requests", 1) == 0
    clock.now -= 10 * DAY
    assert budget.take("requests", 1) == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 60)), max_size=25))
def test_no_window_holds_more_than_its_limit(tmp_path_factory, steps):
    clock, limit = Clock(), Limit(60, 100)
    budget = Budget("here", {"bytes": (limit,)}, tmp_path_factory.mktemp("b") / "budget.sqlite")
    spent = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget_module, "time", clock)
        for pause, amount in steps:
            clock.now += pause
            if not budget.take("bytes", amount):
                spent.append((clock.now, amount))
    for at, _ in spent:
        assert sum(amount for when, amount in spent if at <= when < at + 60) <= 100


def test_processes_share_a_budget(cache):
    options = "CollectOptions(api_url='http://127.0.0.1:1/v1', requests_per_minute=1000, requests_per_day=40)"
    code = (
        "from counterground.construction.ingest.collect import CollectOptions\n"
        "from counterground.construction.ingest.collect._budget import open_budget\n"
        f"budget = open_budget({options})\n"
        "print(sum(not budget.take('requests', 1) for _ in range(60)))"
    )
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    counts = [int(process.communicate()[0]) for process in running]
    assert sum(counts) == 40


def test_a_budget_that_cannot_be_kept_is_told(cache):
    file = cache / "inaturalist" / "budget.sqlite"
    file.parent.mkdir()
    file.write_bytes(b"no database, and long enough to be read as one" * 10)
    with pytest.raises(CounterGroundError, match="Cannot keep count of requests"):
        open_budget(CollectOptions())


def test_who_would_wait_for_another_day_is_told_when_to_come_back():
    refuse_long_wait(HOUR, "requests")
    with pytest.raises(CounterGroundError, match=r"budget of requests a day is spent.*after \d{4}-.*UTC"):
        refuse_long_wait(2 * HOUR, "requests")


def test_room_is_taken_before_a_photo_and_settled_after(clock, tmp_path):
    budget = Budget("here", {"bytes": (Limit(HOUR, 1_000_000), Limit(DAY, 9_000_000))}, tmp_path / "b.sqlite")
    said = []
    pacer = MediaPacer(budget, "large", said.append)
    assert pacer.seconds_to_wait("a") == 0
    assert 0 < pacer.seconds_to_wait("b") < 1  # a large photo may have 600,000 bytes, "a" may have fewer
    pacer.received("a", 450_000)
    assert pacer.seconds_to_wait("b") == pytest.approx(HOUR, abs=1.1)
    assert "an hour" in said[0]
    clock.now += HOUR + 2
    assert pacer.seconds_to_wait("b") == 0
    pacer.give_back()
    assert budget.take("bytes", 1_000_000) == 0


@pytest.mark.parametrize(
    "raised", ["requests_per_minute", "requests_per_day", "bytes_per_hour", "bytes_per_day"]
)
def test_budgets_are_raised_only_for_ones_own_api(raised):
    with pytest.raises(UsageError, match="--api-url"):
        CollectOptions(**{raised: 10**12})
    CollectOptions(**{raised: 10**12}, api_url=LOCAL)
    CollectOptions(**{raised: 1})
    with pytest.raises(UsageError, match="no budget"):
        CollectOptions(**{raised: 0})
