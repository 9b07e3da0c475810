"""Other sites and programs at the door."""

import json
import re
import uuid
from pathlib import Path

import pytest
from PIL import Image
from raw_client import RawClient

from counterground.construction.annotate._server import picture  # no pool takes in what it is given here
from counterground.photos import UnreadablePhoto, photo_id

NASTY = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"


class Client(RawClient):
    def decide(self, photo, **more):
        event = {"kind": "decide", "token": str(uuid.uuid4()), "task": "background", "path": photo}
        event |= {"labels": ["water"], "seconds": 1.0} | more
        return self.post("/api/events", {"events": [event]})


@pytest.fixture
def client(pool, serve):
    return Client(serve(pool))


@pytest.fixture
def inside(client):
    client.enter(client.server.links["ann"])
    return client


NEXT = {"task": "background", "leased": [], "count": 3}


def test_a_link_becomes_a_cookie(client):
    cookie = client.enter(client.server.links["ann"]).getheader("Set-Cookie").lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert cookie.startswith(f"counterground_{client.server.port}=")  # browsers share cookies between ports
    assert client.post("/api/next", NEXT).status == 200
    assert client.ask("GET", "/enter?token=guess").status == 403
    assert client.ask("GET", "/enter").status == 403


def test_nothing_without_a_session(pool, client):
    for path in (
        "/",
        "/label/review",
        "/disagreements/review",
        "/photo/1",
    ):
        assert client.ask("GET", path).status == 401, path
        assert client.ask("GET", path, Cookie=f"counterground_{client.server.port}=guess").status == 401, path
    for path in ("next", "events", "disagreements"):
        assert client.post(f"/api/{path}", {}).status == 401
    assert len(pool.decisions()) == 0


def test_hosts_of_others_are_refused(inside):
    port = inside.server.port
    for host in (
        "evil.example",
        f"evil.example:{port}",
        f"[::1]:{port}",
        "",
    ):
        assert inside.ask("GET", "/label/review", Host=host).status == 400, host
        assert inside.post("/api/next", NEXT, Host=host, Origin=f"http://{host}").status == 400, host
    assert inside.ask("GET", "/label/review", Host=f"localhost:{port}").status == 200


def test_origins_of_others_are_refused(inside, pool):
    port = inside.server.port
    wrong = (
        None, "null", "", "http://evil.example", f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}",
        f"http://localhost:{port}", f"http://127.0.0.1:{port}@evil.example", f"http://127.0.0.1:{port}/",
        "http://[", "http://[::1",
    )  # fmt: skip
    for origin in wrong:
        assert inside.post("/api/next", NEXT, Origin=origin).status == 401, origin
    assert len(pool.decisions()) == 0


def test_bodies_are_what_pages_send(inside, pool):
    path = pool.photos()["path"][0]
    for body in (
        {},
        NEXT | {"more": 1},
        NEXT | {"task": "other"},
        NEXT | {"leased": [1]},
    ):
        assert inside.post("/api/next", body).status == 422, body
    assert inside.post("/api/next", NEXT | {"annotator": "ben"}).status == 409
    wrong = (
        {"labels": []},
        {"labels": ["none such"]},
        {"token": "short"},
        {"seconds": -1.0},
        {"path": "files/none.png"},
        {"kind": "delete"},
        {"more": "snow"},
    )
    for event in wrong:
        answer = inside.decide(path, **event)
        assert answer.status == 200
        assert json.loads(answer.text)["results"][0]["ok"] is False, event
    assert len(pool.decisions()) == 0
    undo = {"kind": "undo", "token": str(uuid.uuid4()), "task": "background"}
    for of in (2**63, -1, True, {}):  # one that is refused holds up no other
        answer = inside.post("/api/events", {"events": [undo | {"of": of}, {"kind": "undo"}]})
        assert answer.status == 200, of
        assert [result["ok"] for result in json.loads(answer.text)["results"]] == [False, False]
    assert json.loads(inside.decide(path).text)["results"][0]["ok"] is True


def test_every_answer_carries_the_policy(inside):
    for path in ("/label/review", "/photo/1", "/static/label.js", "/none", "/enter?token=x"):
        headers = inside.ask("GET", path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
    page = inside.ask("GET", "/label/review").text.decode()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=|https?://", page)


def test_it_listens_on_loopback_only(client):
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [
        line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]
    ]
    listening = [line[1] for line in lines if line[3] == "0A"]
    mine = [address for address in listening if address.endswith(f":{client.server.port:04X}")]
    assert mine == [f"0100007F:{client.server.port:04X}"]


def test_only_photos_of_rows_are_served(inside, pool):
    (pool.files / "unlisted.png").write_bytes(pool.photo_file(pool.photos()["path"][0]).read_bytes())
    (pool.root / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n secret")
    assert inside.ask("GET", "/photo/1").status == 200
    rows = ("0", "9999", "-1", "1.5", "unlisted.png", "../secret.png")
    names = ("/photo/%2e%2e%2fsecret.png", "/photo/files/unlisted.png", "/files/unlisted.png", "/secret.png")
    static = ("../_pool.py", "%2e%2e/_pool.py", "..%2f_pool.py", "/etc/passwd", "")
    for path in (*(f"/photo/{row}" for row in rows), *names, *(f"/static/{name}" for name in static)):
        answer = inside.ask("GET", path)
        assert answer.status in {400, 404, 415}, path
        assert b"secret" not in answer.text
        assert b"import" not in answer.text


def test_bytes_decide_what_a_photo_is(pool, serve):
    image = Image.linear_gradient("L").convert("RGB")
    shown = {"webp": "webp", "bmp": "bmp", "jpg": "jpeg", "png": "png", "avif": "avif"}
    anew = ("tif", "ppm", "gif")  # browsers do not show the first two; of an animation models see one frame
    good = {f"a.{kind}": f"image/{shown.get(kind, 'png')}" for kind in (*shown, *anew)}
    bad = {
        "i.png": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "j.jpg": b"<!DOCTYPE html><script>alert(1)</script>",
        "k.png": b"",
        "l.pdf": b"%PDF-1.4",
    }
    for name in good:
        image.save(pool.files / name)
    image.resize((66_000, 400)).save(pool.files / "wide.tif")  # wider than JPEG can be
    good["wide.tif"] = "image/png"
    (pool.files / "m.html").write_bytes((pool.files / "a.png").read_bytes())  # a photo, whatever it is called
    for name, content in bad.items():
        (pool.files / name).write_bytes(content)
    names = [*good, "m.html", *bad]
    pool.add_photos(
        [
            {"path": f"files/{name}", "photo_id": photo_id(pool.files / name), "class_name": "x"}
            for name in names
        ]
    )
    client = Client(serve(pool))
    client.enter(client.server.links["ann"])
    for row, name in enumerate(names, 9):
        answer = client.ask("GET", f"/photo/{row}")
        if name in bad:
            assert (answer.status, answer.headers["Content-Type"]) == (415, "application/json"), name
        else:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == good.get(name, "image/png")
    for name in bad:
        with pytest.raises(UnreadablePhoto):
            picture(pool.files / name, None)


def test_names_are_text_wherever_they_are_shown(tmp_path, make_pool, serve, visit):
    pool = make_pool(tmp_path / "a <b>pool</b>", {NASTY: 2, "flamingo": 1})
    pool.set_setting("background_labels", ["water", NASTY])
    paths = pool.photos().sort("class_name")["path"].to_list()
    for name, label in ((NASTY, NASTY), ("ben", "water")):
        pool.decide(paths[0], annotator=name, task="background", labels=[label])
    pool.decide(paths[0], annotator="cyd", task="review", labels=["keep"])
    ann = visit(serve(pool, "--second", "1", annotators=["<u>\"ann'"]).links["<u>\"ann'"])
    ann.page.on("dialog", lambda dialog: ann.note(f"a script ran: {dialog.message}"))
    ann.see()
    assert ann.page.inner_text("h1") == NASTY
    base = ann.page.url.split("/label")[0]
    for path in ("label/background", "disagreements/background"):
        ann.page.goto(f"{base}/{path}")
        ann.page.wait_for_timeout(100)
        found = ann.page.evaluate(
            "document.querySelectorAll('script:not([src]), img[src=x], u, b > b, main script').length"
        )
        assert found == 0, path
        ann.see()
        assert NASTY in ann.page.evaluate("document.body.textContent"), path
