"""The server of the label and mask pages: sessions, the checks of requests, and pictures."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Protocol, Self

import jinja2
import uvicorn
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from counterground._version import __version__
from counterground.construction.pool import IMPORTED
from counterground.construction.settings import ServerSettings
from counterground.errors import CounterGroundError, UsageError, first_problem
from counterground.photos import UnreadablePhoto, image_type, load_photo, name_key
from counterground.text import duration

LOOPBACK = "127.0.0.1"
_PORTS = "label_ports"


def check_names(settings: ServerSettings) -> None:
    """Refuse annotators whose names cannot be used or distinguished.

    Raises:
        UsageError: there are some, or there is nobody.
    """
    keys = {name_key(name) for name in settings.annotators if name.isprintable()} - {"", IMPORTED}
    if not keys or len(keys) < len(settings.annotators):
        raise UsageError(
            f"Annotators need different names, and {IMPORTED!r} is the annotator of imported labels: "
            f"choose others than {', '.join(map(repr, settings.annotators))}."
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


_LOSSLESS_PIXELS = 2_000_000
_LONGEST_JPEG = 65_500
_SHOWN_BY_BROWSERS = {".jpg", ".png", ".webp", ".avif", ".bmp"}  # as they are; GIFs may be animations


def picture(path: Path, photo_id: str | None = None) -> tuple[bytes, str]:
    """Return the bytes of a photo and its content type, which its first bytes decide, never its name.

    Files in formats that browsers show are sent unchanged. Others that ``load_photo`` reads are re-encoded,
    small ones as PNG, large ones as JPEG; so are animations, since models see only the first frame.

    Raises:
        UnreadablePhoto: the photo is missing, not in a format that ``load_photo`` reads, or has another
            SHA-256 than ``photo_id``, if that is given.
    """
    data = _read(path)
    kind = image_type(data)
    if kind is not None and kind.suffix in _SHOWN_BY_BROWSERS:
        shown = data, kind.mime
    else:
        shown = _written(load_photo(path).image)
    if photo_id is not None and hashlib.sha256(data).hexdigest() != photo_id:
        raise UnreadablePhoto(path, "it has changed since it was added to the pool")
    return shown


def picture_as_stored(path: Path, photo_id: str) -> tuple[bytes, str]:
    """Return the same as ``picture``, but never rotated upright or scaled: its pixels match those of a mask.

    Browsers follow the orientation in a photo's EXIF, and the size there if it fits the resolution there.

    Raises:
        UnreadablePhoto: see ``picture``; or the photo is damaged or has another ``photo_id``.
    """
    image = load_photo(path, expect_id=photo_id).image
    image.info.pop("exif", None)
    return _written(image)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(path, (error.strerror or str(error)).lower()) from error


def _written(image: Image.Image) -> tuple[bytes, str]:
    written = BytesIO()
    if image.width * image.height <= _LOSSLESS_PIXELS or max(image.size) > _LONGEST_JPEG:
        image.save(written, "PNG", compress_level=1)
        return written.getvalue(), "image/png"
    image.save(written, "JPEG", quality=95)
    return written.getvalue(), "image/jpeg"


Token = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Sent(BaseModel):
    """A part of a body: only its own fields, each of exactly its type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Body(Sent):
    """A body, which names the annotator and the pool its page was opened for.

    Another link may have been opened since, or a server of another pool have taken the port.
    """

    annotator: Text
    pool: str | None = None


class Events(Body):
    """Decisions and undos in the order they were made; each is checked on its own."""

    events: Annotated[list[dict[str, Any]], Field(max_length=200)]


def record_each(
    events: Sequence[dict[str, Any]], record: Callable[[dict[str, Any]], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Record events in order and return an answer to each; a refused one does not block the others.

    Args:
        events: events as sent.
        record: function that checks and records an event and returns the answer to it; it raises
            ``ValidationError`` or ``UsageError`` to refuse.
    """
    results = []
    for raw in events:
        try:
            result = {"ok": True} | record(raw)
        except ValidationError as error:
            result = {"ok": False, "error": f"{first_problem(error)}."}
        except UsageError as error:
            result = {"ok": False, "error": str(error)}
        results.append({"token": str(raw.get("token"))} | result)
    return results


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("counterground.construction.annotate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "number": "{:,}".format}
    environment.globals |= {"version": __version__}
    return environment


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return the page of a template."""
    return _environment().get_template(template).render(context)


def message_page(title: str, text: str, *, refresh: str = "") -> str:
    """Return a page with one message, which continues to ``refresh`` if that is given."""
    return render("message.html.j2", {"title": title, "text": text, "refresh": refresh})


Handler = Callable[[Request], Awaitable[Response]]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_OTHER_POOL = "This address now serves another pool, or other masks, than when this page was opened."


class AuthRoutes:
    """Routes that let annotators in, and check the session of every request.

    Args:
        sessions: the annotators' sessions.
        port: port of the server; it names the cookie, since browsers share cookies between ports.
        key: name of the pool; a page of another one, which had this port before, gets nothing.
    """

    def __init__(self, sessions: Sessions, port: int, key: str) -> None:
        self._sessions = sessions
        self._key = key
        self._cookie = f"counterground_{port}"

    def app(self, routes: Sequence[BaseRoute]) -> Starlette:
        """Return an application with these routes, the way in, and the files that pages load."""
        static = StaticFiles(directory=str(files("counterground.construction.annotate") / "static"))
        shared = (Route("/enter", self._enter), Mount("/static", static))
        # Another site can point a name of its own to this machine (DNS rebinding).
        trusted = Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"])
        policy = Middleware(BaseHTTPMiddleware, dispatch=_with_policy)
        return Starlette(
            routes=[*routes, *shared], middleware=[policy, trusted], exception_handlers={404: _not_found}
        )

    async def _enter(self, request: Request) -> Response:
        """Keep the token of a link in a cookie."""
        token = request.query_params.get("token", "")
        if self._sessions.annotator(token) is None:
            text = "Open the last link printed in the terminal."
            return html(message_page("This is not a link of this server", text), 403)
        # The page reloads by itself: a browser that came from a link on another site would not send a strict
        # cookie with a redirect.
        answer = html(message_page("Welcome", "The page is opening.", refresh="/"))
        answer.set_cookie(self._cookie, token, path="/", httponly=True, samesite="strict")
        return answer

    def page(self, draw: Callable[[str, Request], Response]) -> Handler:
        """Draw a page for whoever has a session."""

        async def handle(request: Request) -> Response:
            annotator = self._annotator(request)
            if annotator is None:
                text = "Open the last link printed in the terminal."
                return html(message_page("You are not signed in", text), 401)
            try:
                return await run_in_threadpool(draw, annotator, request)
            except CounterGroundError as error:
                return html(message_page("This did not work", str(error)), 500)

        return handle

    def file(self, read: Callable[[Request], Response]) -> Handler:
        """Send a picture to whoever has a session."""

        async def handle(request: Request) -> Response:
            if self._annotator(request) is None:
                return error_answer(401, "You are not signed in.")
            if request.query_params.get("pool", self._key) != self._key:
                return error_answer(409, _OTHER_POOL)
            return await run_in_threadpool(read, request)

        return handle

    def action(self, act: Callable[[Any], dict[str, Any]], kind: type[Body]) -> Handler:
        """Do what a page asks for, on behalf of the annotator it was opened for."""

        async def handle(request: Request) -> Response:
            annotator = self._annotator(request)
            if annotator is None:
                return error_answer(401, "Open the last link printed in the terminal.")
            try:
                body = kind.model_validate_json(await request.body())
            except ValidationError as error:
                return error_answer(422, f"{first_problem(error)}.")
            if body.annotator != annotator or body.pool not in (None, self._key):
                who = f"{annotator} is now signed in in this browser, not {body.annotator}."
                return error_answer(409, who if body.annotator != annotator else _OTHER_POOL)
            try:
                return JSONResponse(await run_in_threadpool(act, body))
            except UsageError as error:
                return error_answer(422, str(error))
            except CounterGroundError as error:
                return error_answer(503, str(error))

        return handle

    def _annotator(self, request: Request) -> str | None:
        """Return whose session a request has; a POST must also come from a page of this server."""
        if request.method == "POST" and request.headers.get("origin") != f"http://{request.headers['host']}":
            return None
        return self._sessions.annotator(request.cookies.get(self._cookie))


def html(text: str, status: int = 200) -> HTMLResponse:
    """Return a page as a response."""
    return HTMLResponse(text, status)


def page_not_found() -> HTMLResponse:
    """Return the response for a page that does not exist."""
    return html(message_page("Page not found", "Go back to the first page."), 404)


def error_answer(status: int, text: str) -> JSONResponse:
    """Return a response that says in one sentence what is wrong."""
    return JSONResponse({"error": text}, status)


async def _with_policy(request: Request, call_next: RequestResponseEndpoint) -> Response:
    answer = await call_next(request)
    answer.headers.update(_HEADERS)
    return answer


async def _not_found(_request: Request, _error: Exception) -> Response:
    return page_not_found()
