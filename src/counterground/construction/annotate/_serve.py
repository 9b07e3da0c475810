"""The server: one process, from the first link to the summary; on loopback unless asked otherwise."""

from __future__ import annotations

import errno
import ipaddress
import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import segno
import uvicorn

from counterground.construction.annotate._app import build_app
from counterground.construction.annotate._labels import check_labels, read_labels
from counterground.construction.annotate._security import SecurityMiddleware, Sessions
from counterground.construction.annotate._state import AppState
from counterground.construction.annotate._suggest import Suggester
from counterground.errors import CounterGroundError, UsageError
from counterground.pool import IMPORTED, TASKS, Pool, Queue, open_pool

LOOPBACK = "127.0.0.1"
_PORTS = "label_ports"
_OPEN_DOOR = (
    "Warning: other machines can reach this page, and nothing is encrypted (no TLS). Anyone with a link can "
    "label in that name; anyone who can listen sees photos and decisions. Use a network that you trust."
)


@dataclass(frozen=True)
class LabelSettings:
    """What a labelling session is about.

    Attributes:
        annotators: their names; each gets a link.
        task: "review" or "background": what the first page is about.
        host: the address to listen at (IPv4); other than loopback, other machines can reach the page.
        port: 0 takes the one these annotators had before, else a free one.
        second: share (fraction) of the photos that two annotators decide on, once two take part.
        order: of reviews, "blind" or "ranked" (what curation flagged comes first).
        suggest: a dual encoder that suggests backgrounds; None suggests nothing.
        labels: a file with the labels of backgrounds, one a line; None leaves those of the pool.
        open_browser: open the first link, unless it is for other machines: it opens once.
    """

    annotators: Sequence[str]
    task: str = "background"
    host: str = LOOPBACK
    port: int = 0
    second: float = 0.1
    order: str = "blind"
    suggest: str | None = None
    labels: Path | None = None
    open_browser: bool = False


@dataclass(frozen=True)
class SessionSummary:
    """What a session leaves: how many decisions each annotator made, and the snapshot of the pool."""

    decisions: dict[str, int]
    snapshot: Path


def label_pool(
    path: str | Path, settings: LabelSettings, *, say: Callable[[str], None] = print
) -> SessionSummary:
    """Serve the pages until Ctrl-C; return what was decided.

    Args:
        path: the pool.
        settings: how.
        say: prints a line.

    Raises:
        UsageError: no pool, or a bad name, label, model or host.
        CounterGroundError: the pool has no photo, cannot be written, or the port is taken.
    """
    _check(settings)
    with open_pool(path) as pool:
        listening, stranded = _listen(pool, settings)
        with listening:
            state = _open_state(pool, str(path), settings, listening, say)
            before = state.queue.last_decision()
            if stranded:
                say(stranded)
            with _until_stopped():
                if not _is_loopback(listening):
                    say(_OPEN_DOOR)
                for annotator in state.sessions.annotators:
                    state.invite(annotator)
                say("Each link opens once. Press Ctrl-C to stop.")
                if settings.open_browser and _is_loopback(listening) and _has_screen():
                    webbrowser.open(_link(state, listening, state.sessions.annotators[0]))
                _run(state, listening)
            state.queue.release(state.sessions.annotators)
        made = state.queue.made_since(before)
        return SessionSummary(
            {name: made.get(name, 0) for name in state.sessions.annotators}, pool.snapshot()
        )


def _check(settings: LabelSettings) -> None:
    if not settings.host:
        raise UsageError("--host is empty: name an address of this machine, or 0.0.0.0 for all.")
    names = [name.strip() for name in settings.annotators]
    if not names:
        raise UsageError("Labelling needs an annotator's name: add --annotator NAME.")
    for name in names:
        if not name or len(name) > 60 or not name.isprintable():
            raise UsageError(f"{name!r} cannot be an annotator's name: use 1 to 60 printable characters.")
        if name == IMPORTED:
            raise UsageError(f"{IMPORTED!r} is the annotator of imported labels: choose another name.")
    if len({name.casefold() for name in names}) < len(names):
        raise UsageError(f"Annotators need different names, not {', '.join(names)}.")
    if settings.task not in TASKS:
        raise UsageError(f"Unknown task {settings.task!r}: choose {' or '.join(TASKS)}.")
    if settings.order not in {"blind", "ranked"}:
        raise UsageError(f"Unknown order {settings.order!r}: choose blind or ranked.")
    if not 0 <= settings.second <= 1:
        raise UsageError(f"The share for a second annotator must lie between 0 and 1, not {settings.second}.")


def _open_state(
    pool: Pool, named: str, settings: LabelSettings, listening: socket.socket, say: Callable[[str], None]
) -> AppState:
    names = [name.strip() for name in settings.annotators]
    queue = Queue(pool, second=settings.second, order=settings.order, annotators=names)  # type: ignore[arg-type]
    if settings.labels is not None:
        wanted = check_labels(read_labels(settings.labels), queue.uses("background"))
        pool.set_setting("background_labels", wanted)
    photos = sum(row.photos for row in queue.progress("review"))
    if not photos:
        raise CounterGroundError(f"The pool {named} has no photos: collect or import some first.")
    sessions = Sessions(names)
    suggester = Suggester(settings.suggest) if settings.suggest else None
    width = max(map(len, sessions.annotators))

    def invite(annotator: str) -> None:
        link = _link(state, listening, annotator)
        say(f"{annotator:{width}}  {link}")
        if not _is_loopback(listening):
            say(_qr_code(link))

    state = AppState(
        pool,
        queue,
        sessions,
        key=pool.key(),
        named=named,
        task=settings.task,
        ranked=settings.order == "ranked",
        suggester=suggester,
        invite=invite,
    )
    say(f"{pool.root.name}: {photos:,} photos, {settings.task}.")
    return state


def _link(state: AppState, listening: socket.socket, annotator: str) -> str:
    port = listening.getsockname()[1]
    return f"http://{_reached_at(listening)}:{port}/enter?token={state.sessions.new_token(annotator)}"


def _is_loopback(listening: socket.socket) -> bool:
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def _reached_at(listening: socket.socket) -> str:
    """Return the address others reach the socket at; of all, the one on the way to other networks."""
    address = str(listening.getsockname()[0])
    if not ipaddress.ip_address(address).is_unspecified:
        return address
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.1", 9))  # sends nothing: it only looks up the route
        return str(probe.getsockname()[0])
    return LOOPBACK


def _qr_code(link: str) -> str:
    """Return the link as a QR code, two rows of it in a line; dark on light in every terminal."""
    rows = [list(row) for row in segno.make(link, error="l", micro=False).matrix_iter(border=4)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    lines = (
        "".join(" ▄▀█"[2 * bool(upper) + bool(lower)] for upper, lower in zip(*pair, strict=True))
        for pair in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(f"\x1b[38;5;16;48;5;231m{line}\x1b[0m" for line in lines)


def _listen(pool: Pool, settings: LabelSettings) -> tuple[socket.socket, str]:
    """Listen on a port, and say what cannot be sent where it is not the one these annotators had before.

    Browsers store unsent decisions by address, so a restarted server returns to the same one.
    """
    found = pool.setting(_PORTS, {})
    ports = found if isinstance(found, dict) else {}
    names = [name.strip() for name in settings.annotators]
    usual = next((ports[name] for name in names if _is_port(ports.get(name))), 0)
    stranded = ""
    try:
        listening = _bind(settings.host, settings.port or usual)
    except OSError as error:
        if settings.port:
            raise CounterGroundError(
                f"Port {settings.port} cannot be used: {error.strerror or error}. Leave out --port."
            ) from error
        listening = _bind(settings.host, 0)
        stranded = f"Port {usual}, used before, is taken: decisions that browsers could not send await it."
    port = listening.getsockname()[1]
    kept = {name: port for name in names if stranded == "" and ports.get(name) != port}
    if kept:
        pool.set_setting(_PORTS, ports | kept)
    return listening, stranded


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and 1024 <= value <= 65535


def _bind(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would let two servers share the port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, UnicodeError) as error:
        listening.close()
        if isinstance(error, UnicodeError | socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(
                f"This machine has no address {host!r}: use --host with one of its own, or 0.0.0.0 for all."
            ) from error
        raise
    return listening


def _run(state: AppState, listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    hosts = frozenset({f"{LOOPBACK}:{port}", f"localhost:{port}"})

    def fail(error: Exception) -> None:
        print(f"A request failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    config = uvicorn.Config(
        SecurityMiddleware(build_app(state, port=port), hosts=hosts, fail=fail),
        log_level="critical",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Continue after Ctrl-C or SIGTERM: uvicorn raises the signal that stopped it once more."""
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
