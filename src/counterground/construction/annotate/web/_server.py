"""One process that serves pages to annotators on this machine, from the first link to Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import uvicorn
from starlette.types import ASGIApp

from counterground.construction.annotate.web._security import MOST_BYTES, SecurityMiddleware, Sessions
from counterground.construction.pool import IMPORTED
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import name_key

LOOPBACK = "127.0.0.1"
_PORTS = "label_ports"
_LAST_PORT = 65535


@dataclass(frozen=True)
class ServerSettings:
    """Who takes part, and where the pages are.

    Attributes:
        annotators: their names; each gets a link.
        port: the port; 0 takes the one these annotators had before, else a free one.
        open_browser: open the first link.
    """

    annotators: Sequence[str]
    port: int = 0
    open_browser: bool = False

    def __post_init__(self) -> None:
        named = [self.annotators] if isinstance(self.annotators, str) else self.annotators
        object.__setattr__(self, "annotators", tuple(name.strip() for name in named))

    def check(self) -> None:
        """Check port and names.

        Raises:
            UsageError: a port out of range, no annotator, or names that cannot be used or
                distinguished.
        """
        if not 0 <= self.port <= _LAST_PORT:
            raise UsageError(f"A port is a number from 0 to {_LAST_PORT}, not {self.port}.")
        if not self.annotators:
            raise UsageError("Labelling needs an annotator's name: add --annotator NAME.")
        for name in self.annotators:
            if not name or len(name) > 60 or not name.isprintable():
                raise UsageError(f"{name!r} cannot be an annotator's name: use 1 to 60 printable characters.")
            if name_key(name) == IMPORTED:
                raise UsageError(f"{IMPORTED!r} is the annotator of imported labels: choose another name.")
        if len(set(map(name_key, self.annotators))) < len(self.annotators):
            raise UsageError(f"Annotators need different names, not {', '.join(self.annotators)}.")


class SettingStore(Protocol):
    """A store of the ports that annotators had: a pool, or the decisions on masks."""

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting (any JSON value), or ``default``."""

    def set_setting(self, name: str, value: Any) -> None:
        """Store a setting."""


class AnnotatorServer:
    """A server that listens, and the links to it; close it, or use ``with``.

    Args:
        settings: who takes part, and where.
        store: store of the port: browsers keep unsent decisions by address, so a restarted server reuses the
            port of its annotators.
        say: function that prints a line.

    Raises:
        CounterGroundError: the port is taken.
    """

    def __init__(self, settings: ServerSettings, store: SettingStore, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._width = max(map(len, settings.annotators))
        self.sessions = Sessions(settings.annotators)
        self._socket, self._stranded = _listen(settings, store)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _link(self, annotator: str) -> str:
        return f"http://{LOOPBACK}:{self.port}/enter?token={self.sessions.token(annotator)}"

    def serve(self, app: ASGIApp, *, most_bytes: int = MOST_BYTES) -> None:
        """Print the links and serve until Ctrl-C or SIGTERM; bodies have at most ``most_bytes``."""
        if self._stranded:
            self._say(self._stranded)
        with _until_stopped():
            for annotator in self.sessions.annotators:
                self._say(f"{annotator:{self._width}}  {self._link(annotator)}")
            self._say("Press Ctrl-C to stop.")
            if self._settings.open_browser and _has_screen():
                webbrowser.open(self._link(self.sessions.annotators[0]))
            self._run(app, most_bytes)

    def _run(self, app: ASGIApp, most_bytes: int) -> None:
        hosts = frozenset({f"{LOOPBACK}:{self.port}", f"localhost:{self.port}"})

        def fail(error: Exception) -> None:
            print(f"A request failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

        config = uvicorn.Config(
            SecurityMiddleware(app, hosts=hosts, fail=fail, most_bytes=most_bytes),
            log_level="critical",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            loop="asyncio",
            timeout_graceful_shutdown=2,
        )
        _run_until_stopped(uvicorn.Server(config), self._socket)


def _run_until_stopped(server: uvicorn.Server, listening: socket.socket) -> None:
    """Run a server here or, in a notebook, whose own event loop runs here, in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        server.run(sockets=[listening])
        return
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(1.0)
    finally:
        server.should_exit = True
        thread.join()


def _listen(settings: ServerSettings, store: SettingStore) -> tuple[socket.socket, str]:
    """Listen on a port; if the one these annotators had before is taken, say what cannot be sent."""
    found = store.setting(_PORTS, {})
    ports = found if isinstance(found, dict) else {}
    usual = next((ports[name] for name in settings.annotators if _is_port(ports.get(name))), 0)
    stranded = ""
    try:
        listening = _bind(settings.port or usual)
    except OSError as error:
        if settings.port:
            raise CounterGroundError(
                f"Port {settings.port} cannot be used: {error.strerror or error}. Leave out --port."
            ) from error
        listening = _bind(0)
        stranded = f"Port {usual}, used before, is taken: decisions that browsers could not send wait for it."
    port = listening.getsockname()[1]
    kept = {name: port for name in settings.annotators if stranded == "" and ports.get(name) != port}
    if kept:
        store.set_setting(_PORTS, ports | kept)
    return listening, stranded


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and 1024 <= value <= _LAST_PORT


def _bind(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would let two servers share the port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Continue after Ctrl-C or SIGTERM: uvicorn re-raises the signal that stopped it."""
    if threading.current_thread() is not threading.main_thread():  # no other thread gets signals
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _has_screen() -> bool:
    return (
        os.name == "nt" or sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ))
    )
