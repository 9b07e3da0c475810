import json
import signal
import time
from pathlib import Path

import forked
import pytest
import tiny_lvlm

from counterground.inference import evaluate_models
from counterground.photos import read_benchmark
from counterground.settings import Settings

_SCRIPT = """
import json, sys, torch
from pathlib import Path
from counterground.inference import evaluate_models
from counterground.settings import Settings
from counterground.photos import read_benchmark
torch.set_num_threads(1)
photos, model, out, settings = sys.argv[1:]
evaluate_models(read_benchmark(photos), [model], Settings(**json.loads(settings)), Path(out))
"""


@pytest.fixture(scope="session")
def llava(tmp_path_factory) -> Path:
    return tiny_lvlm.build("llava", tmp_path_factory.mktemp("llava"))


@pytest.fixture
def few(photos) -> Path:
    """Three photographs a group instead of eight."""
    for path in photos.glob("*/*/[3-7].jpg"):
        path.unlink()
    return photos


@pytest.fixture
def killed_and_resumed(llava, tmp_path, monkeypatch):
    """Function: (benchmark, photos in all, settings) -> checks that a killed run ends in the same bytes."""

    def check(source, of, **settings):
        model, settings = f"hf:{llava}", {"batch_size": 2, **settings}
        monkeypatch.setenv("COUNTERGROUND_CACHE", str(tmp_path / "cache-a"))
        evaluate_models(read_benchmark(source), [model], Settings(**settings), tmp_path / "alone")
        cache = tmp_path / "cache-b"

        def start():
            words = (source, model, tmp_path / "killed", json.dumps(settings))
            return forked.start(_SCRIPT, *words, environment={"COUNTERGROUND_CACHE": str(cache)})

        process = start()
        while process.is_alive() and len(list(cache.glob("losses/*/[!.]*.safetensors"))) < 2:
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        kept = {path: path.stat().st_mtime_ns for path in cache.glob("losses/*/[!.]*.safetensors")}
        assert 2 <= len(kept) < of
        again = start()
        again.join()
        assert again.exitcode == 0
        expected = (tmp_path / "alone" / "predictions.parquet").read_bytes()
        assert (tmp_path / "killed" / "predictions.parquet").read_bytes() == expected
        assert all(path.stat().st_mtime_ns == before for path, before in kept.items())

    return check
