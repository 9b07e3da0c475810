"""Real processes: killed at any moment, two at once, interrupted, on a full disk; nothing is lost."""

import random
import signal
import subprocess
import sys
import time

import pytest

from counterground.construction.pool import open_pool
from counterground.photos import load_photo, photo_id

JOBS = 4


def start(server, pool, per_class, *more):
    given = [
        "data",
        "collect",
        pool,
        "-c",
        "zebra",
        "--per-class",
        per_class,
        "-X",
        f"jobs={JOBS}",
        "-X",
        f"api-url={server.api_url}",
    ]
    given += more
    command = [sys.executable, "-m", "counterground", *map(str, given)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files(pool):
    return {int(file.stem.rpartition("-")[2]) for file in pool.glob("files/zebra/inaturalist-*.jpg")}


def check(pool, wanted):
    opened = open_pool(pool)
    photos, candidates = opened.photos(), opened.candidates("zebra")
    assert len(photos) == wanted
    assert photos["key"].n_unique() == wanted
    assert files(pool) == {int(key.rpartition(":")[2]) for key in photos["key"]}
    for row in photos.iter_rows(named=True):
        file = opened.root / row["path"]
        assert photo_id(file) == row["photo_id"]
        load_photo(file)
    assert candidates["key"].n_unique() == len(candidates)
    assert set(candidates["position"]) == set(range(len(candidates)))
    assert sorted(candidates.head(wanted)["key"]) == sorted(photos["key"])
    opened.close()


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_where_it_stopped(server, zebras, tmp_path):
    """What was on its way when the process dies is asked for again: at most a photo for each job."""
    zebras(220)
    server.delay = 0.01
    pool, chance, kills = tmp_path / "pool", random.Random(5), 0
    while True:
        process = start(server, pool, 210)
        further = chance.choice([0, 1, chance.randint(2, 70)])
        aim = sum(server.asked.values()) + (1 if kills == 0 else further)
        while process.poll() is None and sum(server.asked.values()) < aim:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        if kills < 6 and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        out, err = process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, out + err
            break
    check(pool, 210)
    gets = server.gets_by_photo()
    assert kills >= 4
    assert gets.total() <= 210 + kills * JOBS
    assert server.asked_below("/v1/observations") <= 2 + kills
    assert not files(pool) - set(server.served)


def test_two_at_once_share_the_work(server, zebras, tmp_path):
    zebras(40)
    server.delay = 0.01
    both = [start(server, tmp_path / "pool", 30) for _ in range(2)]
    outcomes = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outcomes
    check(tmp_path / "pool", 30)
    assert set(server.gets_by_photo().values()) == {1}
    assert server.gets_by_photo().total() == 30
    assert sum("30 photos added, " in out for out, _ in outcomes) == 1
    assert sum("\n0 photos added, 0.0 MB" in out for out, _ in outcomes) == 1
