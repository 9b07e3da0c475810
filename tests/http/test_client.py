"""One request against servers that do anything: an answer, or an error that says what to expect next."""

from __future__ import annotations

import gzip
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from counterground import __version__
from counterground.errors import CounterGroundError
from counterground.http import (
    DAY,
    Budget,
    Client,
    FetchError,
    Limit,
    PatientClient,
    RequestLimits,
    backoff,
    retry_after,
    user_agent,
)

QUICK = RequestLimits(timeout=5.0, longest=0.3, most_bytes=100_000)


def failure(client, url, **how) -> FetchError:
    with pytest.raises(FetchError) as caught:
        client.fetch(url, **how)
    return caught.value


def drip(connection, data, pause=0.02):
    for byte in data:
        connection.sendall(bytes([byte]))
        time.sleep(pause)


def test_an_answer_has_its_headers_and_its_body(raw_server, reply):
    raw_server.answer = lambda connection, _: connection.sendall(reply(b"photo", X_Kind="small"))
    client = Client(user_agent("ann@example.org"))
    answer = client.fetch(raw_server.url)
    assert (answer.body, answer.headers["x-kind"]) == (b"photo", "small")
    client.fetch(raw_server.url)
    assert f"User-Agent: counterground/{__version__} (+ann@example.org)\r\n" in raw_server.requests[0]
    client.close()


@pytest.mark.parametrize("start", ["header", "body", "chunks"])
def test_a_server_that_drips_is_left_at_the_deadline(raw_server, start):
    heads = {
        "header": b"",
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    }
    gone = threading.Event()

    def answer(connection, _):
        connection.sendall(heads[start])
        try:
            drip(connection, b"HTTP/1.1 200 OK\r\nX: " + b"1" * 500)
        except OSError:
            gone.set()
            raise

    raw_server.answer = answer
    error = failure(Client("me", QUICK), raw_server.url)
    assert (error.reason, error.again) == ("it took more than 0.3 s", True)
    # The server, which would drip for ten seconds, lost its connection.
    assert start == "header" or gone.wait(5)


def test_a_connection_that_was_kept_open_has_a_deadline_for_each_request(raw_server):
    client = Client("me", RequestLimits(longest=1.0))
    client.fetch(raw_server.url)
    time.sleep(1.2)  # the deadline of the first request is over, and must not end the second
    assert client.fetch(raw_server.url).body == b"whole"
    raw_server.answer = lambda connection, _: drip(connection, b"HTTP/1.1 200 OK\r\nX: " + b"1" * 500)
    assert failure(client, raw_server.url).reason == "it took more than 1 s"


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_is_bounded_as_it_is_decompressed(raw_server, reply, packed):
    body = b"0" * 50_000_000 if packed else b"0" * 200_000
    how = {"Content_Encoding": "gzip"} if packed else {}
    answer = reply(gzip.compress(body, 1) if packed else body, **how)
    raw_server.answer = lambda connection, _: connection.sendall(answer)
    error = failure(Client("me", RequestLimits(most_bytes=100_000)), raw_server.url)
    assert error.reason.startswith("it is larger than 0.09")
    assert not error.again
    assert error.received < 300_000


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://nowhere.invalid/refused", "no connection (gaierror)"),
        ("http://127.0.0.1:9/getaddrinfo", "no connection (ConnectionRefusedError)"),
        ("http://255.255.255.255/refused", "no connection (OSError)"),
    ],
)
def test_why_there_is_no_connection_is_not_read_from_the_address(address, reason):
    error = failure(Client("me", QUICK), address)
    assert (error.reason, error.again) == (reason, True)


def test_redirects_are_followed_and_their_bodies_are_not_read(raw_server, reply):
    def answer(connection, request):
        if "GET /photo" in request:
            connection.sendall(reply())
        else:
            head = b"HTTP/1.1 302 Found\r\nLocation: /photo\r\nContent-Length: 1000000000\r\n\r\n"
            connection.sendall(head + b"some of it")

    raw_server.answer = answer
    assert Client("me", QUICK).fetch(raw_server.url).body == b"whole"


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/again", "too many redirects"),
        ("file:///etc/passwd", "the address cannot be used (InvalidSchema)"),
        ("http://[bad/", "the address cannot be used"),
    ],
)
def test_redirects_that_lead_nowhere_are_refused(raw_server, reply, location, reason):
    raw_server.answer = lambda connection, _: connection.sendall(reply(b"", "302 Found", Location=location))
    error = failure(Client("me"), raw_server.url)
    assert error.reason.startswith(reason)
    assert not error.again
    assert len(raw_server.requests) <= 6


def test_what_may_be_secret_in_the_target_of_a_redirect_is_not_named(raw_server, reply):
    target = "https://me:pass@elsewhere.example/v1?token=secret"
    raw_server.answer = lambda connection, _: connection.sendall(reply(b"", "302 Found", Location=target))
    error = failure(Client("me"), raw_server.url, follow=False)
    assert error.reason == "the server answered 302, a redirect to https://elsewhere.example/v1"


def test_offline_forbids_other_machines_only(raw_server, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_OFFLINE", "1")
    with pytest.raises(CounterGroundError, match=r"http://203\.0\.113\.1/photo\.jpg needs .* --offline"):
        Client("me", QUICK).fetch("http://203.0.113.1/photo.jpg?key=secret")
    assert Client("me").fetch(raw_server.url).body == b"whole"


def test_offline_forbids_a_redirect_to_another_machine(raw_server, reply, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_OFFLINE", "1")
    away = reply(b"", "302 Found", Location=raw_server.url.replace("127.0.0.1", "127.1") + "/away")
    answers = iter([away, reply(b"whole")])
    raw_server.answer = lambda connection, _: connection.sendall(next(answers))
    with pytest.raises(CounterGroundError, match=r"http://127\.1:\d+/away needs the network"):
        Client("me", QUICK).fetch(raw_server.url)


@pytest.mark.parametrize(
    ("status", "headers", "again", "busy", "wait"),
    [
        ("404 Not Found", {}, False, False, None),
        ("429 Too Many Requests", {}, True, True, None),
        ("500 Internal Server Error", {}, True, False, None),
        ("503 Service Unavailable", {}, True, False, None),
        ("503 Service Unavailable", {"Retry_After": "7"}, True, True, 7.0),
        ("503 Service Unavailable", {"Retry_After": "soon"}, True, False, None),
    ],
)
def test_a_status_says_whether_to_ask_again(raw_server, reply, status, headers, again, busy, wait):
    raw_server.answer = lambda connection, _: connection.sendall(reply(b"why", status, **headers))
    error = failure(Client("me"), raw_server.url)
    assert (error.again, error.busy, error.wait) == (again, busy, wait)
    assert (error.status, error.excerpt) == (int(status[:3]), b"why")
    assert error.reason == f"the server answered {status[:3]}"


def test_reading_ends_when_it_is_stopped(raw_server):
    stop = threading.Event()

    def answer(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        stop.set()
        drip(connection, b"0" * 100)

    raw_server.answer = answer
    assert failure(Client("me"), raw_server.url, stop=stop).reason == "stopped"


def patient(raw_server, tmp_path, *, per_day=100):
    budget = Budget("here", {"requests": (Limit(DAY, per_day),)}, tmp_path / "budget.sqlite")
    said = []
    return PatientClient(Client("me"), budget, first_pause=0.01, waiting=said.append), said


def test_a_failure_is_asked_again_within_the_budget(raw_server, reply, tmp_path):
    answers = [reply(b"", "500 Oops"), reply(b"", "429 Slower", Retry_After="0"), reply(b"1"), reply(b"2")]
    raw_server.answer = lambda connection, _: connection.sendall(answers[len(raw_server.requests) - 1])
    client, said = patient(raw_server, tmp_path, per_day=4)

    def read(answer):
        if answer.body == b"1":
            raise FetchError("half an answer", again=True)
        return answer.body

    assert client.fetch(raw_server.url, read) == b"2"
    assert [why.partition(":")[0] for why in said] == [
        "the server answered 500",
        "the server answered 429",
        "half an answer",
    ]
    with pytest.raises(CounterGroundError, match="daily budget of requests is spent"):
        client.fetch(raw_server.url, read)
    assert len(raw_server.requests) == 4


def test_a_failure_that_stays_is_raised_after_six_tries(raw_server, reply, tmp_path):
    raw_server.answer = lambda connection, _: connection.sendall(reply(b"", "503 Oops"))
    client, said = patient(raw_server, tmp_path)
    with pytest.raises(FetchError, match="503"):
        client.fetch(raw_server.url, bool)
    assert (len(raw_server.requests), len(said)) == (6, 5)


def test_a_server_that_asks_for_a_long_pause_is_not_asked_again(raw_server, reply, tmp_path):
    raw_server.answer = lambda connection, _: connection.sendall(reply(b"", "429 No", Retry_After="7200"))
    client, _ = patient(raw_server, tmp_path)
    with pytest.raises(CounterGroundError, match="asks for a pause of 120 minutes"):
        client.fetch(raw_server.url, bool)
    assert len(raw_server.requests) == 1


def test_pauses_are_doubled_up_to_the_longest():
    assert [backoff(failures, 2.0, 10.0) for failures in (1, 2, 3, 4, 99)] == [2, 4, 8, 10, 10]


def test_retry_after_is_a_number_or_a_date():
    assert retry_after(" 3 ") == 3
    date = datetime.now(UTC) + timedelta(seconds=90)
    assert 60 < retry_after(format_datetime(date)) <= 90
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("value", [None, "", "soon", "\N{SUPERSCRIPT TWO}", "-1", "Mon, 99 Jan 99999 0:0:0"])
def test_a_retry_after_that_is_neither_says_nothing(value):
    assert retry_after(value) is None


FILE = bytes(range(256)) * 400


def test_a_file_appears_whole_or_not_at_all(raw_server, reply, tmp_path):
    client, path = Client("test", RequestLimits(most_bytes=110_000)), tmp_path / "new" / "shard.tar"
    whole = reply(FILE)
    raw_server.answer = lambda connection, _: (connection.sendall(whole[:70_000]), connection.close())
    with pytest.raises(FetchError, match="broke off") as broken:
        client.save(raw_server.url, path)
    assert broken.value.again
    assert list(path.parent.iterdir()) == []
    raw_server.answer = lambda connection, _: connection.sendall(whole)
    assert client.save(raw_server.url, path) == len(FILE)
    assert path.read_bytes() == FILE
    assert "Accept-Encoding: identity" in raw_server.requests[0]
    raw_server.answer = lambda connection, _: connection.sendall(reply(FILE * 2))
    with pytest.raises(FetchError, match="larger than"):
        client.save(raw_server.url, path)
    with pytest.raises(CounterGroundError, match=r"shard\.tar"):
        client.save(raw_server.url, path / "below.tar")
    assert path.read_bytes() == FILE
    client.close()


def test_what_is_here_goes_to_no_proxy(raw_server, reply, monkeypatch):
    """A proxy is another machine: offline, nothing may reach it."""
    raw_server.answer = lambda connection, _: connection.sendall(reply(b"photo"))
    monkeypatch.setenv("COUNTERGROUND_OFFLINE", "1")
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert Client(user_agent()).fetch(raw_server.url).body == b"photo"
