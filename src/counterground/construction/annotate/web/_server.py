"""One process that serves pages to annotators, from the first link to Ctrl-C; on loopback by default."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
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

import h11
import segno
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from counterground.construction.annotate.web._security import MOST_BYTES, SecurityMiddleware, Sessions
from counterground.construction.pool import IMPORTED
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import name_key

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

LOOPBACK = "127.0.0.1"
_PORTS = "label_ports"
_LAST_PORT = 65535
_OPEN_DOOR = (
    "Warning: other machines can reach this page, and nothing is encrypted (no TLS). Anyone with a link can "
    "label in that name; anyone who can listen sees photos and decisions. Use a network that you trust."
)


@dataclass(frozen=True)
class ServerSettings:
    """Who takes part, and where the pages are.

    Attributes:
        annotators: their names; each gets a link.
        host: the address to listen on (IPv4); unless it is loopback, other machines can reach the page.
        port: the port; 0 takes the one these annotators had before, else a free one.
        open_browser: open the first link, unless it is for other machines: a link opens only once.
        patience: seconds that a request may take to arrive, including its body.
    """

    annotators: Sequence[str]
    host: str = LOOPBACK
    port: int = 0
    open_browser: bool = False
    patience: float = 120.0

    def __post_init__(self) -> None:
        named = [self.annotators] if isinstance(self.annotators, str) else self.annotators
        object.__setattr__(self, "annotators", tuple(name.strip() for name in named))

    def check(self) -> None:
        """Check host and names.

        Raises:
            UsageError: no host, a port out of range, no annotator, or names that cannot be used or
                distinguished.
        """
        if not self.host:
            raise UsageError("--host is empty: name an address of this machine, or 0.0.0.0 for all.")
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
        UsageError: this machine has no such address.
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

    @property
    def _is_loopback(self) -> bool:
        return ipaddress.ip_address(self._socket.getsockname()[0]).is_loopback

    def _link(self, annotator: str) -> str:
        token = self.sessions.new_token(annotator)
        return f"http://{_reached_at(self._socket)}:{self.port}/enter?token={token}"

    def invite(self, annotator: str) -> None:
        """Print a link that opens the page once, with a QR code if phones can reach it."""
        link = self._link(annotator)
        self._say(f"{annotator:{self._width}}  {link}")
        if not self._is_loopback:
            self._say(_qr_code(link))

    def serve(self, app: ASGIApp, *, most_bytes: int = MOST_BYTES) -> None:
        """Print the links and serve until Ctrl-C or SIGTERM; bodies have at most ``most_bytes``."""
        if self._stranded:
            self._say(self._stranded)
        with _until_stopped():
            if not self._is_loopback:
                self._say(_OPEN_DOOR)
            for annotator in self.sessions.annotators:
                self.invite(annotator)
            self._say("Each link opens once. Press Ctrl-C to stop.")
            if self._settings.open_browser and self._is_loopback and _has_screen():
                webbrowser.open(self._link(self.sessions.annotators[0]))
            self._run(app, most_bytes)

    def _run(self, app: ASGIApp, most_bytes: int) -> None:
        hosts = frozenset({f"{LOOPBACK}:{self.port}", f"localhost:{self.port}"})

        def fail(error: Exception) -> None:
            print(f"A request failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

        _allow_many_connections()
        config = uvicorn.Config(
            SecurityMiddleware(app, hosts=hosts, fail=fail, most_bytes=most_bytes),
            log_level="critical",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            http=_with_patience(self._settings.patience),
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


def _with_patience(seconds: float) -> type[H11Protocol]:
    """Return a protocol that closes its connection if a request takes this long to arrive.

    uvicorn itself waits for ever for a client that connects and sends nothing, or trickles its request.
    """

    class Patient(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._begun: float | None = self.loop.time()  # None: a whole request has arrived
            self._check = self.loop.call_later(seconds, self._close_if_late)

        def data_received(self, data: bytes) -> None:
            if self._begun is None:
                self._begun = self.loop.time()
            super().data_received(data)
            if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
                self._begun = None

        def connection_lost(self, exc: Exception | None) -> None:
            self._check.cancel()
            super().connection_lost(exc)

        def _close_if_late(self) -> None:
            left = seconds if self._begun is None else self._begun + seconds - self.loop.time()
            if left <= 0:
                self.transport.abort()
            else:
                self._check = self.loop.call_later(left, self._close_if_late)

    return Patient


def _allow_many_connections() -> None:
    """Raise this process's limit on open files to its maximum: each open connection takes one."""
    if resource is not None:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(settings: ServerSettings, store: SettingStore) -> tuple[socket.socket, str]:
    """Listen on a port; if the one these annotators had before is taken, say what cannot be sent."""
    found = store.setting(_PORTS, {})
    ports = found if isinstance(found, dict) else {}
    usual = next((ports[name] for name in settings.annotators if _is_port(ports.get(name))), 0)
    stranded = ""
    try:
        listening = _bind(settings.host, settings.port or usual)
    except OSError as error:
        if settings.port:
            raise CounterGroundError(
                f"Port {settings.port} cannot be used: {error.strerror or error}. Leave out --port."
            ) from error
        listening = _bind(settings.host, 0)
        stranded = f"Port {usual}, used before, is taken: decisions that browsers could not send wait for it."
    port = listening.getsockname()[1]
    kept = {name: port for name in settings.annotators if stranded == "" and ports.get(name) != port}
    if kept:
        store.set_setting(_PORTS, ports | kept)
    return listening, stranded


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and 1024 <= value <= _LAST_PORT


def _bind(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would let two servers share the port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, UnicodeError, TypeError) as error:  # the last for a null byte
        listening.close()
        if (
            isinstance(error, UnicodeError | TypeError | socket.gaierror)
            or error.errno == errno.EADDRNOTAVAIL
        ):
            raise UsageError(
                f"This machine has no address {host!r}: use --host with one of its own, or 0.0.0.0 for all."
            ) from error
        raise
    return listening


def _reached_at(listening: socket.socket) -> str:
    """Return the address others reach the socket at; if it is on all, the one routed to other networks."""
    address = str(listening.getsockname()[0])
    if not ipaddress.ip_address(address).is_unspecified:
        return address
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))  # sends nothing: it only looks up the route
        return str(probe.getsockname()[0])
    return LOOPBACK


def _qr_code(link: str) -> str:
    """Return the link as a QR code, two of its rows per line; dark on light in every terminal."""
    rows = [list(row) for row in segno.make(link, error="l", micro=False).matrix_iter(border=4)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    lines = (
        "".join(" ▄▀█"[2 * bool(upper) + bool(lower)] for upper, lower in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(f"\x1b[38;5;16;48;5;231m{line}\x1b[0m" for line in lines)


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
