"""Sessions of ``requests`` that end at a deadline. Importing this module loads ``requests``."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from counterground.http._deadline import watch
from counterground.offline import is_local


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        watch(connection)
        return connection

    def request(self, *arguments: Any, **named: Any) -> None:
        watch(self.sock)  # the socket of a connection that was kept open
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
        if not proxy.lower().startswith("socks"):  # those have their own connections
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

    def merge_environment_settings(self, url: str, proxies: Any, *others: Any) -> Any:
        """Return the settings of a request: one to this machine goes to no proxy, which may be another."""
        if is_local(url):
            proxies = {**(proxies or {}), "no_proxy": urlsplit(url).hostname}
        return super().merge_environment_settings(url, proxies, *others)

    def get_redirect_target(self, _response: requests.Response) -> None:
        """Return None: requests would read the whole body of a redirect, however long, to follow it."""
