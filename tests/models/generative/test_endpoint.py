"""A model behind an HTTP API: a real server on loopback that fails, stalls and answers nonsense."""

from __future__ import annotations

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import pytest
from chat_server import ChatServer, completion
from PIL import Image

from counterground.errors import CounterGroundError, UsageError
from counterground.models import check_specs, load_model

# How long a call waits before the second try is not for users to set.
from counterground.models.families import _endpoint

QUESTION = "What is the main object in the image?"


@pytest.fixture
def serve(serve_chat):
    """Function: a script -> a server that plays it, one step a call and the last one for ever."""

    def start(*script):
        def play(call):
            step = script[min(call.number, len(script)) - 1]
            return step(call.handler) if callable(step) else step

        return serve_chat(play)

    return start


def ask(server: ChatServer, options: str = "") -> str:
    model = load_model(server.spec + options)
    return model.generate(Image.new("RGB", (40, 30), (200, 10, 10)), QUESTION, max_new_tokens=12)


def stall(left, handler) -> None:
    """Say nothing until the client has left."""
    handler.connection.settimeout(60)
    if handler.connection.recv(1) == b"":
        left.set()


def trickle(left, handler) -> None:
    """Send single bytes until the client has left."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(1200):
        try:
            handler.wfile.write(b" ")
            handler.wfile.flush()
        except OSError:
            left.set()
            return
        time.sleep(0.05)


def hang_up(handler) -> None:
    handler.connection.close()


OK = " A zebra. "


def test_the_call_is_a_chat_with_an_image(serve, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_API_KEY", "secret-key")
    server = serve(OK)
    model = load_model(server.spec)
    assert (
        model.generate(Image.new("RGB", (40, 30), (200, 10, 10)), QUESTION, max_new_tokens=12) == "A zebra."
    )
    (call,) = server.calls
    assert call.path == "/v1/chat/completions"
    assert call.headers["Authorization"] == "Bearer secret-key"
    assert call.body["model"] == "tiny/vision-model"
    assert call.body["temperature"] == 0
    assert call.body["max_tokens"] == 12
    assert call.question == QUESTION
    assert Image.open(io.BytesIO(call.photo)).size == (40, 30)
    assert "secret-key" not in json.dumps(model.description)
    assert "secret-key" not in model.spec + model.fingerprint


def test_a_key_from_a_file_loses_its_line_break_and_a_broken_one_is_not_shown(serve, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_API_KEY", "secret-key\n")
    server = serve(OK)
    assert ask(server) == "A zebra."
    assert server.calls[0].headers["Authorization"] == "Bearer secret-key"
    for broken in ("secret\nkey", "sécret"):
        monkeypatch.setenv("COUNTERGROUND_API_KEY", broken)
        with pytest.raises(UsageError, match="COUNTERGROUND_API_KEY contains characters") as caught:
            ask(server)
        assert broken not in str(caught.value)


def test_big_photos_are_made_smaller(serve):
    server = serve(OK)
    load_model(server.spec).generate(Image.new("RGB", (3000, 1500)), QUESTION, max_new_tokens=5)
    assert Image.open(io.BytesIO(server.calls[0].photo)).size == (2048, 1024)


@pytest.mark.parametrize(
    "trouble",
    [
        (500, b"oops"),
        (429, b"", {"Retry-After": "0"}),
        (200, b"[" * 100_000),
        (200, b"[]"),
        (200, b'{"choices": []}'),
        (200, completion(None)),
        (200, b"\xff\xfe\x00"),
        hang_up,
    ],
)
def test_passing_trouble_is_tried_again(serve, trouble):
    server = serve(trouble, trouble, OK)
    assert ask(server) == "A zebra."
    assert len(server.calls) == 3


@pytest.mark.parametrize("trouble", [stall, trickle])
def test_a_server_that_stalls_is_left_and_asked_again(serve, trouble):
    left = threading.Event()
    server = serve(partial(trouble, left), OK)
    assert ask(server, "?timeout=0.3") == "A zebra."
    assert len(server.calls) == 2
    assert left.wait(10)


def test_lasting_trouble_ends_with_one_line(serve):
    server = serve((503, b"overloaded"))
    with pytest.raises(CounterGroundError, match=r"503 \(overloaded\), 3 times in a row.*kept") as caught:
        ask(server, "?retries=2")
    assert len(server.calls) == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "COUNTERGROUND_API_KEY"), (404, "model's name"), (400, "")]
)
def test_a_refusal_is_not_tried_again(serve, status, remedy):
    server = serve((status, b'{"error": "no"}'))
    with pytest.raises(CounterGroundError, match=f"the server answered {status}.*{remedy}"):
        ask(server)
    assert len(server.calls) == 1


def test_an_address_may_name_the_variable_of_its_key(serve, monkeypatch):
    monkeypatch.delenv("COUNTERGROUND_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "their-key")
    server = serve("an ox")
    ask(server)
    assert "Authorization" not in server.calls[0].headers
    model = load_model(f"{server.spec}?key=OPENAI_API_KEY")
    assert model.generate(Image.new("RGB", (4, 4)), QUESTION, max_new_tokens=4) == "an ox"
    assert server.calls[1].headers["Authorization"] == "Bearer their-key"
    assert model.description["api_key"] == "from OPENAI_API_KEY"
    assert "their-key" not in str(model.description)
    assert model.fingerprint == load_model(server.spec).fingerprint


def test_openai_gets_its_own_key_unless_ours_is_set(monkeypatch):
    spec = "https://api.openai.com/v1#gpt-4o-mini"
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("COUNTERGROUND_API_KEY", raising=False)
    assert load_model(spec).description["api_key"] == "none"
    monkeypatch.setenv("OPENAI_API_KEY", "their-key")
    assert load_model(spec).description["api_key"] == "from OPENAI_API_KEY"
    for other in ("https://api.openai.com.evil.org/v1#m", "http://api.openai.com/v1#m"):
        assert load_model(other).description["api_key"] == "none"
    monkeypatch.setenv("COUNTERGROUND_API_KEY", "our-key")
    assert load_model(spec).description["api_key"] == "from COUNTERGROUND_API_KEY"


def test_a_key_in_the_place_of_its_variable_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="must name an environment variable that is set") as caught:
        load_model("https://api.openai.com/v1#gpt-4o-mini?key=sk-secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_a_redirect_never_carries_the_key_elsewhere(serve, monkeypatch, status):
    monkeypatch.setenv("COUNTERGROUND_API_KEY", "secret-key")
    other = serve(OK)
    server = serve((status, b"", {"Location": f"http://127.0.0.1:{other.server_port}/v1/chat/completions"}))
    with pytest.raises(CounterGroundError, match=f"the server answered {status}.*Give that address"):
        ask(server)
    assert other.calls == []


def test_an_answer_in_parts_and_an_empty_one_are_answers(serve):
    parts = [{"type": "text", "text": "an "}, {"type": "text", "text": None}, {"type": "text", "text": "ox"}]
    assert ask(serve((200, completion(parts)))) == "an ox"
    assert ask(serve("")) == ""


def ended(reason, **message) -> tuple[int, bytes]:
    return (200, json.dumps({"choices": [{"message": message, "finish_reason": reason}]}).encode())


def error(**said) -> bytes:
    return json.dumps({"error": {"message": "The response was filtered.", **said}}).encode()


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ((400, error(code="content_filter")), ""),
        ((400, error(code="content_policy_violation", innererror=None)), ""),
        ((403, error(code=None, innererror={"code": "ResponsibleAIPolicyViolation"})), ""),
        (ended("stop", content=None, refusal="I cannot help with that."), "I cannot help with that."),
        (ended("content_filter", content=None), ""),
        (ended("length", content="A zebra that"), "A zebra that"),
    ],
)
def test_a_refused_photo_is_answered_and_not_asked_about_again(serve, reply, text):
    server = serve(reply)
    assert ask(server) == text
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "reply",
    [
        ended("length", content=""),
        ended("length", content=None, reasoning_content="A zebra or"),
        ended("length", content="<think>Is it a zebra or"),
    ],
)
def test_a_model_that_only_reasons_is_called_once_and_named(serve, reply):
    server = serve(reply)
    with pytest.raises(CounterGroundError, match="spent all tokens of its answer on reasoning"):
        ask(server)
    assert len(server.calls) == 1


def test_stopping_ends_the_wait_for_another_attempt(serve, monkeypatch):
    monkeypatch.setattr(_endpoint, "FIRST_WAIT", 30.0)
    server = serve((500, b""))
    model = load_model(server.spec)
    caught = []

    def run() -> None:
        try:
            model.generate(Image.new("RGB", (4, 4)), QUESTION, max_new_tokens=4)
        except CounterGroundError as error:
            caught.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while not server.calls:
        time.sleep(0.01)
    model.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert "stopped" in caught[0]


def test_a_date_to_wait_for_is_waited_for(serve):
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    server = serve((429, b"", {"Retry-After": later}), OK)
    model = load_model(server.spec)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(model.generate, Image.new("RGB", (4, 4)), QUESTION, max_new_tokens=4)
        with pytest.raises(TimeoutError):  # without the date, the next call follows in 0.01 s
            answer.result(timeout=1)
        model.stop()
        with pytest.raises(CounterGroundError, match="stopped"):
            answer.result()
    assert len(server.calls) == 1


def test_the_fingerprint_is_the_address_and_the_model():
    first = load_model("http://127.0.0.1:9/v1#m")
    assert first.fingerprint == load_model("http://127.0.0.1:9/v1#m?jobs=9&timeout=3").fingerprint
    assert first.fingerprint != load_model("http://127.0.0.1:9/v1#n").fingerprint
    assert first.fingerprint != load_model("http://127.0.0.1:8/v1#m").fingerprint
    assert first.kind == "generative"
    assert first.protocols == {"free-form", "yes-no", "multiple-choice"}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("http://127.0.0.1/v1", "the model's name"),
        ("http://127.0.0.1:x/v1#m", "the model's name"),
        ("http://exa mple/v1#m", "write the address"),
        ("http://localhost/ä/v1#m", "write the address"),
        ("http://me:pass@127.0.0.1/v1#m", "COUNTERGROUND_API_KEY"),
        ("http://127.0.0.1/v1#m?job=3", "Did you mean 'jobs'"),
        ("http://127.0.0.1/v1#m?jobs=0", "jobs: "),
        ("http://127.0.0.1/v1#m?jobs=999999", "jobs: .* 1000"),
    ],
)
def test_wrong_addresses_are_named_before_any_call(spec, said):
    with pytest.raises(UsageError, match=said) as caught:
        check_specs([spec])
    assert "pass@" not in str(caught.value)


def test_offline_forbids_other_machines_only():
    with pytest.raises(CounterGroundError, match="--offline"):
        load_model("https://models.example.org/v1#m", offline=True)
    assert load_model("http://localhost:9/v1#m", offline=True).kind == "generative"
