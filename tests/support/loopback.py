"""HTTP servers on loopback: they run while a block does, in silence."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving(handler, **state: object) -> Iterator[ThreadingHTTPServer]:
    """Serve with a handler, whose ``server`` has its ``url`` and this state as attributes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    vars(server).update(url=f"http://127.0.0.1:{server.server_port}", **state)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
