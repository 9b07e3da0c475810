"""A spread of the moments at which commands are disturbed; bench/experiments/faults.py goes through all."""

from __future__ import annotations

import pytest
from faulty_disk import KINDS, Fault

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
