"""A server on loopback that writes any bytes it is told to, and what hostile ones write.

Each of `TRICKS` is a function of (connection, request). Some never end by themselves: a client that waits for
them hangs, which fails the test by its time limit.
"""

from __future__ import annotations

import gzip
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable

Answer = Callable[[socket.socket, str], None]


class RawServer:
    """Calls ``answer(connection, request)`` for each request, in a thread for each connection.

    Attributes:
        requests: their heads.
        came_at: when each came, by this machine's clock.
    """

    def __init__(self, answer: Answer | None = None):
        self.requests: list[str] = []
        self.came_at: list[float] = []
        self.answer = answer or (lambda connection, request: connection.sendall(reply()))
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
                    self.came_at.append(time.time())
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
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.splitlines() if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += connection.recv(65536)
        return head.decode() + "\r\n\r\n"

    def close(self):
        self._listening.close()


def reply(body=b"whole", status="200 OK", **headers):
    """A whole answer; names of headers with underscores for hyphens."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


_JSON = {"Content_Type": "application/json"}
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def _drip(head: bytes, byte: bytes = b"1") -> Answer:
    def answer(connection, _request):
        connection.sendall(head)
        while True:
            connection.sendall(byte)
            time.sleep(0.02)

    return answer


def _endless(head: bytes, piece: bytes) -> Answer:
    def answer(connection, _request):
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return answer


def _once(data: bytes) -> Answer:
    return lambda connection, _request: connection.sendall(data)


def _and_close(data: bytes) -> Answer:
    def answer(connection, _request):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)

    return answer


def _deflated(size: int, piece: bytes) -> bytes:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(piece) for _ in range(size // len(piece)))
    return packed + packer.flush()


def _loop(connection, request):
    path = request.split()[1].partition("?")[0]
    connection.sendall(reply(b"", "302 Found", Location=f"{path}?again={time.time()}"))


_EMPTY_LISTS = b'{"results":[' + b"[]," * 10_000_000
_PIXEL_BOMB = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(100_000), 9)),
        (b"IEND", b""),
    )
)

TRICKS: dict[str, Answer] = {
    "drips a header": _drip(b"HTTP/1.1 200 OK\r\nX: "),
    "drips headers": _drip(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n"),
    "drips a body": _drip(_HEAD + b"Content-Length: 100000\r\n\r\n"),
    "drips chunks": _drip(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n1\r\n"),
    "says nothing": lambda connection, _request: time.sleep(600),
    "gzip bomb": lambda connection, _request: connection.sendall(
        reply(gzip.compress(bytes(400_000_000), 1), Content_Encoding="gzip", **_JSON)
    ),
    "deflate bomb": lambda connection, _request: connection.sendall(
        reply(_deflated(400_000_000, bytes(1_000_000)), Content_Encoding="deflate", **_JSON)
    ),
    "bomb in a bomb": lambda connection, _request: connection.sendall(
        reply(gzip.compress(gzip.compress(bytes(400_000_000), 9), 9), Content_Encoding="gzip, gzip", **_JSON)
    ),
    "unknown encoding": _once(reply(b"\x0b\x02\x80whatever\x03", Content_Encoding="br", **_JSON)),
    "endless body": _endless(_HEAD + b"\r\n", b"0" * 1_000_000),
    "endless JSON": _endless(_HEAD + b"\r\n" + b'{"results":[', b"[]," * 300_000),
    "endless header": _endless(b"HTTP/1.1 200 OK\r\nX: ", b"0" * 1_000_000),
    "endless headers": _endless(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n" * 10_000),
    "empty lists": lambda connection, _request: connection.sendall(reply(_EMPTY_LISTS, **_JSON)),
    "deep JSON": _once(reply(b'{"results":' + b"[" * 500_000, **_JSON)),
    "redirects in a loop": _loop,
    "redirects to a file": _once(reply(b"", "302 Found", Location="file:///etc/passwd")),
    "redirects elsewhere": _once(reply(b"", "302 Found", Location="http://127.0.0.1:9/v1")),
    "redirects nowhere": _once(reply(b"", "302 Found", Location="http://[bad/")),
    "Retry-After: ²": _once(reply(b"", "429 Slow down", Retry_After="\N{SUPERSCRIPT TWO}")),
    "Retry-After: for ever": _once(reply(b"", "429 Slow down", Retry_After="9" * 4000)),
    "no status": _and_close(b"hello\r\n\r\n"),
    "odd status": _and_close(b"HTTP/1.1 9999999 \r\n\r\n"),
    "negative length": _and_close(_HEAD + b"Content-Length: -1\r\n\r\n{}"),
    "two lengths": _and_close(_HEAD + b"Content-Length: 2\r\nContent-Length: 3000\r\n\r\n{}"),
    "odd chunk": _and_close(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "breaks off": _and_close(_HEAD + b"Content-Length: 3000\r\n\r\n{"),
    "pixel bomb": _once(reply(_PIXEL_BOMB, Content_Type="image/png")),
    "a page": _once(reply(b"<html>Sign in</html>", Content_Type="text/html")),
}
