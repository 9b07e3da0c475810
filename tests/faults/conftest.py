"""One process that children are forked from, for all tests here."""

from __future__ import annotations

import os
from functools import cache

import pytest
from disturbed_commands import Undisturbed, disturbed_commands
from faulty_disk import NO_COMPILER, FaultyDisk, library


@pytest.fixture(scope="session")
def disk(tmp_path_factory):
    """A disk that fails where it is told to; skipped where nothing can be compiled."""
    if library() is None and not os.environ.get("CI"):
        pytest.skip(NO_COMPILER)
    assert library(), "continuous integration installs a compiler"
    with FaultyDisk(tmp_path_factory.mktemp("disk") / "root") as disk:
        yield disk


@pytest.fixture(scope="session")
def left_alone(disk):
    """A function that runs a command that writes, undisturbed, once."""
    with disturbed_commands() as commands:
        yield cache(lambda name: Undisturbed(commands[name], disk))
