"""Readers of foreign files under drawn changes: each is read whole, or refused in one line."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))
from mutations import mutate
from packed import FORMATS, change_inside
from targets import TARGETS, check, corpus, refuse_network, seeds

from counterground.offline import OFFLINE

SLOW = {"croissant", "hf_saved", "hf_arrow", "hf_parquet", "manifest_parquet", "model_spec", "mitigation"}
SLOW |= {name for name in TARGETS if name.startswith(("spuriverse", "report"))}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setenv(OFFLINE, "1")
    for owner, name in ((socket.socket, "connect"), (socket, "getaddrinfo")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # so that it is restored
    refuse_network()


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_whole_is_read(name):
    assert [check(name, data) for data in seeds(name).values()] == ["read"] * len(seeds(name))


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"mask_files"}))  # unreadable masks are counted
def test_what_is_nothing_is_refused(name):
    """Else the target would not read its file."""
    assert check(name, b"\xff\0") != "read"


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_packed_file_contains_is_changed(name):
    for data in seeds(name).values():
        for at, begins, _ in FORMATS:
            if data.startswith(begins, at):
                changed = [change_inside(data, Random(number), mutate) for number in range(20)]
                assert len({*changed} - {None, data}) > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_what_earlier_runs_found_is_read_whole_or_refused_in_one_line(name):
    for data in corpus(name).values():
        check(name, data)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_are_read_whole_or_refused_in_one_line(name):
    @settings(
        max_examples=3 if name in SLOW else 12,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(sorted(seeds(name).values())), st.randoms(use_true_random=False))
    def changed(data, random):
        check(name, mutate(data, random))

    changed()
