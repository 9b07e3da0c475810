"""A server like iNaturalist, on loopback, with drawn photos."""

from __future__ import annotations

import pytest
from inaturalist_server import INaturalistServer
from photo_server import photo_bytes

from counterground.construction.collection import collect
from counterground.construction.pool import open_pool
from counterground.construction.settings import CollectOptions


@pytest.fixture(scope="session")
def drawn() -> list[bytes]:
    """Different photos."""
    return [photo_bytes(seed) for seed in range(64)]


@pytest.fixture
def server():
    with INaturalistServer() as running:
        yield running


@pytest.fixture
def zebras(server, drawn):
    """A taxon that a built-in class is looked up by, and a function that adds observations of it."""
    taxon = server.add_taxon("Equus quagga", common_name="Plains Zebra")
    server.add_taxon("Equus zebra", common_name="Mountain Zebra")
    server.add_taxon("Equus grevyi", common_name="Grevy's Zebra")

    def add(number: int, **fields):
        start = len(server.photos)
        return [server.add_observation(taxon, [drawn[(start + n) % 64]], **fields) for n in range(number)]

    return add


@pytest.fixture
def options(server):
    def make(**given):
        quick = {"first_pause": 0.01, "api_url": server.api_url}
        return CollectOptions(**(quick | given))

    return make


@pytest.fixture
def gather(options, tmp_path):
    def run(*classes, **given):
        return collect(tmp_path / "pool", list(classes or ["zebra"]), options(**given))

    return run


@pytest.fixture
def pool(tmp_path):
    return lambda: open_pool(tmp_path / "pool")
