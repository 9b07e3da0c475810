"""Connections that end at a deadline, no matter what the server does. Importing this loads requests.

The time-outs of requests are per read, so a server that sends a byte now and then, in a header or in a body,
holds a thread for ever. Here a timer shuts the socket down, which ends any read at once.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

_thread = threading.local()


class Deadline:
    """Ends the requests of this thread after ``seconds``; ``passed`` says that it did."""

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
        """Note the socket to shut down, by a handle of our own: TLS takes over the one it is given."""
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


def _watch(connection: socket.socket | None) -> None:
    deadline: Deadline | None = getattr(_thread, "deadline", None)
    if deadline is not None and connection is not None:
        deadline.watch(connection)


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        _watch(connection)
        return connection

    def request(self, *arguments: Any, **named: Any) -> None:
        _watch(self.sock)  # of a connection that was kept open
        super().request(*arguments, **named)


class _SecureConnection(HTTPSConnection, _Connection):
    """Its own methods come first; those of ``_Connection`` wrap the plain ones."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        _use_watched_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **named: Any) -> PoolManager:
        manager: PoolManager = super().proxy_manager_for(proxy, **named)
        if not proxy.lower().startswith("socks"):  # those have connections of their own
            _use_watched_connections(manager)
        return manager


def _use_watched_connections(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}


class Session(requests.Session):
    """A session that ends at the thread's ``Deadline`` and never follows redirects by itself."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(max_retries=0))

    def get_redirect_target(self, _response: requests.Response) -> None:
        """Return None: requests would read the whole body of a redirect, however long, to follow it."""
