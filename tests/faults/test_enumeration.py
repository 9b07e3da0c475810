"""A spread of the moments at which commands are disturbed; bench/experiments/faults.py goes through all."""

from __future__ import annotations

import pytest
from disturbed_commands import Undisturbed
from faulty_disk import FAILURES, KILLS, Fault

NAMES = ("evaluate", "collect", "import", "label", "discover", "export", "study", "swap", "mitigate")
SLOW = ("study", "swap", "mitigate")


@pytest.fixture(scope="module", params=NAMES)
def undisturbed(request, disk, commands):
    return Undisturbed(commands[request.param], disk)


def test_a_disturbed_command_ends_as_one_left_alone(undisturbed):
    """Moments from the first call to the last; of what is quick, every kind of fault."""
    name = undisturbed.command.name
    kinds = (*FAILURES, *KILLS)
    # What takes long gets one kind, another one each.
    chosen = [kinds[2 * SLOW.index(name) + 1]] if name in SLOW else kinds
    faults = list(undisturbed.faults())
    for number, kind in enumerate(chosen):
        of_kind = [fault for fault in faults if fault.kind == kind]
        found = undisturbed.disturb(of_kind[(2 * number + 1) * len(of_kind) // (2 * len(chosen))])
        assert found.clean, found


def test_every_kind_of_write_is_seen(undisturbed):
    """What is not counted is not disturbed: the enumeration would say nothing about it."""
    seen = {call for call, _ in undisturbed.calls}
    assert {"open", "write"} <= seen
    assert {"fsync", "rename"} <= seen


def test_a_collection_goes_on_from_each_of_its_commits(disk, commands):
    """Killed where one transaction of the pool is on disk and the next one is not."""
    alone = Undisturbed(commands["collect"], disk)
    commits = [
        at
        for at, (call, path) in enumerate(alone.calls, start=1)
        if call == "fsync" and path.endswith("decisions.sqlite-wal")
    ]
    assert commits
    for at in commits:
        found = alone.disturb(Fault("killed after", at))
        assert found.clean, found
