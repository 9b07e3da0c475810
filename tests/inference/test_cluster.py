"""A real Ray cluster of two nodes here: whatever is lost, results are those of the local engine."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import forked
import polars as pl
import pytest
import torch
from colour_model import NAMES, brightness
from disc_photos import background_only, disc_photos
from noise_photos import save_animals, save_noise

from counterground.composites import plan_swap
from counterground.errors import CounterGroundError, UsageError
from counterground.inference import evaluate_models
from counterground.inference._ray import _LIBRARIES, room  # GPUs, which no test has
from counterground.models import Classifier, library_versions
from counterground.photos import read_benchmark
from counterground.settings import Settings, SwapSettings

SETTINGS = {"label_space": "benchmark", "batch_size": 4, "device": "cpu"}
LOCAL = Settings(**SETTINGS)
RAY = Settings(**SETTINGS, engine="ray")
ONE = Settings(**SETTINGS, engine="ray", workers=1)  # each worker takes seconds to start

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def pids(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pids") / "pids"


@pytest.fixture(scope="module")
def cluster(pids):
    """Two nodes with one processor each; workers have their environment."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PIDS", str(pids))
        patch.setenv("HOLD", f"{pids}.hold")
        node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        # A node that does not answer is given up after three seconds, a slow one after a minute.
        waiting = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
        waiting |= {"health_check_initial_delay_ms": 1000, "health_check_timeout_ms": 60_000}
        waiting |= {"worker_niceness": 0}  # else other tests starve the workers
        nodes = Cluster(
            initialize_head=True,
            head_node_args={**node, "include_dashboard": False, "_system_config": waiting},
        )
        nodes.add_node(**node)
        patch.delenv("HOLD")  # it is for workers
        patch.setenv("RAY_ADDRESS", nodes.address)
        yield nodes
        nodes.shutdown()


def wait_for(condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def shards(cache: Path) -> list[Path]:
    return sorted(cache.glob("features/*/[!.]*.safetensors"))


def in_new_cache(monkeypatch, folder: Path) -> Path:
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(folder))
    return folder


def workers(pids: Path) -> list[int]:
    """The processes that have prepared photos, besides this one."""
    listed = dict.fromkeys(map(int, pids.read_text().split())) if pids.exists() else {}
    return [pid for pid in listed if pid != os.getpid()]


SCRIPT = """
import sys
from pathlib import Path
from counterground.inference import evaluate_models
from counterground.settings import Settings
from counterground.photos import read_benchmark
photos, model, out = sys.argv[1:]
settings = Settings(label_space="benchmark", batch_size=4, device="cpu", engine="ray", workers=1)
evaluate_models(read_benchmark(photos), [model], settings, Path(out))
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_with_other_workers_in_silence(
    cluster, pids, photos, tmp_path, monkeypatch, capfd
):
    spec = "colour_model:slowly"
    in_new_cache(monkeypatch, tmp_path / "local")
    evaluate_models(read_benchmark(photos), spec, LOCAL, tmp_path / "here")
    cache = in_new_cache(monkeypatch, tmp_path / "ray")
    killed = forked.start(SCRIPT, photos, spec, tmp_path / "there")
    wait_for(lambda: len(shards(cache)) >= 3)
    killed.kill()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in shards(cache)}
    assert 3 <= len(kept) < 12
    capfd.readouterr()
    shown = replace(RAY, workers=2, show_progress=True)
    evaluate_models(read_benchmark(photos), spec, shown, tmp_path / "there")
    said, bar = capfd.readouterr()
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    expected = (tmp_path / "here" / "predictions.parquet").read_bytes()
    assert (tmp_path / "there" / "predictions.parquet").read_bytes() == expected
    assert said == ""
    assert re.fullmatch(rf"{spec} \S+ (\d+)/\1 .*\n", bar)


@pytest.mark.slow
def test_workers_make_composites_for_a_network_in_memory(cluster, tmp_path, monkeypatch):
    benchmark = plan_swap(disc_photos(tmp_path / "photos", 2), SwapSettings(backgrounds_per_label=1))
    in_new_cache(monkeypatch, tmp_path / "local")
    evaluate_models(benchmark, {"mine": background_only()}, LOCAL, tmp_path / "here")
    in_new_cache(monkeypatch, tmp_path / "ray")
    evaluate_models(benchmark, {"mine": background_only()}, ONE, tmp_path / "there")
    expected = (tmp_path / "here" / "predictions.parquet").read_bytes()
    assert (tmp_path / "there" / "predictions.parquet").read_bytes() == expected
    # Both engines are one request: what one wrote the other may write again.
    evaluate_models(benchmark, {"mine": background_only()}, LOCAL, tmp_path / "there")


@pytest.mark.slow
def test_a_head_is_fitted_here_on_what_workers_encode(cluster, photos, tmp_path, monkeypatch):
    model = {"fitted": "colour_model:brightness?head=knn&k=1"}
    train = save_animals(tmp_path / "train", per_group=2)
    for number, path in enumerate(sorted(train.rglob("*.jpg"))):
        save_noise(path, 1000 + number)  # other photos than those that are evaluated
    for engine, settings in (("here", LOCAL), ("there", ONE)):
        in_new_cache(monkeypatch, tmp_path / f"{engine}-cache")
        run = evaluate_models(
            read_benchmark(photos), model, settings, tmp_path / engine, train=read_benchmark(train)
        )
    assert run.info.models[0].description["head"]["photos"] == 12
    expected = (tmp_path / "here" / "predictions.parquet").read_bytes()
    assert (tmp_path / "there" / "predictions.parquet").read_bytes() == expected


@pytest.mark.slow
def test_a_model_with_a_runtime_of_its_own_answers_as_without_a_cluster(
    cluster, photos, tmp_path, monkeypatch
):
    (tmp_path / "own.py").write_text(
        "import colour_model\n"
        "from counterground.models import Classifier\n"
        "class Own(Classifier):\n"
        "    runtime, fingerprint, device, dtype, dim = 'onnx', 'own', 'cpu', 'fp32', 3\n"
        "    class_names, imagenet_columns = colour_model.NAMES, (100, 130, 296)\n"
        "    def preprocess(self, image): return colour_model.brightness()[1](image)\n"
        "    def encode(self, batch): return batch.mean((2, 3))\n"
    )
    model = {"own": f"{tmp_path}/own.py:Own"}
    in_new_cache(monkeypatch, tmp_path / "local")
    here = evaluate_models(read_benchmark(photos), model, LOCAL, tmp_path / "here")
    in_new_cache(monkeypatch, tmp_path / "ray")
    there = evaluate_models(read_benchmark(photos), model, ONE, tmp_path / "there")
    assert there.predictions.equals(here.predictions)


@pytest.mark.slow
def test_workers_get_a_gpu_even_if_the_first_model_runs_on_the_processor(cluster, photos, tmp_path):
    class OnGpu(Classifier):
        fingerprint, device, dtype, dim = "on a GPU", "cuda", "fp32", 3
        class_names, imagenet_columns = NAMES, (100, 130, 296)

        def preprocess(self, image):
            return brightness()[1](image)

        def encode(self, batch):
            return batch.mean((2, 3))

    models = {"on the processor": "colour_model:brightness", "on a GPU": OnGpu()}
    with pytest.raises(UsageError, match="has room for a worker of 1 GPUs"):
        evaluate_models(read_benchmark(photos), models, RAY, tmp_path / "run")


@pytest.mark.slow
def test_photos_that_only_this_machine_has_end_the_run(cluster, photos, tmp_path):
    folder = os.open(photos, os.O_RDONLY)  # other processes have another file of this number, or none
    benchmark = replace(read_benchmark(photos), root=Path(f"/proc/self/fd/{folder}"))
    with pytest.raises(CounterGroundError, match=r"Node .* cannot read /proc.* disk that all nodes share"):
        evaluate_models(benchmark, "colour_model:brightness", ONE, tmp_path / "run")
    os.close(folder)


@pytest.mark.slow
def test_photos_that_nobody_can_read_are_listed_as_without_a_cluster(cluster, photos, tmp_path, monkeypatch):
    benchmark = read_benchmark(photos)
    gone, changed, folder = sorted(photos.rglob("*.jpg"))[:3]
    gone.unlink()
    changed.write_bytes(b"another photo")
    folder.unlink()
    folder.mkdir()
    in_new_cache(monkeypatch, tmp_path / "local")
    evaluate_models(benchmark, "colour_model:brightness", LOCAL, tmp_path / "here")
    in_new_cache(monkeypatch, tmp_path / "ray")
    run = evaluate_models(benchmark, "colour_model:brightness", ONE, tmp_path / "there")
    assert run.info.counts.unreadable == 3
    for name in ("unreadable.csv", "predictions.parquet"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


@pytest.mark.slow
def test_another_model_on_a_worker_ends_the_run(cluster, photos, tmp_path):
    (tmp_path / "other.py").write_text(
        "import os, torch, colour_model\n"
        "def model():\n"
        "    network, preprocess, names = colour_model.brightness()\n"
        "    network[2].bias.data.fill_(os.getpid())\n"
        "    return network, preprocess, names\n"
    )
    with pytest.raises(CounterGroundError, match=r"Node .* has other weights or other code of mine"):
        evaluate_models(read_benchmark(photos), {"mine": f"{tmp_path}/other.py:model"}, ONE, tmp_path / "run")


@pytest.mark.slow
def test_another_version_on_a_worker_ends_the_run(cluster, photos, tmp_path, monkeypatch):
    here = {**library_versions(*_LIBRARIES), "numpy": "1.0"}
    monkeypatch.setattr("counterground.inference._ray.library_versions", lambda *_: here)
    before = set(threading.enumerate())
    with pytest.raises(CounterGroundError, match=r"Node .* has another version of numpy than this machine"):
        evaluate_models(read_benchmark(photos), "colour_model:brightness", ONE, tmp_path / "run")
    assert set(threading.enumerate()) <= before, "what uses Ray after its end joins again, and all dies of it"


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run(cluster, photos, tmp_path, monkeypatch):
    class Unwilling:
        def __init__(self, plan):
            raise OSError("No space left on device")

    monkeypatch.setattr("counterground.inference._ray.Worker", Unwilling)
    with pytest.raises(CounterGroundError, match="The Ray cluster failed: OSError: No space left on device"):
        evaluate_models(read_benchmark(photos), "colour_model:brightness", ONE, tmp_path / "run")


@pytest.mark.slow
def test_a_block_that_kills_every_worker_ends_the_run(cluster, photos, tmp_path):
    (tmp_path / "deadly.py").write_text(
        "import os, colour_model\n"
        f"def preprocess(image):\n"
        f"    if os.getpid() != {os.getpid()}: os.kill(os.getpid(), 9)\n"
        "    return colour_model.pixels(image)\n"
        "def model():\n"
        "    network, _, names = colour_model.brightness()\n"
        "    return network, preprocess, names\n"
    )
    one = replace(ONE, batch_size=48)
    with pytest.raises(CounterGroundError, match=r"A worker died 3 times, .*0.jpg or the photos"):
        evaluate_models(read_benchmark(photos), f"{tmp_path}/deadly.py:model", one, tmp_path / "run")


def node(cpus: int, gpus: float, *, alive: bool = True) -> dict:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


def test_a_worker_has_the_threads_of_the_driver_or_a_share_of_a_gpu_node():
    nodes = [node(16, 4), node(9, 0), node(4, 2), node(64, 8, alive=False)]
    assert room(nodes, 4, 0) == (4 + 2 + 1, 4)
    assert room(nodes, 16, 1) == (4 + 2, 2)
    assert room(nodes, 16, 0.5) == (8 + 4, 1)
    with pytest.raises(
        UsageError, match=r"16 processors, 4 GPUs; .* room for a worker of 8 GPUs: lower -X gpus"
    ):
        room(nodes, 16, 8)


@pytest.mark.slow
def test_a_worker_that_fits_on_no_node_is_refused(cluster, photos, tmp_path):
    with pytest.raises(UsageError, match="Models run on cpu: leave out -X gpus-per-worker"):
        evaluate_models(
            read_benchmark(photos),
            "colour_model:brightness",
            replace(RAY, gpus_per_worker=0.5),
            tmp_path / "gpu",
        )
    torch.set_num_threads(3)
    with pytest.raises(UsageError, match="has room for a worker of 3 threads: lower OMP_NUM_THREADS"):
        evaluate_models(read_benchmark(photos), "colour_model:brightness", RAY, tmp_path / "threads")
    torch.set_num_threads(1)


@pytest.mark.slow
def test_a_killed_worker_and_a_lost_node_change_nothing(
    cluster, pids, photos, tiny_clip, tmp_path, monkeypatch
):
    pids.unlink(missing_ok=True)
    benchmark = read_benchmark(photos)
    damaged, missing = benchmark.photos["path"][5], benchmark.photos["path"][30]
    (photos / damaged).write_bytes((photos / damaged).read_bytes()[:200])
    benchmark = read_benchmark(photos)
    (photos / missing).unlink()
    models = ["slow=colour_model:slowly", f"open_clip:{tiny_clip}"]
    in_new_cache(monkeypatch, tmp_path / "local")
    evaluate_models(benchmark, models, LOCAL, tmp_path / "here")
    assert workers(pids) == []

    cache = in_new_cache(monkeypatch, tmp_path / "ray")
    before = len(pids.read_text().split())
    failed = []
    # However slowly a worker starts, the other one does not finish first.
    hold = pids.with_name(f"{pids.name}.hold")
    hold.touch()

    def lose():
        try:
            wait_for(lambda: len(workers(pids)) == 2)
            hold.unlink()
            wait_for(lambda: len(shards(cache)) >= 4)
            hold.touch()
            os.kill(workers(pids)[0], signal.SIGKILL)
            wait_for(lambda: len(workers(pids)) == 3)
            assert len(shards(cache)) < 20, "too late"
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        except BaseException as error:
            failed.append(error)
        finally:
            hold.unlink(missing_ok=True)

    losing = threading.Thread(target=lose, daemon=True)
    losing.start()
    evaluate_models(benchmark, models, RAY, tmp_path / "there")
    losing.join()
    assert not failed
    for name in ("predictions.parquet", "unreadable.csv", "scores.parquet"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name
    unreadable = pl.read_csv(tmp_path / "there" / "unreadable.csv")
    assert set(unreadable["path"]) == {damaged, missing}
    seen = pids.read_text().split()[before:]
    twice = len(seen) - 47 - 8 * len(set(seen))  # each process tries a user's model on eight images first
    assert twice <= 5 * 4, "a loss costs the blocks under way"


@pytest.mark.slow
def test_the_last_block_of_a_lost_node_goes_to_a_worker_that_is_free(cluster, photos, tmp_path, monkeypatch):
    """Nothing else is left to do by then, and the lost node leaves no room for another worker.

    Of the two workers of that node the free one is dead as well, which is not the block's doing.
    """
    # Two, as no more workers can be lost here.
    monkeypatch.setattr("counterground.inference._ray._ATTEMPTS", 2)
    lost = cluster.add_node(num_cpus=2, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    blocks = len(cluster.list_all_nodes()) + 1  # as many as workers
    first, both, others_done = tmp_path / "first", tmp_path / "both", tmp_path / "others_done"
    (tmp_path / "held.py").write_text(
        "import os, time, colour_model, ray\n"
        "from pathlib import Path\n"
        f"first, both, others_done = Path('{first}'), Path('{both}'), Path('{others_done}')\n"
        "for_ever = False\n"
        "def begin():\n"
        "    global for_ever\n"
        "    try:\n"
        "        first.touch(exist_ok=False)\n"
        "        for_ever = True\n"
        "    except FileExistsError:\n"
        "        both.touch()\n"
        "def preprocess(image):\n"
        f"    if os.getpid() != {os.getpid()}:\n"
        f"        here = ray.get_runtime_context().get_node_id() == '{lost.node_id}'\n"
        "        if here and not for_ever: begin()\n"
        "        while for_ever or not (others_done if here else both).exists(): time.sleep(0.05)\n"
        "    return colour_model.pixels(image)\n"
        "def model():\n"
        "    network, _, names = colour_model.brightness()\n"
        "    return network, preprocess, names\n"
    )
    cache = in_new_cache(monkeypatch, tmp_path / "ray")

    def lose():
        wait_for(lambda: len(shards(cache)) == blocks - 2)
        others_done.touch()
        wait_for(lambda: len(shards(cache)) == blocks - 1)
        cluster.remove_node(lost, allow_graceful=False)

    losing = threading.Thread(target=lose, daemon=True)
    losing.start()
    settings = replace(RAY, batch_size=-(-48 // blocks))
    benchmark, model = read_benchmark(photos), {"mine": f"{tmp_path}/held.py:model"}
    run = evaluate_models(benchmark, model, settings, tmp_path / "run")
    losing.join()
    assert len(run.predictions) == len(benchmark)
    assert len(shards(cache)) == blocks
