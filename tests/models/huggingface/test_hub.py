"""A repository is fetched from a hub: a real server on this machine, with the library's own client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from dataset_hub import COMMIT, HubHandler
from loopback import serving
from tiny_hf import build

from counterground.errors import CounterGroundError
from counterground.models import load_model

ASKED = """
from counterground.errors import CounterGroundError
from counterground.models import load_model


def compare(model, spec):
    # Print how far the features are from those of OpenCLIP itself, which asks the same hub.
    import numpy as np
    import open_clip
    import torch
    from PIL import Image

    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8))
    theirs, preprocess = open_clip.create_model_from_pretrained(spec)
    texts = ["a photo of a bee"]
    with torch.inference_mode():
        features = theirs.encode_image(preprocess(photo)[None], normalize=True)
        words = theirs.encode_text(open_clip.get_tokenizer(spec)(texts), normalize=True)
    ours = model.encode(torch.as_tensor(model.preprocess(photo))[None])
    texts_apart = np.abs(model.encode_texts(texts) - words.numpy()).max()
    print(float((ours - features).abs().max()), texts_apart)


for spec, offline in SPECS:
    try:
        model = load_model(spec, device="cpu", offline=offline)
        print(model.fingerprint, model.description["weights"], flush=True)
        if spec.startswith("hf-hub:"):
            compare(model, spec)
    except CounterGroundError as error:
        print(error, flush=True)
"""


class Hub(HubHandler):
    """Serves one repository, ``some/clip``; ``gated/clip`` may not be read, and there is no other."""

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        answers = {
            "/api/models/some/clip": {"id": "some/clip", "sha": COMMIT, "siblings": []},
            "/api/models/some/clip/revision/main": {"id": "some/clip", "sha": COMMIT, "siblings": []},
            f"/api/models/some/clip/tree/{COMMIT}/additional_chat_templates": [],
        }
        if path in answers:
            return self.answer(200, json.dumps(answers[path]).encode())
        if "gated/clip" in path:
            return self.answer(403, error="GatedRepo")
        if not path.startswith((f"/some/clip/resolve/{COMMIT}/", "/some/clip/resolve/main/")):
            return self.answer(404, error="RevisionNotFound" if "some/clip" in path else "RepoNotFound")
        file = self.server.folder / path.rpartition("/")[2]
        if not file.is_file():
            return self.answer(404, error="EntryNotFound")
        return self.answer(200, file.read_bytes())


@pytest.fixture
def hub(tmp_path):
    with serving(Hub, folder=build("clip", tmp_path / "clip"), asked=[]) as server:
        yield server


@pytest.mark.slow
def test_a_repository_is_fetched_once_pinned_and_found_again(hub, tmp_path):
    specs = [
        ("hf:some/clip", True),
        ("hf:some/clip", False),
        ("hf:some/clip@main", True),
        ("hf:some/clip@nosuch", False),
        ("hf:some/other", False),
        ("hf:gated/clip", False),
    ]
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
    environment["HF_ENDPOINT"] = hub.url
    code = ASKED.replace("SPECS", repr(specs))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    absent, fetched, again, revision, other, gated = done.stdout.splitlines()
    assert "--offline forbids fetching" in absent
    expected = load_model(f"hf:{hub.folder}", device="cpu").fingerprint
    assert fetched == again == f"{expected} some/clip@{COMMIT}"
    assert "hf:some/clip@nosuch" in revision
    assert "nosuch is not a valid" in revision
    assert "hf:some/other" in other
    assert "is not a valid model identifier" in other
    assert "access a gated repo" in gated
    assert all("give a folder: hf:DIR" in line for line in (revision, other, gated))
    assert hub.asked.count(f"/some/clip/resolve/{COMMIT}/model.safetensors") <= 2, "asked for, then read"


@pytest.mark.slow
def test_a_repository_of_open_clip_is_fetched_and_found_again(hub, tiny_clip, tmp_path):
    hub.folder = tiny_clip
    specs = [("open_clip:hf-hub:some/clip", False), ("hf-hub:some/clip", False)]
    specs += [("open_clip:hf-hub:some/clip@main", True)]
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*"}
    environment["HF_ENDPOINT"] = hub.url
    code = ASKED.replace("SPECS", repr([*specs, ("open_clip:hf-hub:some/other", False)]))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    fetched, alias, distances, again, other = done.stdout.splitlines()
    expected = load_model(f"open_clip:{tiny_clip}", device="cpu").fingerprint
    assert fetched == alias == again == f"{expected} some/clip@{COMMIT}"
    assert max(map(float, distances.split())) < 1e-6
    assert "Cannot fetch the weights of open_clip:hf-hub:some/other" in other


def test_behind_a_dead_proxy_there_are_no_retries(monkeypatch):
    retries, sleep = [], time.sleep
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    # Other threads take naps.
    monkeypatch.setattr("time.sleep", lambda s: retries.append(s) if s > 0.4 else sleep(s))
    with pytest.raises(CounterGroundError, match="the Hugging Face hub cannot be reached"):
        load_model("hf-hub:some/clip@0000000", device="cpu")
    assert not retries
