"""A server on loopback that writes any bytes it is told to."""

from __future__ import annotations

import socket
import threading

import pytest


class RawServer:
    """Calls ``answer(connection, request)`` for each request, in a thread for each connection."""

    def __init__(self):
        self.requests: list[str] = []
        self.answer = lambda connection, request: connection.sendall(reply())
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=[connection], daemon=True).start()

    def _talk(self, connection):
        with connection:
            try:
                while request := self._read(connection):
                    self.requests.append(request)
                    self.answer(connection, request)
            except OSError:
                pass  # the client is gone, as it should be

    def _read(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return ""
            data += chunk
        return data.decode()

    def close(self):
        self._listening.close()


def reply(body=b"whole", status="200 OK", **headers):
    """A whole answer; names of headers with underscores for hyphens."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture(name="reply")
def reply_():
    return reply


@pytest.fixture
def raw_server():
    server = RawServer()
    yield server
    server.close()
