"""The server: one process on this machine's own address, from the first link to the summary."""

from __future__ import annotations

import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, UsageError
from counterground.pool import IMPORTED, TASKS, Pool, open_pool

if TYPE_CHECKING:
    from counterground.construction.annotate._state import Desk


ADDRESS = "127.0.0.1"
_PORTS = "label_ports"


@dataclass(frozen=True)
class LabelSettings:
    """How labelling goes.

    Attributes:
        annotators: their names; each gets a link.
        task: "review" or "background": what the first page is about.
        port: 0 takes the one these annotators had before, else a free one.
        second: share (fraction) of the photos that two annotators decide on.
        order: of reviews, "blind" or "ranked" by what curation flagged.
        suggest: a dual encoder that suggests backgrounds; None suggests nothing.
        labels: a file with the labels of backgrounds, one a line; None leaves those of the pool.
        open_browser: open the first link.
    """

    annotators: Sequence[str]
    task: str = "background"
    port: int = 0
    second: float = 0.1
    order: str = "blind"
    suggest: str | None = None
    labels: Path | None = None
    open_browser: bool = False


@dataclass(frozen=True)
class Stopped:
    """What a server leaves: the decisions made by annotator, and the snapshot of the pool."""

    decisions: dict[str, int]
    snapshot: Path


def label_pool(path: str | Path, settings: LabelSettings, *, say: Callable[[str], None] = print) -> Stopped:
    """Serve the pages until Ctrl-C; return what was decided.

    Args:
        path: the pool.
        settings: how.
        say: prints a line.

    Raises:
        UsageError: no pool, a bad name, label or model, or what this needs is not installed.
        CounterGroundError: the pool has no photo, cannot be written, or the port is taken.
    """
    _check(settings)
    pool = open_pool(path)
    listening, stranded = _listen(pool, settings)
    try:
        desk = _open_desk(pool, str(path), settings, listening, say)
        before = desk.queue.last_decision()
        if stranded:
            say(stranded)
        with _until_stopped():
            for annotator in desk.sessions.annotators:
                desk.invite(annotator)
            say("Each link opens once. Ctrl-C stops.")
            if settings.open_browser and _has_screen():
                webbrowser.open(_link(desk, listening, desk.sessions.annotators[0]))
            _run(desk, listening)
        desk.queue.release(desk.sessions.annotators)
    finally:
        listening.close()
    made = desk.queue.made_since(before)
    return Stopped({name: made.get(name, 0) for name in desk.sessions.annotators}, pool.snapshot())


def _check(settings: LabelSettings) -> None:
    names = [name.strip() for name in settings.annotators]
    if not names:
        raise UsageError("Labelling needs the name of an annotator: add --annotator NAME.")
    for name in names:
        if not name or len(name) > 60 or not name.isprintable():
            raise UsageError(f"{name!r} is no name of an annotator: 1 to 60 printable letters.")
        if name == IMPORTED:
            raise UsageError(f"{IMPORTED!r} is the annotator of imported labels: choose another name.")
    if len({name.casefold() for name in names}) < len(names):
        raise UsageError(f"Annotators need different names, not {', '.join(names)}.")
    if settings.task not in TASKS:
        raise UsageError(f"Unknown task {settings.task!r}: there are {', '.join(TASKS)}.")
    if settings.order not in {"blind", "ranked"}:
        raise UsageError(f"Unknown order {settings.order!r}: there are blind, ranked.")
    if not 0 <= settings.second <= 1:
        raise UsageError(f"The share for a second annotator is between 0 and 1, not {settings.second}.")
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            f"Labelling needs the package {error.name}: run `pip install 'counterground[build]'`."
        ) from error


def _open_desk(
    pool: Pool, named: str, settings: LabelSettings, listening: socket.socket, say: Callable[[str], None]
) -> Desk:
    from counterground.construction.annotate._labels import check_labels, read_labels
    from counterground.construction.annotate._sessions import Sessions
    from counterground.construction.annotate._state import Desk
    from counterground.construction.annotate._suggest import Suggester
    from counterground.pool import Queue, pool_key

    queue = Queue(pool, second=settings.second, order=settings.order)  # type: ignore[arg-type]
    if settings.labels is not None:
        wanted = check_labels(read_labels(settings.labels), queue.uses("background"))
        pool.set_setting("background_labels", wanted)
    photos = sum(row.photos for row in queue.progress("review"))
    if not photos:
        raise CounterGroundError(f"The pool {named} has no photo: collect or import some first.")
    sessions = Sessions([name.strip() for name in settings.annotators])
    suggester = Suggester(settings.suggest) if settings.suggest else None
    width = max(map(len, sessions.annotators))

    def invite(annotator: str) -> None:
        say(f"{annotator:{width}}  {_link(desk, listening, annotator)}")

    desk = Desk(
        pool,
        queue,
        sessions,
        pool_key(pool),
        named,
        settings.task,
        settings.order == "ranked",
        suggester,
        invite,
    )
    say(f"{pool.root.name}: {photos:,} photos, {settings.task}.")
    return desk


def _link(desk: Desk, listening: socket.socket, annotator: str) -> str:
    return f"http://{ADDRESS}:{listening.getsockname()[1]}/enter?token={desk.sessions.new_token(annotator)}"


def _listen(pool: Pool, settings: LabelSettings) -> tuple[socket.socket, str]:
    """Listen on a port, and say what is lost where it is not the one these annotators had before.

    Browsers keep what they could not send by address, so a restarted server comes back under the same one.
    """
    found = pool.setting(_PORTS, {})
    ports = found if isinstance(found, dict) else {}
    names = [name.strip() for name in settings.annotators]
    usual = next((ports[name] for name in names if _is_port(ports.get(name))), 0)
    stranded = ""
    try:
        listening = _bind(settings.port or usual)
    except OSError as error:
        if settings.port:
            raise CounterGroundError(
                f"Port {settings.port} cannot be used: {error.strerror or error}. Leave --port out."
            ) from error
        listening = _bind(0)
        stranded = f"Port {usual}, used before, is taken: what browsers could not send to it waits for it."
    port = listening.getsockname()[1]
    kept = {name: port for name in names if stranded == "" and ports.get(name) != port}
    if kept:
        pool.set_setting(_PORTS, ports | kept)
    return listening, stranded


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and 1024 <= value <= 65535


def _bind(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would let two servers share the port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


def _run(desk: Desk, listening: socket.socket) -> None:
    import uvicorn

    from counterground.construction.annotate._app import build_app
    from counterground.construction.annotate._security import Guard

    port = listening.getsockname()[1]
    hosts = frozenset({f"{ADDRESS}:{port}", f"localhost:{port}"})

    def fail(error: Exception) -> None:
        print(f"A request failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

    config = uvicorn.Config(
        Guard(build_app(desk, port=port), hosts=hosts, fail=fail),
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
    """Go on after Ctrl-C, or a polite kill: uvicorn raises the signal that stopped it once more."""
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
