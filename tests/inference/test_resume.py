"""A run that is killed, disturbed or doubled ends in the same bytes as one left alone."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import forked

from counterground.inference import evaluate_models
from counterground.photos import read_benchmark
from counterground.settings import Settings

SCRIPT = """
import sys
from pathlib import Path
from counterground.inference import evaluate_models
from counterground.settings import Settings
from counterground.photos import read_benchmark
photos, model, out = sys.argv[1:]
evaluate_models(read_benchmark(photos), [model], Settings(label_space="benchmark", batch_size=4), Path(out))
"""


def start(photos, tiny_clip, out, cache):
    environment = {"COUNTERGROUND_CACHE": str(cache)}
    return forked.start(SCRIPT, photos, f"open_clip:{tiny_clip}", out, environment=environment)


def ended(process) -> int:
    process.join()
    return process.exitcode


def shards(cache: Path) -> list[Path]:
    return sorted(cache.glob("features/*/[!.]*.safetensors"))


def left_alone(photos, tiny_clip, out, cache, monkeypatch) -> bytes:
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(cache))
    settings = Settings(label_space="benchmark", batch_size=4)
    evaluate_models(read_benchmark(photos), [f"open_clip:{tiny_clip}"], settings, out)
    return (out / "predictions.parquet").read_bytes()


def test_killed_runs_resume_to_the_same_bytes(photos, tiny_clip, tmp_path, monkeypatch):
    expected = left_alone(photos, tiny_clip, tmp_path / "alone", tmp_path / "cache-a", monkeypatch)
    cache = tmp_path / "cache-b"
    process = start(photos, tiny_clip, tmp_path / "killed", cache)
    while process.is_alive() and len(shards(cache)) < 3:
        time.sleep(0.001)
    process.kill()
    assert ended(process) == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in shards(cache)}
    assert 3 <= len(kept) < 12
    assert not (tmp_path / "killed" / "predictions.parquet").exists()
    assert ended(start(photos, tiny_clip, tmp_path / "killed", cache)) == 0
    assert (tmp_path / "killed" / "predictions.parquet").read_bytes() == expected
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())


def test_two_processes_at_once_end_alike(photos, tiny_clip, tmp_path, monkeypatch):
    expected = left_alone(photos, tiny_clip, tmp_path / "alone", tmp_path / "cache-a", monkeypatch)
    cache = tmp_path / "cache-b"
    both = [start(photos, tiny_clip, tmp_path / name, cache) for name in ("one", "two")]
    assert [ended(process) for process in both] == [0, 0]
    for name in ("one", "two"):
        assert (tmp_path / name / "predictions.parquet").read_bytes() == expected


def test_damaged_shards_are_encoded_anew(photos, tiny_clip, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    expected = left_alone(photos, tiny_clip, tmp_path / "first", cache, monkeypatch)
    index = shards(cache)
    index[0].write_bytes(b"half")
    index[1].with_suffix(".safetensors").write_bytes(b"")
    index[2].with_suffix(".safetensors").unlink()
    assert left_alone(photos, tiny_clip, tmp_path / "second", cache, monkeypatch) == expected
