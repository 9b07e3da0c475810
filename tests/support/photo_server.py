"""A real HTTP server on loopback that can be slow, broken or busy, and counts what it is asked."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from loopback import Handler, serving
from noise_photos import noise


def photo_bytes(seed: int, kind: str = "JPEG") -> bytes:
    """Draw a photo of blurred noise, another one for each seed."""
    out = io.BytesIO()
    noise((48, 40), seed).save(out, kind)
    return out.getvalue()


@dataclass
class PhotoServer:
    """Answers ``/<number>.jpg`` with that photo; ``script`` says what else to do, by path, turn by turn."""

    script: dict[str, list] = field(default_factory=dict)
    asked: Counter = field(default_factory=Counter)
    served: Counter = field(default_factory=Counter)
    agents: set = field(default_factory=set)
    most_at_once: int = 0
    at_once: int = 0
    delay: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str = ""

    def address(self, number: int | str) -> str:
        return f"{self.url}/{number}.jpg"


class PhotoHandler(Handler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_GET(self):
        state = self.server.state
        with state.lock:
            state.asked[self.path] += 1
            state.agents.add(self.headers["User-Agent"])
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
            turns = state.script.get(self.path)
            turn = turns.pop(0) if turns else None
        try:
            time.sleep(state.delay)
            self.answer(state, turn)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with state.lock:
                state.at_once -= 1

    def answer(self, state, turn):
        number = self.path.strip("/").split(".")[0]
        body = photo_bytes(int(number)) if number.isdigit() else b"<html>no photo</html>"
        status, headers, cut = 200, {"Content-Type": "image/jpeg"}, None
        if isinstance(turn, int):
            status, body = turn, b"no"
        elif isinstance(turn, bytes):
            body = turn
        elif isinstance(turn, dict):
            status, headers, cut = turn.get("status", 200), headers | turn.get("headers", {}), turn.get("cut")
        if turn == "drip":
            return self.drip(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True
        elif status == 200:
            with state.lock:
                state.served[self.path] += 1
        return None

    def drip(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.02)


@contextmanager
def running() -> Iterator[PhotoServer]:
    """The state of a running server."""
    with serving(PhotoHandler) as server:
        server.state = PhotoServer(url=server.url)
        yield server.state
