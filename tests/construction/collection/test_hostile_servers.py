"""``collect`` against an API and a photo host that are hostile: one line, in time, in little memory."""

from __future__ import annotations

import json

import forked
import pytest
from hostile_server import TRICKS, RawServer, reply

# One process for all tricks: it asks the API as collect does, with a deadline that a test can wait for.
ASK = """
import json, resource, sys
from counterground.construction.collection import _api
from counterground.construction.settings import CollectOptions
from counterground.errors import CounterGroundError
from counterground.http import Budget, Limit, RequestLimits, _client
from pathlib import Path

_api._LIMITS = RequestLimits(timeout=1.0, longest=1.0, most_bytes=_api._LIMITS.most_bytes)
_client._TRIES = 2
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for number, url in enumerate(sys.argv[1:]):
    options = CollectOptions(api_url=url, first_pause=0.01)
    budget = Budget("api", {"requests": (Limit(60, 1000),)}, Path(f"{number}.sqlite"))
    api = _api.INaturalist(options, budget, lambda reason: None)
    try:
        said = str(api.search("zebra"))
    except CounterGroundError as error:
        said = f"Error: {error}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([said, grown]), flush=True)
"""
_MOST_KB = 700_000  # JSON of 16 MiB takes up to 600 MB as Python's lists, and the parser less
_API_TRICKS = sorted(set(TRICKS) - {"pixel bomb"})


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    servers = {name: RawServer(TRICKS[name]) for name in _API_TRICKS}
    folder = tmp_path_factory.mktemp("asked")
    cache = {"COUNTERGROUND_CACHE": str(folder)}
    addresses = [f"{server.url}/v1" for server in servers.values()]
    ran = forked.run(ASK, *addresses, folder=folder, environment=cache)
    for server in servers.values():
        server.close()
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return {name: (*line, servers[name]) for name, line in zip(servers, lines, strict=True)}


@pytest.mark.parametrize("name", _API_TRICKS)
def test_a_hostile_api_ends_in_one_line(answers, name):
    said, grown, server = answers[name]
    assert said.startswith(f"Error: {server.url}/v1") or "asks for a pause" in said, said
    assert "\n" not in said
    assert grown < _MOST_KB
    assert len(server.requests) <= 2
    assert not any("/again" in request for request in server.requests)


def test_what_the_api_says_of_itself_is_in_the_line(answers):
    said = {name: line for name, (line, *_) in answers.items()}
    late = ("it took more than 1 s", "no answer in 1 s")
    for name in ("drips a header", "drips headers", "drips a body", "drips chunks", "says nothing"):
        assert any(each in said[name] for each in late), name
    for name in ("gzip bomb", "deflate bomb", "endless body", "endless JSON", "empty lists"):
        assert any(each in said[name] for each in ("it is larger than 16 MiB", *late)), name
    for name in ("redirects elsewhere", "redirects in a loop"):
        assert "Is that the address" in said[name], name
    assert "it sends broken JSON" in said["deep JSON"]


_PHOTO_TRICKS = sorted(
    {"drips a header", "drips a body", "endless body", "gzip bomb", "redirects in a loop", "pixel bomb"}
    | {"redirects to a file", "odd chunk", "no status", "two lengths", "a page", "Retry-After: for ever"}
)


@pytest.mark.parametrize("name", _PHOTO_TRICKS)
def test_a_hostile_photo_is_left_out_and_the_others_are_collected(
    server, zebras, gather, monkeypatch, name, tmp_path
):
    from counterground.construction.collection import _collect  # with less patience
    from counterground.http import DownloadSettings

    quick = DownloadSettings(longest=1.0, tries=1, first_pause=0.01, most_bytes=10_000_000)
    monkeypatch.setattr(_collect, "DownloadSettings", lambda **given: quick)
    hostile = RawServer(TRICKS[name])
    zebras(3)
    zebras(1, url=f"{hostile.url}/photos/1/square.jpg")
    report = gather(per_class=3)
    hostile.close()
    assert len(hostile.requests) >= 1
    assert sum(each.added for each in report.classes) == 3
    assert not list((tmp_path / "pool" / "files").rglob("*.tmp"))


def test_a_redirect_is_a_request_of_its_own_where_it_leads(server, zebras, gather, drawn):
    there = RawServer(lambda connection, _: connection.sendall(reply(drawn[0])))
    moved = reply(b"", "302 Found", Location=f"{there.url}/photos/1/medium.jpg")
    here = RawServer(lambda connection, _: connection.sendall(moved))
    zebras(1, url=f"{here.url}/photos/1/square.jpg")
    report = gather(per_class=1)
    assert sum(each.added for each in report.classes) == 1
    assert (len(here.requests), len(there.requests)) == (1, 1)
