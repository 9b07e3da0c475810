"""Budgets: no window ever holds more than its limit, whoever spends."""

import sqlite3
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterground.errors import CounterGroundError
from counterground.http import DAY, HOUR, Budget, Limit, refuse_long_wait


def test_the_day_holds_for_requests_and_the_hour_for_bytes(clock, tmp_path):
    limits = {"requests": (Limit(DAY, 3),), "bytes": (Limit(HOUR, 100),)}
    budget = Budget("here", limits, tmp_path / "budget.sqlite")
    assert [budget.take("requests", 1) for _ in range(3)] == [0, 0, 0]
    assert budget.take("requests", 1) == pytest.approx(DAY + 2)
    assert budget.take("bytes", 60) == 0
    clock.now += 100
    assert budget.take("bytes", 60) == pytest.approx(HOUR + 2 - 100, abs=1.1)
    budget.settle("bytes", -30)
    assert budget.take("bytes", 60) == 0
    clock.now += DAY + 2
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


# Each example has a budget of its own, and time only goes on.
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 40), st.integers(1, 60)), max_size=25))
def test_no_window_holds_more_than_its_limit(tmp_path_factory, clock, steps):
    limit, spent = Limit(60, 100), []
    budget = Budget("here", {"bytes": (limit,)}, tmp_path_factory.mktemp("b") / "budget.sqlite")
    for pause, amount in steps:
        clock.now += pause
        if not budget.take("bytes", amount):
            spent.append((clock.now, amount))
    for at, _ in spent:
        assert sum(amount for when, amount in spent if at <= when < at + 60) <= 100


def test_processes_share_a_budget(tmp_path):
    code = (
        "import sys, pathlib\n"
        "from counterground.http import DAY, Budget, Limit\n"
        "limits = {'requests': (Limit(DAY, 40),)}\n"
        "budget = Budget('here', limits, pathlib.Path(sys.argv[1]))\n"
        "print(sum(not budget.take('requests', 1) for _ in range(60)))"
    )
    command = [sys.executable, "-c", code, tmp_path / "budget.sqlite"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    counts = [int(process.communicate()[0]) for process in running]
    assert sum(counts) == 40


def test_a_request_counts_from_when_its_answer_came(clock, tmp_path):
    budget = Budget("here", {"requests": (Limit(60, 2),)}, tmp_path / "budget.sqlite")
    assert budget.take("requests", 1) == 0
    first = budget.taken_at
    clock.now += 1
    assert budget.take("requests", 1) == 0
    clock.now += 40  # it took so long to arrive, or to be answered
    budget.arrived("requests", first)
    budget.arrived("requests", first)  # no other one is moved
    clock.now += 30
    assert budget.take("requests", 1) == 0
    assert budget.take("requests", 1) == pytest.approx(60 + 2 - 30)


ASK = """
import sys, time
from pathlib import Path
from counterground.http import Budget, Client, Limit, PatientClient

budget = Budget("api", {"requests": (Limit(4.0, 8),)}, Path(sys.argv[2]))
client = PatientClient(Client("test"), budget, first_pause=0.01, waiting=lambda reason: None)
while True:
    client.fetch(sys.argv[1], bool)
"""


def test_a_server_never_counts_more_than_promised_whoever_asks_and_is_killed(raw_server, tmp_path):
    file = tmp_path / "budget.sqlite"

    def start():
        return subprocess.Popen([sys.executable, "-c", ASK, raw_server.url, file])

    asking = [start(), start()]
    try:
        for count in (3, 7, 12, 18, 25, 33):  # killed at once when the server has so many
            while len(raw_server.came_at) < count:
                time.sleep(0.005)
            asking[0].kill()
            asking[0].wait()
            asking = [asking[1], start()]
    finally:
        for process in asking:
            process.kill()
            process.wait()
    came = sorted(raw_server.came_at)
    assert max(sum(first <= at < first + 4.0 for at in came) for first in came) <= 8


def test_a_failure_in_the_middle_leaves_the_budget_as_it_was(clock, tmp_path):
    file = tmp_path / "budget.sqlite"
    budget = Budget("here", {"bytes": (Limit(HOUR, 100),)}, file)
    assert budget.take("bytes", 60) == 0
    clock.now += 2 * DAY
    with pytest.raises(KeyError, match="unknown kind"):
        budget.take("unknown kind", 1)  # raised after rows of two days ago were deleted
    with sqlite3.connect(file) as other:
        assert other.execute("SELECT amount FROM spent").fetchall() == [(60,)]
    assert budget.take("bytes", 60) == 0  # and it goes on


@pytest.mark.parametrize("statement", ["BEGIN", "SELECT", "INSERT", "COMMIT"])
def test_interrupted_after_any_statement_it_goes_on(clock, tmp_path, monkeypatch, statement):
    interrupted = []

    class Connection(sqlite3.Connection):
        def execute(self, sql, *values):
            done = super().execute(sql, *values)
            if sql.lstrip().startswith(statement) and interrupted == [False]:
                interrupted.append(True)
                raise KeyboardInterrupt
            return done

    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *given, **named: connect(*given, **named, factory=Connection)
    )
    budget = Budget("here", {"requests": (Limit(DAY, 2),)}, tmp_path / "budget.sqlite")
    interrupted.append(False)
    with pytest.raises(KeyboardInterrupt):
        budget.take("requests", 1)
    assert budget.take("requests", 1) == 0
    assert (budget.take("requests", 1) > 0) == (statement == "COMMIT")


def test_a_budget_that_cannot_be_kept_is_an_error(tmp_path):
    file = tmp_path / "budget.sqlite"
    file.write_bytes(b"no database, and long enough to be read as one" * 10)
    with pytest.raises(CounterGroundError, match="Cannot keep count of requests"):
        Budget("here", {}, file)


def test_who_would_wait_for_another_day_gets_an_error_that_says_when_to_come_back():
    refuse_long_wait(HOUR, "requests")
    with pytest.raises(CounterGroundError, match=r"daily budget of requests is spent.*after \d{4}-.*UTC"):
        refuse_long_wait(2 * HOUR, "requests")
