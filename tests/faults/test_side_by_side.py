"""Two processes on one run, one pool, one cache; processes whose clocks differ."""

from __future__ import annotations

import signal
import time

import pytest


@pytest.mark.parametrize("name", ["evaluate", "import", "discover", "export"])
def test_two_processes_with_one_output_end_as_one_does(disk, left_alone, name):
    alone = left_alone(name)
    alone.command.begin(disk)
    both = [alone.command.start(disk) for _ in "ab"]
    ended = [process.wait() for process in both]
    assert [ran.status for ran in ended] == [0, 0], [ran.err for ran in ended]
    assert alone.changes() == ()
    assert alone.leftovers() == ()


@pytest.mark.parametrize("name", ["evaluate"])
def test_one_of_two_is_killed_and_the_other_one_ends(disk, left_alone, name):
    alone = left_alone(name)
    alone.command.begin(disk)
    first, second = (alone.command.start(disk) for _ in "ab")
    while not first.ended() and len(first.calls()) < len(alone.calls) / 2:
        time.sleep(0.002)
    first.send(signal.SIGKILL)
    first.wait()
    ran = second.wait()
    assert ran.status == 0, ran.err
    assert alone.command.run(disk).status == 0
    assert alone.changes() == ()
    assert alone.leftovers() == ()


@pytest.mark.parametrize(("name", "ahead"), [("evaluate", 86_400 * 400), ("import", -86_400 * 400)])
def test_a_clock_that_was_set_wrong_changes_nothing(disk, left_alone, name, ahead):
    """Killed midway with one clock, it ends with another."""
    alone = left_alone(name)
    alone.command.begin(disk)
    fault = [each for each in alone.faults() if each.kind == "killed after"][len(alone.calls) // 2]
    alone.command.run(disk, fault, ahead=ahead)
    ran = alone.command.run(disk)
    assert ran.status == 0, ran.err
    assert alone.changes() == ()
    assert alone.leftovers() == ()
