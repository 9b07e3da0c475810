"""A deadline for a whole request, no matter what the server does, and an opener that keeps it.

The time-outs of HTTP libraries are per read, so a server that sends a byte now and then, in a header or a
body, holds a thread for ever. Here a timer shuts down the socket, which ends any read at once.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import urllib.request
from typing import Any

from counterground.offline import is_local

_thread = threading.local()


class Deadline:
    """End this thread's requests after ``seconds``; ``passed`` says whether that has happened."""

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._handle: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        _thread.deadline = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        _thread.deadline = None
        self._timer.cancel()
        with self._lock:
            self._drop_handle()

    def watch(self, connection: socket.socket) -> None:
        """Keep our own handle of the socket to shut down: TLS takes over the one it is given."""
        with self._lock:
            self._drop_handle()
            self._handle = socket.fromfd(connection.fileno(), connection.family, connection.type)
            if self.passed:
                self._shut_down()

    def _end(self) -> None:
        with self._lock:
            self.passed = True
            self._shut_down()

    def _shut_down(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):  # the server may have closed it a moment before
                self._handle.shutdown(socket.SHUT_RDWR)

    def _drop_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def watch(connection: socket.socket | None) -> None:
    """Let the thread's deadline end reads from a socket."""
    deadline: Deadline | None = getattr(_thread, "deadline", None)
    if deadline is not None and connection is not None:
        deadline.watch(connection)


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        watch(self.sock)


class _SecureConnection(http.client.HTTPSConnection, _Connection):
    """Its ``connect`` calls the one above before TLS begins."""


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_Connection, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_SecureConnection, request)


class _Proxy(urllib.request.ProxyHandler):
    def proxy_open(self, request: urllib.request.Request, proxy: str, type: str) -> Any:  # noqa: A002
        """Go to no proxy, which may be another machine, with a request to this one."""
        return None if is_local(request.full_url) else super().proxy_open(request, proxy, type)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        """Follow none: a redirected call would carry its key to another host."""


def deadline_opener() -> urllib.request.OpenerDirector:
    """Return an opener that opens URLs within the thread's `Deadline` and follows no redirects."""
    return urllib.request.build_opener(_Http, _Https, _Proxy, _NoRedirect)
