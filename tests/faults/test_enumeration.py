"""A spread of the moments at which commands are disturbed; bench/experiments/faults.py goes through all."""

from __future__ import annotations

import pytest
from disturbed_commands import Undisturbed
from faulty_disk import FAILURES, KILLS

NAMES = ("evaluate", "import", "discover", "export", "study", "swap", "mitigate")
MOMENTS = {"study": 1, "swap": 2, "mitigate": 2}  # what takes long


@pytest.fixture(scope="module", params=NAMES)
def undisturbed(request, disk, commands):
    return Undisturbed(commands[request.param], disk)


def test_a_disturbed_command_ends_as_one_left_alone(undisturbed):
    """Moments from the first call to the last, and every kind of fault in turn."""
    faults = list(undisturbed.faults())
    wanted = MOMENTS.get(undisturbed.command.name, 4)
    kinds = (*FAILURES, *KILLS)
    for number in range(wanted):
        of_kind = [fault for fault in faults if fault.kind == kinds[number % len(kinds)]]
        fault = of_kind[(2 * number + 1) * len(of_kind) // (2 * wanted)]
        found = undisturbed.disturb(fault)
        assert found.clean, found


def test_every_kind_of_write_is_seen(undisturbed):
    """What is not counted is not disturbed: the enumeration would say nothing about it."""
    seen = {call for call, _ in undisturbed.calls}
    assert {"open", "write"} <= seen
    assert {"fsync", "rename"} <= seen
