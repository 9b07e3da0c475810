"""Clients that hold, drip, flood and garble: the page keeps serving its annotator and loses no decision."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import uuid

import pytest
from drawn_masks import save_masks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_client import RawClient


class Annotator(RawClient):
    """A normal one: asks for photos and decides on them, and counts what was acknowledged."""

    def __init__(self, server):
        super().__init__(server)
        self.enter(server.links["ann"])
        self.acknowledged = 0

    def works(self, path, **event):
        page = self.post("/api/next", {"task": event["task"], "leased": [], "count": 1} | self.also(event))
        assert page.status == 200
        sent = {"kind": "decide", "token": str(uuid.uuid4()), "path": path} | event
        answer = self.post("/api/events", {"events": [sent]})
        assert json.loads(answer.text)["results"][0]["ok"] is True
        self.acknowledged += 1

    def also(self, event):
        return {"skipped": []} if event["task"] == "masks" else {}


@pytest.fixture
def inside(pool, serve):
    return Annotator(serve(pool))


@pytest.fixture
def works(pool, inside):
    """Function: the annotator decides once more, and all decisions so far are in the pool."""

    def work():
        inside.works(pool.photos()["path"][0], task="background", labels=["water"], seconds=1.0)
        assert len(pool.decisions()) == inside.acknowledged

    return work


def connected(client, data=b""):
    connection = socket.create_connection(("127.0.0.1", client.server.port), timeout=30)
    connection.sendall(data)
    return connection


def head(client, method="POST", path="/api/events", **headers):
    usual = {"Host": client.host, "Cookie": client.cookie, "Origin": f"http://{client.host}"}
    usual |= {"Content-Type": "application/json"}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in (usual | headers).items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def answered(connection):
    """Return the status of the answer; 0 where the connection was closed without one."""
    data = b""
    while b"\r\n" not in data and (chunk := connection.recv(4096)):
        data += chunk
    return int(data.split()[1]) if data else 0


def test_connections_that_are_held_keep_nobody_out(inside, works):
    begun = (b"", b"GET ", b"GET / HTTP/1.1\r\nHost: ", head(inside, Content_Length=1000) + b'{"annotator":')
    held = [connected(inside, begun[number % len(begun)]) for number in range(400)]
    for _ in range(3):
        works()
    for connection in held:
        connection.close()
    works()


def test_a_body_of_a_gigabyte_is_refused_before_it_is_sent(inside, works):
    for headers in ({"Transfer_Encoding": "chunked"}, {"Content_Length": 10**9}):
        connection = connected(inside, head(inside, **headers))
        sent = 0
        piece = b"100000\r\n" + b"0" * 0x100000 + b"\r\n"
        try:
            while sent < 10**9:
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            pass  # closed by the server
        assert sent < 10**8
        connection.close()
        works()


def test_what_is_not_http_is_refused(inside, works):
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\r\n" * 1000,
        b"GET / HTTP/1.1\r\n" + b"X: " + b"1" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 50_000 + b"\r\n",
        head(inside, Content_Length="-1"),
        head(inside, Content_Length="2, 3"),
        head(inside, Transfer_Encoding="chunked", Content_Length="2") + b"{}",
        head(inside, Content_Length="1" * 5000),
        head(inside, Expect="100-continue", Content_Length=10**9),
    ):
        connection = connected(inside)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            assert answered(connection) in {0, 400, 403, 411, 413, 414, 431}, data[:60]
        except OSError:
            pass  # closed while it was sent
        connection.close()
    works()


IMPATIENT = """
import sys
from counterground.construction.annotate import LabelSettings, label_pool
from counterground.construction.annotate.masks import ServerSettings, review_masks
if sys.argv[2] == "masks":
    review_masks(sys.argv[1], ServerSettings(["ann"], patience=1.0), say=lambda line: print(line, flush=True))
else:
    label_pool(sys.argv[1], LabelSettings(["ann"], patience=1.0), say=lambda line: print(line, flush=True))
"""


class Impatient:
    """A server that gives a request one second to arrive."""

    def __init__(self, folder, kind):
        self.process = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, str(folder), kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = next(line for line in self.process.stdout if "http://" in line)
        self.links = {"ann": line.split()[-1]}
        self.base = re.match(r"http://[^/]+", self.links["ann"])[0]
        self.port = int(self.base.rsplit(":", 1)[1])

    def stop(self):
        self.process.terminate()
        return self.process.communicate(timeout=60)[1]


@pytest.fixture(params=["pool", "masks"])
def impatient(request, pool, tmp_path):
    masks = request.param == "masks"
    folder = save_masks(tmp_path).folder if masks else pool.root
    server = Impatient(folder, request.param)
    yield server, masks
    if server.process.poll() is None:
        server.process.kill()
    server.process.communicate()


def test_a_request_that_drips_is_left_and_a_waiting_page_is_not(impatient, pool):
    server, masks = impatient
    client = Annotator(server)
    drips = {
        "nothing": (b"", b""),
        "a request line": (b"GET /", b"a"),
        "a header": (b"GET / HTTP/1.1\r\nX: ", b"a"),
        "a body": (head(client, Content_Length=100_000), b"a"),
        "a second request": (head(client, "GET", "/api/none") + b"GET /", b"a"),
    }
    left = {}

    def drip(name, first, more):
        connection = connected(client, first)
        try:
            while True:
                connection.settimeout(0.05)
                try:
                    if connection.recv(65536) == b"":
                        break
                except TimeoutError:
                    pass
                connection.sendall(more)
        except OSError:
            pass
        left[name] = True
        connection.close()

    threads = [threading.Thread(target=drip, args=(name, *what), daemon=True) for name, what in drips.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(left) == sorted(drips)  # the server has closed each of them
    if masks:
        client.works("ox/grass/a.png", task="masks", verdict="rejected", mask=None)
    else:
        client.works(pool.photos()["path"][0], task="background", labels=["water"], seconds=1.0)
    assert server.stop() == ""  # no line for each of them


PATHS = st.sampled_from(
    ["/", "/label/review", "/label/none", "/disagreements/background", "/progress", "/agreement", "/labels"]
    + [
        "/photo/1",
        "/photo/99999999999999999999",
        "/mask/1",
        "/guide",
        "/enter",
        "/static/label.js",
        "/static/..",
    ]
    + [f"/api/{name}" for name in ("next", "remaining", "disagreements", "events", "labels", "guidance", "x")]
) | st.text(st.characters(codec="ascii", exclude_characters=" \r\n\x00"), min_size=1, max_size=30).map(
    "/{}".format
)
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {"annotator": st.just("ann")},
    optional={
        "task": st.sampled_from(["review", "background", "masks"]) | JSON,
        "leased": st.lists(st.text(max_size=9), max_size=3) | JSON,
        "skipped": st.lists(st.text(max_size=9), max_size=3) | JSON,
        "count": st.integers(-1, 25) | JSON,
        "class_name": JSON,
        "before": JSON,
        "text": JSON,
    },
)
# No event that could be taken: what is recorded must be what the annotator was told is recorded.
EVENTS = st.fixed_dictionaries(
    {
        "annotator": st.just("ann"),
        "events": st.lists(JSON | st.fixed_dictionaries({"kind": JSON}), max_size=3),
    }
)
BODIES = (
    (JSON | FIELDS | EVENTS).map(json.dumps).map(str.encode)
    | st.binary(max_size=60)
    | st.sampled_from(
        [
            b"[" * 200_000,
            b'{"annotator":"ann","events":' + b"[" * 100_000,
            b'{"annotator":"\\ud800"}',
            b"\xff\xfe{}",
        ]
    )
)
ODD = st.dictionaries(
    st.sampled_from(
        ["Host", "Origin", "Cookie", "Content_Type", "Sec_Fetch_Site", "Range", "X_Forwarded_For"]
    ),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n\x00"), max_size=30),
    max_size=2,
)


@pytest.fixture(params=["pool", "masks"])
def served(request, pool, serve, tmp_path):
    if request.param == "pool":
        return Annotator(serve(pool)), {"task": "background", "labels": ["water"], "seconds": 1.0}, pool
    masks = save_masks(tmp_path)
    return Annotator(serve(masks.folder)), {"task": "masks", "verdict": "rejected", "mask": None}, None


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=METHODS, path=PATHS, body=st.none() | BODIES, odd=ODD)
def test_whatever_is_sent_the_server_answers_and_goes_on(served, method, path, body, odd):
    client, event, pool = served
    sent = {} if body is None else {"Content_Length": len(body)}
    raw = head(client, method, path, **(sent | odd))
    connection = connected(client, raw + (body or b""))
    status = answered(connection)
    connection.close()
    assert 200 <= status < 500, (method, path, odd)
    where = pool.photos()["path"][0] if pool else "ox/grass/a.png"
    client.works(where, **event)
    if pool:
        assert len(pool.decisions()) == client.acknowledged
    assert client.server.errors.read_text() == ""
