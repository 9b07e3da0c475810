"""A server of photos, and a pool."""

from __future__ import annotations

import pytest
from photo_server import running

from counterground.construction.pool import open_pool


@pytest.fixture
def photo_server():
    with running() as state:
        yield state


@pytest.fixture
def pool(tmp_path):
    opened = open_pool(tmp_path / "pool", create=True)
    yield opened
    opened.close()
