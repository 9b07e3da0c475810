"""One process that serves pages to annotators on this machine, from the first link to Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import secrets
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

from counterground.arguments import texts
from counterground.construction.pool import IMPORTED
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import name_key

LOOPBACK = "127.0.0.1"
_PORTS = "label_ports"


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
        names = texts("annotators", self.annotators)
        object.__setattr__(self, "annotators", tuple(name.strip() for name in names))

    def check(self) -> None:
        """Check the names.

        Raises:
            UsageError: names that cannot be used or distinguished.
        """
        keys = {name_key(name) for name in self.annotators if name.isprintable()} - {"", IMPORTED}
        if not keys or len(keys) < len(self.annotators):
            raise UsageError(
                f"Annotators need different names, and {IMPORTED!r} is the annotator of imported labels: "
                f"choose others than {', '.join(map(repr, self.annotators))}."
            )


class Sessions:
    """The annotators, each with a token: it is in the link, then in the cookie of the browser."""

    def __init__(self, annotators: Sequence[str]) -> None:
        self.annotators = tuple(annotators)
        self.tokens = {annotator: secrets.token_urlsafe(24) for annotator in annotators}

    def annotator(self, token: str | None) -> str | None:
        """Return the annotator whose token it is, None if it is nobody's."""
        return next((name for name, own in self.tokens.items() if own == token), None)


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
        self._socket = _listen(settings, store, say)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def _link(self, annotator: str) -> str:
        return f"http://{LOOPBACK}:{self.port}/enter?token={self.sessions.tokens[annotator]}"

    def serve(self, app: ASGIApp) -> None:
        """Print the links and serve until Ctrl-C or SIGTERM."""
        with _until_stopped():
            for annotator in self.sessions.annotators:
                self._say(f"{annotator:{self._width}}  {self._link(annotator)}")
            self._say("Press Ctrl-C to stop.")
            if self._settings.open_browser and _has_screen():
                webbrowser.open(self._link(self.sessions.annotators[0]))
            config = uvicorn.Config(
                app,
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


def _listen(settings: ServerSettings, store: SettingStore, say: Callable[[str], None]) -> socket.socket:
    """Listen on the port that is asked for, else on that of these annotators, else on a free one."""
    ports: dict[str, int] = store.setting(_PORTS, {})
    usual = next((ports[name] for name in settings.annotators if name in ports), 0)
    try:
        listening = _bind(settings.port or usual)
    except OSError as error:
        if settings.port:
            raise CounterGroundError(
                f"Port {settings.port} cannot be used: {error.strerror or error}. Leave out --port."
            ) from error
        say(f"Port {usual}, used before, is taken: decisions that browsers could not send wait for it.")
        return _bind(0)
    kept = ports | dict.fromkeys(settings.annotators, listening.getsockname()[1])
    if kept != ports:
        store.set_setting(_PORTS, kept)
    return listening


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
