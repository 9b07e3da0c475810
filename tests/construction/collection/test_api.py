"""The API's client against a server in trouble: patient if that helps, clear if it does not."""

from types import SimpleNamespace

import pytest
import tenacity

# Collections go through this client; alone, its requests can be counted one by one.
from counterground.construction.collection._api import (
    INaturalist,
    sized,
)
from counterground.construction.collection._collect import open_budget
from counterground.construction.settings import CollectOptions
from counterground.errors import CounterGroundError
from counterground.http import DAY, Budget, Limit


@pytest.fixture
def sleeps(monkeypatch):
    """How long the client meant to wait; it does not."""
    asked = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=asked.append))
    return asked


def client(server, **options):
    chosen = CollectOptions(api_url=server.api_url, first_pause=0.5, **options)
    return INaturalist(chosen, open_budget(chosen), lambda why: None)


@pytest.mark.parametrize("body", [b'{"results": [', b"\xff"])
def test_json_that_is_none_is_asked_for_again(server, sleeps, body):
    server.add_taxon("Equus quagga")
    server.trouble("/v1/taxa", body=body, times=1)
    assert [taxon.name for taxon in client(server).search("quagga")] == ["Equus quagga"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sign in to this network</html>",
        b"[1, 2]",
        b'{"results": 3}',
        b'{"results": [{"name": "x"}]}',
    ],
)
def test_pages_in_place_of_the_api_are_an_error(server, sleeps, body):
    kind = "text/html" if body.startswith(b"<") else "application/json"
    server.trouble("/v1/taxa", body=body, content_type=kind, times=1)
    with pytest.raises(CounterGroundError, match=r"JSON|does not answer like the iNaturalist API"):
        client(server).search("zebra")
    assert client(server).search("zebra") == []


def test_only_what_leaves_the_machine_is_counted(server, sleeps, cache):
    options = CollectOptions(api_url=server.api_url)
    budget = Budget("here", {"requests": (Limit(DAY, 3),)}, cache / "budget.sqlite")
    server.trouble("/v1/taxa", status=500, times=1)
    api = INaturalist(options, budget, lambda why: None)
    api.search("zebra")  # two requests
    api.search("horse")
    with pytest.raises(CounterGroundError, match="daily budget of requests is spent"):
        api.search("donkey")
    assert server.asked_below("/v1/taxa") == 3


def test_an_id_that_is_none_has_no_taxon(server):
    assert client(server).taxon(5) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://x.org/photos/1/square.jpg", "https://x.org/photos/1/medium.jpg"),
        ("https://x.org/photos/1/original.JPEG?1404", "https://x.org/photos/1/medium.JPEG?1404"),
        ("//x.org/photos/1/thumb.png", "https://x.org/photos/1/medium.png"),
        ("https://x.org/assets/copyright-infringement-square.png", None),
        ("https://live.example.com/1_s.jpg", None),
        ("", None),
        (None, None),
    ],
)
def test_addresses_tell_their_size(address, expected):
    assert sized(address, "medium") == expected
