"""From a list of three animals to a benchmark and its scores, as the tutorial tells it, with real photos.

The commands are those of docs/build-a-benchmark.md. iNaturalist is a server on loopback that fails as the
real one does; the annotator sends decisions as the page does; processes are killed midway.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import forked
import polars as pl
import pytest
import requests
from inaturalist_server import INaturalistServer
from rcc import animal_photos

from counterground.benchmarks import composite, load_backgrounds, load_cutouts, open_benchmark
from counterground.construction.pool import open_pool

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PLACES = {"flamingo": ("water", "tree"), "ostrich": ("grass", "shrub"), "zebra": ("grass", "rock")}


@pytest.fixture(scope="module")
def photos(tmp_path_factory, shared_cache) -> Path:
    """Animals large on one background and small on another; among the zebras natural photos of others."""
    folder = tmp_path_factory.mktemp("photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
        cutouts = {cutout.class_name: cutout.image for cutout in load_cutouts()}
        grounds = load_backgrounds()
        aliens = [photo for name, photo in sorted(animal_photos(shared_cache).items()) if "world" in name]
    for animal, places in PLACES.items():
        for place, scale in zip(places, (0.8, 0.07), strict=True):
            shown = [ground.image for ground in grounds if ground.label == place]
            (folder / animal / place).mkdir(parents=True)
            for number in range(8):
                center = (0.3 + 0.04 * number, 0.5)
                ground = shown[number % len(shown)]
                photo, _ = composite(cutouts[animal], ground, size=256, scale=scale, center=center)
                photo.save(folder / animal / place / f"{number}.jpg", quality=95)
    (folder / "zebra" / "alien").mkdir()
    for number, data in enumerate(aliens):
        (folder / "zebra" / "alien" / f"{number}.webp").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def commands() -> list[list[str]]:
    page = (ROOT / "docs" / "build-a-benchmark.md").read_text()
    blocks = re.findall(r"<!-- run -->\n```console\n(.*?)```", page, flags=re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory, photos):
    """A folder to work in, an environment, and iNaturalist with its troubles."""
    folder = tmp_path_factory.mktemp("desk")
    with INaturalistServer.from_folder(photos) as server:
        server.delay = 0.02
        server.trouble("/v1/observations", status=429, retry_after="1")
        server.trouble("/v1/observations", status=503)
        server.trouble("/v1/taxa", status=500)
        ids = sorted(server.photos)
        server.trouble(f"/photos/{ids[3]}/", cut=500)
        server.trouble(f"/photos/{ids[5]}/", body=b"<html>sorry</html>", content_type="text/html")
        server.trouble(f"/photos/{ids[7]}/", status=502, times=2)
        server.trouble(f"/photos/{ids[11]}/", delay=1.0)
        server.trouble(f"/photos/{ids[13]}/", status=404, times=None)
        server.trouble(f"/photos/{ids[30]}/", body=b"\xff\xd8\xff broken", times=None)
        environment = {
            **os.environ,
            "COUNTERGROUND_API_URL": server.api_url,
            "COUNTERGROUND_CACHE": str(folder / "cache"),
            "COLUMNS": "200",
        }
        yield folder, environment, server


@pytest.fixture(scope="module")
def truth(desk, photos) -> dict[str, str]:
    """What each photo shows, by the name it has in the pool."""
    shown = {file.read_bytes(): file.parent.name for file in photos.rglob("*.*")}
    return {f"inaturalist-{number}": shown[photo.data] for number, photo in desk[2].photos.items()}


def words(*given: object) -> list[str]:
    return [sys.executable, "-m", "counterground", *map(str, given)]


def run(desk, command: list[str], status: int = 0) -> str:
    folder, environment, _ = desk
    ran = forked.command(*command, environment=environment, folder=folder)
    assert ran.returncode == status, ran.stderr[-2000:]
    return ran.stdout


def count_photos(folder: Path) -> int:
    try:
        with sqlite3.connect(f"file:{folder}/my-pool/decisions.sqlite?mode=ro", uri=True) as raw:
            return raw.execute("SELECT count(*) FROM photo").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


@pytest.fixture(scope="module")
def collected(desk, commands) -> str:
    """What the command said that at last collected the photos, after three that were killed."""
    folder, environment, _ = desk
    dry, real = (command for command in commands if "collect" in command)
    assert "Nothing was fetched" in run(desk, dry)
    assert not (folder / "my-pool").exists()
    dice = random.Random(0)
    for goal in (8, 25, 50):
        running = subprocess.Popen(
            words(*real), cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while count_photos(folder) < goal and running.poll() is None:
            time.sleep(0.01 + 0.02 * dice.random())
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    return run(desk, real)


@pytest.fixture(scope="module")
def curated(desk, collected, commands) -> str:
    """What the command said that curated the photos."""
    return run(desk, next(command for command in commands if "curate" in command))


def test_collecting_survives_kills_and_fetches_nothing_twice(desk, commands, collected):
    folder, _, server = desk
    pool = open_pool(folder / "my-pool")
    found = pool.photos()
    whole = {int(key.removeprefix("inaturalist:")) for key in found["key"]}
    gone = set(server.photos) - whole
    failed = pool.candidates().filter(status="failed")
    assert len(found) == 48 + 15 - 2
    assert len(gone) == 2
    assert {int(key.removeprefix("inaturalist:")) for key in failed["key"]} == gone
    # At most the four photos in flight at each of three kills were asked for again.
    assert sum(server.served[number] - 1 for number in whole) <= 12
    before = server.asked_below("/photos/")
    run(desk, [command for command in commands if "collect" in command][1])
    assert server.asked_below("/photos/") == before
    assert found["attribution"].null_count() == 0
    assert "failed" in collected


def test_curation_finds_the_animals_that_are_no_zebras(desk, curated, truth):
    assert "flagged for review" in curated
    pool = open_pool(desk[0] / "my-pool")
    flagged = pool.signals().filter("flagged", reason="label noise")["path"].unique()
    aliens = {path for path in pool.photos()["path"] if kind(truth, path) == "alien"}
    assert len(aliens & set(flagged)) >= 12
    assert pool.decisions().is_empty()


def kind(truth, path: str) -> str:
    return truth[Path(path).stem]


class Server:
    """``counterground data label`` as the tutorial starts it, but for opening a browser."""

    def __init__(self, desk, command: list[str]) -> None:
        folder, environment, _ = desk
        self.process = subprocess.Popen(
            words(*command, "--no-open"), cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
        )
        self.link = ""
        while not self.link:
            line = self.process.stdout.readline()
            assert line, "the server ended"
            if match := re.search(r"http://\S+", line):
                self.link = match[0]


def label_without_browser(desk, truth, command: list[str], task: str) -> None:
    """Decide on all that is left, with the requests that the page makes."""
    server = Server(desk, command)
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy
            session.get(server.link, timeout=30).raise_for_status()
            session.headers["Origin"] = server.link[: server.link.index("/enter")]

            def post(name: str, **body: object) -> dict:
                body["annotator"] = command[command.index("--annotator") + 1]
                answer = session.post(f"{session.headers['Origin']}/api/{name}", json=body, timeout=30)
                answer.raise_for_status()
                return answer.json()

            while photos := post("next", task=task, leased=[], count=20)["photos"]:
                events = [
                    {
                        "kind": "decide",
                        "token": str(uuid.uuid4()),
                        "task": task,
                        "path": photo["path"],
                        "labels": [right_label(kind(truth, photo["path"]), task)],
                        "seconds": 1.0,
                    }
                    for photo in photos
                ]
                results = post("events", events=events)["results"]
                assert all(result["ok"] for result in results), results
    finally:
        server.process.send_signal(signal.SIGINT)
        server.process.communicate()
    assert server.process.returncode == 0


def right_label(shown: str, task: str) -> str:
    if task == "background":
        return shown
    return "label noise" if shown == "alien" else "keep"


def check_decisions(desk, truth, task: str) -> None:
    """Each photo has one decision, the right one."""
    pool = open_pool(desk[0] / "my-pool")
    shown = {path: kind(truth, path) for path in pool.photos()["path"]}
    expected = {
        path: right_label(what, task)
        for path, what in shown.items()
        if task == "review" or what != "alien"  # what was discarded needs no background
    }
    decisions = pool.decisions().filter(task=task)
    assert dict(decisions.select("path", pl.col("labels").list.first()).iter_rows()) == expected
    assert len(decisions) == len(expected)


@pytest.fixture(scope="module")
def labelling(commands) -> dict[str, list[str]]:
    """The command that labels, for each task."""
    return {command[-1]: command for command in commands if "label" in command}


@pytest.fixture(scope="module")
def labelled(desk, curated, labelling, truth) -> Path:
    """The folder with a pool in which all is decided, whether or not a browser did it before."""
    for task in ("review", "background"):
        label_without_browser(desk, truth, labelling[task], task)
        check_decisions(desk, truth, task)
    return desk[0]


def test_the_rest_of_the_tutorial_ends_in_scores_and_exports(desk, commands, labelled):
    folder = labelled
    rest = commands[[command[:2] for command in commands].index(["data", "pool"]) :]
    for command in rest:
        # The few photos here need not show an effect; the page says how to go on all the same.
        run(desk, [*command, *(["--write-anyway"] if command[0] == "discover" else [])])
    pairs = open_benchmark(folder / "pairs")
    assert set(pairs.photos["group"]) == {"common", "counter"}
    assert set(pairs.photos["class_name"]) <= set(PLACES)
    assert any("were discarded (label noise" in note for note in pairs.notes)
    predictions = pl.read_parquet(folder / "runs" / "first" / "predictions.parquet")
    assert len(predictions) == len(pairs)
    for form in ("counteranimal", "huggingface"):
        shared = open_benchmark(folder / "shared" / form)
        licensed = pairs.photos.filter(pl.col("licence") != "all-rights-reserved")
        assert set(shared.photos["photo_id"]) == set(licensed["photo_id"])
        assert set(shared.photos.select("photo_id", "group", "background").rows()) == set(
            licensed.select("photo_id", "group", "background").rows()
        )
    for page in ("pool.html", "report.html"):
        assert (folder / page).stat().st_size > 10_000
    counts = {
        "collected": len(open_pool(folder / "my-pool").photos()),
        "benchmark": len(pairs),
        "shared": len(shared),
    }
    print(json.dumps(counts))


def test_the_tutorials_python_runs_as_it_stands(desk, labelled):
    folder, environment = labelled, desk[1]
    page = (ROOT / "docs" / "build-a-benchmark.md").read_text()
    (code,) = re.findall(r"<!-- run apart -->\n```python\n(.*?)```", page, flags=re.DOTALL)
    ran = forked.run(code, environment=environment, folder=folder)
    assert ran.returncode == 0, ran.stderr
    mine = open_benchmark(folder / "mine")
    assert mine.version == open_pool(folder / "my-pool").freeze().version
