"""A model behind an HTTP API that is hostile: one line, in time, in little memory, and no key anywhere."""

from __future__ import annotations

import json
import sqlite3
import traceback

import polars as pl
import pytest
from chat_server import completion
from hostile_server import TRICKS, RawServer
from PIL import Image

from counterground.cli import main
from counterground.errors import CounterGroundError, UsageError
from counterground.inference import evaluate_models
from counterground.models import Generative, check_specs, load_model

# How long a call waits before the second try is not for users to set.
from counterground.models.families import _endpoint
from counterground.photos import read_benchmark
from counterground.settings import Settings

KEY = "sk-Zq8-very-secret-key-4711"
_TRICKS = sorted(set(TRICKS) - {"pixel bomb"})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(_endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(_endpoint, "_LONGEST_WAIT", 0.02)  # a server may ask for more


def _refused(spec: str) -> CounterGroundError:
    with pytest.raises(CounterGroundError) as caught:
        load_model(spec).generate(Image.new("RGB", (4, 4)), "What is it?", max_new_tokens=4)
    return caught.value


@pytest.mark.parametrize("name", _TRICKS)
def test_a_hostile_endpoint_ends_in_one_line(name):
    server = RawServer(TRICKS[name])
    said = str(_refused(f"{server.url}/v1#m?timeout=0.5&retries=1"))
    server.close()
    assert said.startswith(f"{server.url}/v1#m")
    assert "\n" not in said
    assert len(said) < 600
    assert 1 <= len(server.requests) <= 2  # no redirect is followed


def _repeats_its_request(call):
    """An error, an answer or a redirect that repeats the key it was sent."""
    told = call.headers.get("Authorization", "")
    return {
        1: (500, f"you sent {told}".encode()),
        2: (200, b"not JSON: " + told.encode()),
        3: (200, json.dumps({"error": told}).encode()),
    }.get(call.number, f"an ox, by {told}, {told[7:]}")


def _all_that_is_written(folder) -> str:
    """Every file below a folder as text; tables and databases by their values."""
    texts = []
    for file in folder.rglob("*"):
        if file.suffix == ".parquet":
            texts.append(str(pl.read_parquet(file).to_dicts()))
        elif file.is_file():
            texts.append(file.read_bytes().decode("latin-1"))
        if file.suffix == ".sqlite":
            with sqlite3.connect(file) as database:
                texts.append("\n".join(database.iterdump()))
    return "\n".join(texts)


def test_a_key_that_is_repeated_is_on_no_screen_and_in_no_file(
    serve_chat, photos, tmp_path, monkeypatch, capsys, cache
):
    monkeypatch.setenv("COUNTERGROUND_API_KEY", KEY)
    server = serve_chat(_repeats_its_request)
    out = tmp_path / "run"
    words = [
        "evaluate",
        str(photos),
        "-m",
        server.spec,
        "--label-space",
        "benchmark",
        "-X",
        "protocol=free-form",
    ]
    assert main([*words, "--limit", "6", "--out", str(out)]) == 0
    assert main(["report", str(out), "--out", str(tmp_path / "report.html")]) == 0
    assert main(["scores", str(out), "--format", "json"]) == 0
    shown = "".join(capsys.readouterr())
    written = _all_that_is_written(out) + _all_that_is_written(cache) + (tmp_path / "report.html").read_text()
    assert "an ox, by Bearer ***, ***" in written
    assert all(call.headers["Authorization"] == f"Bearer {KEY}" for call in server.calls)
    assert KEY not in shown + written


@pytest.mark.parametrize("status", [302, 400, 401, 429, 500])
def test_a_key_that_is_repeated_in_an_error_is_masked(serve_chat, monkeypatch, status):
    monkeypatch.setenv("COUNTERGROUND_API_KEY", KEY)

    def refuse(call):
        told = call.headers["Authorization"]
        return status, f"no: {told}".encode(), {"Location": f"http://127.0.0.1:9/{KEY}", "X": told}

    server = serve_chat(refuse)
    error = _refused(f"{server.spec}?retries=0")
    assert KEY not in "".join(traceback.format_exception(error))
    assert "***" in str(error)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/v1?key={}",
        "http://127.0.0.1/v1?api-version=2024-06-01&token={}",
        "http://127.0.0.1/v1?{}",
        "http://127.0.0.1/{}/v1",
        "http://127.0.0.1/v1/key={}/openai",
        "http://me:{}@127.0.0.1/v1",
    ],
)
@pytest.mark.parametrize(
    "key",
    [KEY, "hf_aBcDeFgHiJkL", "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8", "api-key-4711", "secret-4711", "token=something"],
)
def test_a_key_in_the_address_is_refused_and_not_repeated(address, key):
    with pytest.raises(UsageError, match="COUNTERGROUND_API_KEY") as caught:
        check_specs([f"{address.format(key)}#m"])
    assert key not in str(caught.value)


def test_the_key_of_a_variable_is_refused_in_a_path_whatever_it_looks_like(monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", "quite-ordinary-words")
    with pytest.raises(UsageError, match="what looks like a key in its path"):
        check_specs(["http://127.0.0.1/quite-ordinary-words/v1#m"])


@pytest.mark.parametrize(
    "address",
    [
        "https://example.openai.azure.com/openai/deployments/gpt-4-vision-2024-06-01/v1?api-version=2024-06-01",
        "https://router.example.org/hf-inference/models/my-org/My-Model-7B/v1",
        "https://example.org/turkey-vision/v1",
        "https://example.org/secretary/v1",
        "https://example.org/sk-learn-vlm/v1",
        "https://example.org/token-classification/hf_models/api-keyboard/v1",
        "https://example.org/v2/3fa85f64-5717-4562-b3fc-2c963f66afa6/openai/v1",
    ],
)
def test_addresses_of_services_are_no_keys(address):
    check_specs([f"{address}#m"])


def test_a_photo_is_named_without_the_folders_above_it(photos, tmp_path):
    class Broken(Generative):
        def generate(self, image, question, *, max_new_tokens):
            raise ValueError("no")

    with pytest.raises(CounterGroundError, match=r"about \d+\.jpg failed: ValueError: no"):
        evaluate_models(read_benchmark(photos), Broken(), Settings(label_space="benchmark"), tmp_path / "run")


def test_a_short_key_of_a_local_server_is_no_secret(serve_chat, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_API_KEY", "ox")
    server = serve_chat(lambda _: (200, completion("an ox")))
    model = load_model(server.spec)
    assert model.generate(Image.new("RGB", (4, 4)), "What is it?", max_new_tokens=4) == "an ox"
