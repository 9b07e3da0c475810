"""A pool from first to second curating: what is written, what is not done again, and what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from PIL import Image

from counterground.construction.curation import (
    _curate,  # to count the photos that are decoded
    curate,
)
from counterground.construction.pool import open_pool
from counterground.construction.settings import CurateSettings
from counterground.errors import CounterGroundError, UsageError
from counterground.files import DamagedCacheWarning


@pytest.fixture
def spoilt(make_pool, animals, spoil):
    """A pool with one photo for each way to be noise, and good ones."""
    good = list(animals.values())
    return make_pool(
        {
            "zebra/good.jpg": good[0],
            "zebra/blurred.jpg": spoil.blurred(good[1], 4),
            "zebra/dark.png": spoil.scaled_light(good[2], 0.05),
            "zebra/bright.jpg": spoil.scaled_light(good[3], 20),
            "zebra/tiny.jpg": spoil.encoded(good[4], 90, longest=90),
            "zebra/blank.png": Image.new("RGB", (300, 200), (90, 120, 90)),
            "lion/broken.jpg": b"\xff\xd8\xff" + b"not a photo",
            "lion/text.jpg": b"<html>404</html>",
            "lion/fine.jpg": good[5],
            "lion/night.jpg": animals["swans"],
        }
    )


def test_each_kind_of_noise_is_flagged_and_explained(spoilt, flagged_of, rows_of):
    report = curate(spoilt.root)
    assert flagged_of(spoilt, "unreadable") == ["broken.jpg", "text.jpg"]
    assert "blurred.jpg" in flagged_of(spoilt, "sharpness")
    assert flagged_of(spoilt, "shadows") == ["dark.png"]
    assert flagged_of(spoilt, "highlights") == ["bright.jpg"]
    assert flagged_of(spoilt, "size") == ["tiny.jpg"]
    assert "blank.png" in flagged_of(spoilt, "contrast")
    assert "blank.png" in flagged_of(spoilt, "entropy")
    signals = spoilt.signals()
    good = signals.filter(pl.col("path").str.contains("good|fine|night") & pl.col("flagged"))
    assert good.is_empty()
    assert rows_of(spoilt, "unreadable")["text.jpg"]["explanation"] == "It cannot be read: not an image."
    size = rows_of(spoilt, "size")["tiny.jpg"]["explanation"]
    assert size.startswith("Its shorter side has ")
    assert size.endswith(" pixels (limit 128).")
    assert report.flagged == 7
    assert report.queue["score"].to_list()[7:] == [0.0] * 3


def test_only_new_photos_are_decoded(spoilt, make_pool, animals, monkeypatch):
    assert curate(spoilt.root).measured == 10
    signals = spoilt.signals()
    again = curate(spoilt.root)
    assert again.measured == 2  # those that cannot be read are tried again
    assert spoilt.signals().equals(signals)
    make_pool({"lion/new.jpg": animals["jaguar"], "lion/twin.jpg": animals["swans"]})
    decoded = []
    plain = _curate.measure
    monkeypatch.setattr(_curate, "measure", lambda image: decoded.append(image) or plain(image))
    curate(spoilt.root)
    assert len(decoded) == 1  # the twin's content is known
    decoded.clear()
    curate(spoilt.root, CurateSettings(min_sharpness=2))
    assert decoded == []


def test_a_damaged_file_of_the_store_is_measured_again(spoilt, cache):
    curate(spoilt.root)
    (shard,) = (cache / "measures").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.warns(DamagedCacheWarning):
        assert curate(spoilt.root).measured == 10


def test_missing_changed_and_linked_files_are_named(spoilt, rows_of, tmp_path):
    curate(spoilt.root)
    files = spoilt.files
    (files / "zebra/good.jpg").unlink()
    (files / "zebra/tiny.jpg").write_bytes((files / "lion/fine.jpg").read_bytes())
    (files / "zebra/blank.png").rename(tmp_path / "blank.png")
    (files / "zebra/blank.png").symlink_to(tmp_path / "blank.png")
    (files / "lion/fine.jpg").write_bytes((files / "zebra/dark.png").read_bytes())
    curate(spoilt.root)
    rows = rows_of(spoilt, "unreadable")
    reasons = {path: row["explanation"] for path, row in rows.items() if row["flagged"]}
    assert "has no file 'files/zebra/good.jpg'" in reasons["good.jpg"]
    assert "content changed" in reasons["tiny.jpg"]
    assert "content changed" in reasons["fine.jpg"]
    assert "or is a link" in reasons["blank.png"]
    kept = spoilt.signals().filter(pl.col("path") == "files/zebra/tiny.jpg")
    assert kept["signal"].to_list() == ["unreadable"]


# Slowed down from within, so that it can be killed between two photos.
SCRIPT = """
import sys, time
from counterground.construction.curation import curate
from counterground.construction.curation import _curate
plain = _curate.measure
def slow(image):
    time.sleep(0.02)
    return plain(image)
_curate.measure = slow
curate(sys.argv[1])
"""


def test_a_killed_run_goes_on(make_pool, cache):
    noise = Image.effect_noise((60, 50), 80)
    pool = make_pool(
        {f"a/{number}.png": noise.point(lambda v, n=number: (v + n) % 256) for number in range(140)}
    )
    running = subprocess.Popen([sys.executable, "-c", SCRIPT, str(pool.root)])
    store = cache / "measures"
    while not list(store.glob("[!.]*.parquet")) and running.poll() is None:
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    kept = sum(len(pl.read_parquet(file)) for file in store.glob("[!.]*.parquet"))
    assert 0 < kept < 140
    assert pool.signals().is_empty()
    assert curate(pool.root).measured == 140 - kept
    assert pool.signals()["path"].n_unique() == 140


def test_no_pool_and_no_photos(tmp_path):
    with pytest.raises(UsageError, match="no pool"):
        curate(tmp_path / "nowhere")
    open_pool(tmp_path / "empty", create=True)
    with pytest.raises(CounterGroundError, match="no photos yet"):
        curate(tmp_path / "empty")
