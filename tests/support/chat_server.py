"""A chat API on loopback, for models behind HTTP: it answers, fails or stalls as a test says."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loopback import Handler


@dataclass(frozen=True)
class Call:
    """One request; ``number`` counts from 1."""

    number: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    handler: BaseHTTPRequestHandler

    @property
    def photo(self) -> bytes:
        """The photo's file, sent as a data address."""
        picture, _ = self.body["messages"][0]["content"]
        kind, _, data = picture["image_url"]["url"].partition(",")
        assert kind == "data:image/jpeg;base64"
        return base64.b64decode(data)

    @property
    def question(self) -> str:
        _, text = self.body["messages"][0]["content"]
        assert text["type"] == "text"
        return text["text"]


# A generated text; a status; status, body and headers; None where the reply wrote to the handler itself.
Reply = str | int | tuple[Any, ...] | None


class ChatServer(ThreadingHTTPServer):
    """Answers each call with ``reply(call)``.

    Attributes:
        calls: the calls in their order.
        answered: how often each pair of photo and question got a text.
        at_once, most_at_once: calls under way, and the most that were.
    """

    def __init__(self, reply: Callable[[Call], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply, self.lock = reply, threading.Lock()
        self.calls: list[Call] = []
        self.answered: Counter[tuple[bytes, str]] = Counter()
        self.at_once = self.most_at_once = 0

    @property
    def spec(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1#tiny/vision-model"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


def completion(text: Any) -> bytes:
    """The body of an answer with this text."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


class _Handler(Handler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            call = Call(len(self.server.calls) + 1, self.path, dict(self.headers), body, self)
            self.server.calls.append(call)
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        reply = None
        try:
            reply = self.server.reply(call)
        finally:
            with self.server.lock:
                self.server.at_once -= 1
                if isinstance(reply, str):
                    self.server.answered[call.photo, call.question] += 1
        if isinstance(reply, str):
            reply = (200, completion(reply))
        if reply is not None:
            self.reply(*((reply,) if isinstance(reply, int) else reply))
