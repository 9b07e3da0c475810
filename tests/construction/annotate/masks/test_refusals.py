"""Strangers' folders, requests that no page sends, and folders that are damaged."""

import base64
import json
import uuid
from io import BytesIO

import numpy as np
import pytest
from drawn_masks import SIZE, disc, png, save_masks
from PIL import Image
from raw_client import RawClient

from counterground.masks import make_masks, standing
from counterground.photos import read_benchmark

A, B, C, D, E = (f"ox/grass/{name}.png" for name in "abcde")


@pytest.fixture
def folder(tmp_path):
    return save_masks(tmp_path).folder


@pytest.fixture
def enter(serve):
    """Function: folder -> a client that has signed in."""

    def start(folder):
        client = RawClient(serve(folder))
        client.enter(client.server.links["ann"])
        return client

    return start


def decide(client, path=A, verdict="redrawn", mask=None, **more):
    sent = None if mask is None else base64.b64encode(mask).decode()
    wanted = {"task": "masks", "leased": [], "skipped": [], "count": 20}
    photos = json.loads(client.post("/api/next", wanted).text)["photos"]
    judged = next((photo["judged"] for photo in photos if photo["path"] == path), None)
    event = {"kind": "decide", "token": str(uuid.uuid4()), "task": "masks", "path": path, "verdict": verdict}
    answer = client.post("/api/events", {"events": [event | {"mask": sent, "judged": judged} | more]})
    return answer.status if answer.status != 200 else json.loads(answer.text)["results"][0]


def test_only_masks_of_the_photo_are_taken(folder, enter):
    client = enter(folder)
    assert decide(client, mask=png(disc()))["ok"]
    for refused in (
        {"mask": png(disc(size=(90, 120)))},
        {"mask": png(Image.new("L", SIZE))},
        {"mask": b"<svg/>"},
        {"mask": None},
        {"verdict": "accepted", "mask": png(disc())},
        {"verdict": "accepted", "path": E},  # there is no mask
        {"verdict": "kept"},
        {"path": "ox/grass/none.png", "verdict": "rejected"},
        {"path": "../../etc/passwd", "mask": png(disc())},
        {"mask": png(disc()), "token": "../../../outside"},
        {"verdict": "rejected", "more": 1},
    ):
        found = decide(client, **refused)
        assert found["ok"] is False, refused
        assert "\n" not in found["error"]
    raw = {"kind": "decide", "token": str(uuid.uuid4()), "task": "masks", "path": A, "verdict": "redrawn"}
    for sent in ("no base64 !", "Zürich"):
        answer = client.post("/api/events", {"events": [raw | {"mask": sent, "judged": None}]})
        assert "No mask can be read" in json.loads(answer.text)["results"][0]["error"]
    assert len(list((folder / "redrawn").iterdir())) == 1
    assert list(standing(folder)) == [A]


def test_who_judged_another_mask_is_asked_again(folder, enter, tmp_path):
    client = enter(folder)
    wanted = {"task": "masks", "leased": [], "skipped": [], "count": 9}
    for path in (A, B):
        assert decide(client, path, "accepted")["ok"]
    assert json.loads(client.post("/api/next", wanted).text)["left"] == 3
    client.server.stop()
    disc((5, 5, 60, 60)).save(tmp_path / "drawn" / A)
    make_masks(read_benchmark(tmp_path / "photos"), str(tmp_path / "drawn"), folder)
    found = json.loads(enter(folder).post("/api/next", wanted).text)
    assert (found["left"], found["done"]) == (4, 1)
    assert A in {photo["path"] for photo in found["photos"]}


def test_a_mask_without_object_cannot_be_accepted(tmp_path, enter):
    save_masks(tmp_path)
    Image.new("L", SIZE).save(tmp_path / "drawn" / A)
    masks = make_masks(read_benchmark(tmp_path / "photos"), str(tmp_path / "drawn"), tmp_path / "odd")
    client = enter(masks.folder)
    wanted = {"task": "masks", "leased": [], "skipped": [], "count": 1}
    (photo,) = json.loads(client.post("/api/next", wanted).text)["photos"]
    assert (photo["path"], photo["acceptable"]) == (A, False)
    assert "marks no object" in decide(client, A, "accepted")["error"]
    assert decide(client, A, "rejected")["ok"]


def test_only_photos_and_masks_of_rows_are_served(folder, enter):
    client = enter(folder)
    for path in ("/photo/1", "/mask/1", "/photo/5"):
        answer = client.ask("GET", path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "image/png")
    rows = ("/photo/0", "/photo/6", "/mask/-1", "/mask/2")
    names = ("/mask/..%2f..%2fmasks.csv", "/masks.csv", "/files/ox/grass/a.png.png")
    for path in (*rows, *names):
        assert client.ask("GET", path).status in {404, 415, 422}, path


def test_a_photo_with_an_orientation_lies_as_its_mask_does(tmp_path, enter):
    file = tmp_path / "photos" / "ox" / "grass" / "a.jpg"
    file.parent.mkdir(parents=True)
    photo = Image.new("RGB", SIZE, "white")
    photo.paste("black", (0, 0, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(file, exif=exif, quality=95)
    (tmp_path / "drawn").mkdir()
    disc().save(tmp_path / "drawn" / "a.png")
    masks = make_masks(read_benchmark(tmp_path / "photos"), str(tmp_path / "drawn"), tmp_path / "masks")
    client = enter(masks.folder)
    shown = Image.open(BytesIO(client.ask("GET", "/photo/1").text))
    assert shown.size == SIZE
    assert not shown.getexif()
    assert np.asarray(shown.convert("L"))[:28, :28].max() < 60
    mask = Image.open(BytesIO(client.ask("GET", "/mask/1").text))
    assert (np.asarray(mask.getchannel("A")) == np.asarray(disc())).all()


def test_a_redrawn_mask_stays_in_the_folder(folder, enter, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "redrawn").symlink_to(tmp_path / "elsewhere")
    assert decide(enter(folder), mask=png(disc())) == 503
    assert not list((tmp_path / "elsewhere").iterdir())
