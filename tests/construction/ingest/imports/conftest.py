"""A real HTTP server on loopback that can be slow, broken or busy, and counts what it is asked."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterground.pool import open_pool


def photo_bytes(seed: int, size: tuple[int, int] = (48, 40), kind: str = "JPEG") -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(out, kind)
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


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5

    def log_message(self, *args):
        pass

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


@pytest.fixture
def photo_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.state = PhotoServer(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def pool(tmp_path):
    opened = open_pool(tmp_path / "pool", create=True)
    yield opened
    opened.close()


@pytest.fixture
def labelled(tmp_path) -> Path:
    root = tmp_path / "animals"
    places = [("zebra", "grass"), ("zebra", "road"), ("flamingo", "water")]
    for seed, (animal, background) in enumerate(places * 3):
        (root / animal / background).mkdir(parents=True, exist_ok=True)
        (root / animal / background / f"{seed // 3}.jpg").write_bytes(photo_bytes(seed))
    return root
