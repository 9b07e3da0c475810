"""Candidates become photos whatever hosts do: each once, decoded, and the reason kept where they do not."""

from __future__ import annotations

import hashlib
import re

import pytest
from photo_server import photo_bytes

from counterground.construction.collection._collect import Download
from counterground.construction.pool import file_stem
from counterground.http import DownloadSettings


def download_photos(pool, candidates, settings):
    """Fetch candidates; what became of them."""
    run = Download(pool, candidates, settings)
    run.run()
    return run


QUICK = DownloadSettings(first_pause=0.01, longest_pause=2.0, timeout=2.0, longest=5.0)


def want(pool, server, numbers, class_name="zebra", **more):
    rows = [
        {
            "key": f"test:{number}",
            "class_name": class_name,
            "position": i,
            "url": server.address(number),
            **more,
        }
        for i, number in enumerate(numbers)
    ]
    pool.add_candidates(rows)
    return pool.candidates()


def test_photos_come_whole_with_what_is_known_of_them(pool, photo_server):
    want(pool, photo_server, range(5), licence="cc-by", observer="ann", taxon_id=7)
    report = download_photos(pool, pool.candidates(), QUICK)
    assert (report.fetched, photo_server.asked.total()) == (5, 5)
    assert report.received == sum(len(photo_bytes(n)) for n in range(5))
    photos = pool.photos()
    assert photos["path"].to_list() == [f"files/zebra/test-{n}.jpg" for n in range(5)]
    assert photos["photo_id"].to_list() == [hashlib.sha256(photo_bytes(n)).hexdigest() for n in range(5)]
    assert (pool.root / photos["path"][3]).read_bytes() == photo_bytes(3)
    row = photos.row(0, named=True)
    assert (row["width"], row["height"], row["licence"], row["cluster"]) == (48, 40, "cc-by", "observer:ann")
    assert row["url"] == photo_server.address(0)
    assert set(pool.candidates()["status"]) == {"got"}
    assert photo_server.agents == {QUICK.user_agent}


@pytest.mark.parametrize(
    ("turns", "reason", "status", "asked"),
    [
        ([404], "the server answered 404", "failed", 1),
        ([b"<html>log in</html>"] * 9, "not an image", "failed", 2),
        ([b""] * 9, "empty file", "failed", 2),
        ([photo_bytes(0)[:300]] * 9, "truncated", "failed", 2),
        ([500] * 9, "the server answered 500 (4 tries)", "wanted", 4),
        ([{"cut": 200}] * 9, "the connection broke off (4 tries)", "wanted", 4),
        ([429] * 9, "the server answered 429 (4 tries)", "wanted", 4),
        (
            [{"status": 429, "headers": {"Retry-After": "3600"}}],
            "HOST is skipped: the server asks for a pause of 3,600 s",
            "wanted",
            1,
        ),
        (["drip"] * 4, "it took more than 0.2 s (4 tries)", "wanted", 4),
    ],
)
def test_what_cannot_be_fetched_keeps_its_reason(pool, photo_server, turns, reason, status, asked):
    settings = DownloadSettings(first_pause=0.001, longest_pause=2.0, timeout=2.0, longest=0.2)
    photo_server.script = {"/0.jpg": turns}
    report = download_photos(pool, want(pool, photo_server, [0]), settings)
    given_up = report.failed if status == "failed" else report.postponed
    reason = reason.replace("HOST", photo_server.url.removeprefix("http://"))
    assert given_up == {"test:0": reason}
    candidate = pool.candidates().row(0, named=True)
    assert (candidate["status"], candidate["reason"]) == (status, reason)
    assert photo_server.asked.total() == asked
    assert pool.photos().is_empty()
    assert not [path for path in pool.files.rglob("*") if path.is_file()]


def test_a_postponed_photo_comes_with_the_next_call(pool, photo_server):
    photo_server.script = {"/0.jpg": [{"status": 429, "headers": {"Retry-After": "3600"}}]}
    want(pool, photo_server, range(3))
    settings = DownloadSettings(jobs=1, first_pause=0.01, longest_pause=2.0)
    first = download_photos(pool, pool.candidates(), settings)
    said = f"{photo_server.url[7:]} is skipped: the server asks for a pause of 3,600 s"
    assert first.postponed == {f"test:{number}": said for number in range(3)}
    second = download_photos(pool, pool.candidates(), settings)
    assert (second.fetched, photo_server.asked["/0.jpg"], photo_server.asked["/1.jpg"]) == (3, 2, 1)


def test_a_host_that_is_down_is_skipped(pool):
    rows = [
        {"key": f"test:{n}", "class_name": "zebra", "position": n, "url": f"http://127.0.0.1:9/{n}.jpg"}
        for n in range(200)
    ]
    pool.add_candidates(rows)
    report = download_photos(pool, pool.candidates(), QUICK)
    assert len(report.postponed) == 200
    reason = "127.0.0.1:9 is skipped: 16 consecutive failures (no connection (ConnectionRefusedError))"
    assert list(report.postponed.values()).count(reason) >= 180
    assert set(pool.candidates()["status"]) == {"wanted"}


def test_suffixes_say_what_the_content_is(pool, photo_server):
    kinds = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}
    kinds |= {"PPM": ".ppm", "AVIF": ".avif"}
    photo_server.script = {f"/{n}.jpg": [photo_bytes(n, kind=kind)] for n, kind in enumerate(kinds)}
    report = download_photos(pool, want(pool, photo_server, range(len(kinds))), QUICK)
    assert report.failed == {}
    found = {path.stem: path.suffix for path in pool.files.rglob("test-*")}
    assert found == {f"test-{n}": suffix for n, suffix in enumerate(kinds.values())}


@pytest.mark.parametrize(
    ("key", "name", "stem"),
    [
        ("inaturalist:123", "", "inaturalist-123"),
        ("url:http://a/b.jpg", "b", "b-[0-9a-f]{16}"),
        ("file:../../x", "../../x", "x-[0-9a-f]{16}"),
        ("file:A", "", "photo-[0-9a-f]{16}"),
    ],
)
def test_stems_are_plain_and_tell_keys_apart(key, name, stem):
    assert re.fullmatch(stem, file_stem(key, name))
    assert file_stem(key, name) != file_stem(f"{key}4", name)
