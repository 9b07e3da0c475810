"""A server on loopback that writes any bytes it is told to."""

from __future__ import annotations

import pytest
from hostile_server import RawServer, reply


@pytest.fixture(name="reply")
def reply_():
    return reply


@pytest.fixture
def raw_server():
    server = RawServer()
    yield server
    server.close()
