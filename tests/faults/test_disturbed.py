"""Commands that are disturbed: a spread of the moments at which the disk fails or they are killed
(bench/experiments/faults.py goes through all, soak.py kills at random), two at once, wrong clocks.

All in one file: what they run undisturbed, and the process that they are forked from, is made once.
"""

from __future__ import annotations

import random
import signal
import time
from functools import cache

import pytest
from disturbed_commands import Undisturbed, disturbed_commands
from faulty_disk import KINDS, Fault, FaultyDisk

pytestmark = pytest.mark.slow

EACH = tuple(KINDS)
# What takes long gets some kinds of fault only, another one others.
SPREAD = {
    "collect": EACH,
    "import": EACH,
    "label": EACH,
    "evaluate": EACH[0::3],
    "discover": EACH[1::3],
    "export": EACH[2::3],
    "study": ("full",),
    "swap": ("killed before",),
    "mitigate": ("torn",),
}


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A disk that fails where it is told to."""
    with FaultyDisk(tmp_path_factory.mktemp("disk") / "root") as disk:
        yield disk


@pytest.fixture(scope="module")
def left_alone(disk):
    """A function that runs a command that writes, undisturbed, once."""
    with disturbed_commands() as commands:
        yield cache(lambda name: Undisturbed(commands[name], disk))


@pytest.fixture(scope="module", params=SPREAD)
def undisturbed(request, left_alone):
    return left_alone(request.param)


def test_a_disturbed_command_ends_as_one_left_alone(undisturbed):
    """Every kind of call in turn, from the first one to the last."""
    kinds = SPREAD[undisturbed.command.name]
    calls = sorted({call for call, _ in undisturbed.calls})
    for number, kind in enumerate(kinds):
        call = "write" if kind == "torn" else calls[number % len(calls)]
        moments = [at for at, (each, _) in enumerate(undisturbed.calls, start=1) if each == call]
        found = undisturbed.disturb(Fault(kind, moments[(2 * number + 1) * len(moments) // (2 * len(kinds))]))
        assert found.clean, found


def test_every_kind_of_write_is_seen(undisturbed):
    """What is not counted is not disturbed: the enumeration would say nothing about it."""
    seen = {call for call, _ in undisturbed.calls}
    assert {"open", "write"} <= seen
    assert {"fsync", "rename"} <= seen


def test_a_collection_goes_on_from_each_of_its_commits(left_alone):
    """Killed where one transaction of the pool is on disk and the next one is not."""
    alone = left_alone("collect")
    commits = [
        at
        for at, (call, path) in enumerate(alone.calls, start=1)
        if call == "fsync" and path.endswith("decisions.sqlite-wal")
    ]
    assert commits
    for at in commits:
        found = alone.disturb(Fault("killed after", at))
        assert found.clean, found


@pytest.mark.parametrize("name", ["import", "collect"])
def test_killed_at_random_moments_it_ends_as_one_left_alone(left_alone, name):
    seed = random.randrange(2**32)
    found = left_alone(name).soak(3, random.Random(seed))
    assert found.clean, (seed, found)


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
