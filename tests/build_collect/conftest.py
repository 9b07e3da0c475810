"""A server like iNaturalist, on loopback, with drawn photos."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from inaturalist_server import INaturalistServer, photo_bytes


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
