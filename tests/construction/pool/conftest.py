"""Pools of small photos of noise."""

import made_pools
import pytest

CLASSES = ("ice bear", "flamingo")


@pytest.fixture(scope="session")
def make_pool():
    """Function: (folder, class name -> number of photos) -> Pool."""
    return lambda folder, sizes: made_pools.fill_pool(folder, sizes, licence=lambda _: "cc0")


@pytest.fixture
def pool(tmp_path, make_pool):
    """Eight photos in two classes."""
    with make_pool(tmp_path / "pool", dict.fromkeys(CLASSES, 4)) as pool:
        yield pool
