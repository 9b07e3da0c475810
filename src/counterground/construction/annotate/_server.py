"""A small server on this machine: sessions, the checks of requests, pages, pictures and answers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import signal
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qs

import jinja2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counterground.construction.pool import IMPORTED
from counterground.construction.settings import ServerSettings
from counterground.errors import CounterGroundError, UsageError, first_problem
from counterground.photos import UnreadablePhoto, image_type, load_photo, name_key

LOOPBACK = "127.0.0.1"
_MOST_BYTES = 64 << 20  # of a request: a few drawn masks
_MIME = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_SIGN_IN = "Open the last link printed in the terminal."

Body = dict[str, Any]


@dataclass(frozen=True)
class SessionSummary:
    """The result of a session: the number of decisions by annotator, and what is written, as a sentence."""

    decisions: dict[str, int]
    written: str


@dataclass(frozen=True)
class Site:
    """What a server shows; patterns match whole paths, and handlers get their groups as texts.

    Attributes:
        folder: the pool or the masks.
        home: path of the first page.
        pages: pattern -> function of the annotator and the groups that returns a page.
        pictures: pattern -> function of the groups that returns bytes and their content type.
        actions: name below ``/api/`` -> function of the annotator and the body that returns the answer.
    """

    folder: Path
    home: str
    pages: Mapping[str, Callable[..., str]]
    pictures: Mapping[str, Callable[..., tuple[bytes, str]]]
    actions: Mapping[str, Callable[[str, Body], Body]]

    @property
    def key(self) -> str:
        """Name of the pool in browsers: a page of another one, which had this port before, gets nothing."""
        return hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:16]


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


def serve(site: Site, settings: ServerSettings, say: Callable[[str], None]) -> None:
    """Print a link for each annotator and serve until Ctrl-C or SIGTERM.

    Raises:
        CounterGroundError: the port is taken.
    """
    with _Server(site, settings) as server, _until_stopped():
        links = server.links()
        width = max(map(len, links))
        for annotator, link in links.items():
            say(f"{annotator:{width}}  {link}")
        say("Press Ctrl-C to stop.")
        screen = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)
        if settings.open_browser and screen:
            webbrowser.open(next(iter(links.values())))
        server.serve_forever()


@contextmanager
def _until_stopped() -> Iterator[None]:
    """Continue after Ctrl-C or SIGTERM."""
    if threading.current_thread() is not threading.main_thread():  # no other thread gets signals
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class _Server(ThreadingHTTPServer):
    """Listens on loopback; each annotator has a token: it is in the link, then in the browser's cookie.

    The port follows from the pool and the annotator, since browsers keep unsent decisions by address: a
    restarted server has the same one, unless another program took it.
    """

    daemon_threads = True

    def __init__(self, site: Site, settings: ServerSettings) -> None:
        self.site = site
        self.tokens = {annotator: secrets.token_urlsafe(24) for annotator in settings.annotators}
        usual = hashlib.sha256(f"{site.key} {settings.annotators[0]}".encode()).digest()
        port = settings.port or 20_000 + int.from_bytes(usual[:2], "big") % 10_000
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            if settings.port:
                raise CounterGroundError(
                    f"Port {port} cannot be used: {error.strerror or error}. Leave out --port."
                ) from error
            super().__init__((LOOPBACK, 0), _Handler)

    def links(self) -> dict[str, str]:
        """Return each annotator's link."""
        address = f"http://{LOOPBACK}:{self.server_port}/enter?token="
        return {annotator: address + token for annotator, token in self.tokens.items()}

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where a browser hung up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = 120

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by its base
        """Print nothing: the terminal has the links."""

    def do_GET(self) -> None:
        """Answer with a page or a picture."""
        path, _, query = self.path.partition("?")
        asked, site = parse_qs(query), self.server.site
        if not self._from_here():
            self._fail(400, "This address is not of this server.")
        elif path == "/enter":
            self._enter(asked.get("token", [""])[0])
        elif path.startswith("/static/"):
            self._static(path.removeprefix("/static/"))
        elif (annotator := self._annotator()) is None:
            self._fail(401, f"You are not signed in. {_SIGN_IN}")
        elif page := _find(site.pages, path):
            self._guard(lambda: self._send(page(annotator).encode(), "text/html; charset=utf-8"))
        elif asked.get("pool", [site.key])[0] != site.key:
            self._fail(409, "This address now serves another pool, or other masks.")
        elif picture := _find(site.pictures, path):
            self._guard(lambda: self._send(*picture()))
        else:
            self._fail(404, "Page not found.")

    def do_POST(self) -> None:
        """Do what a page asks for, on behalf of the annotator it was opened for."""
        data = self.rfile.read(min(_MOST_BYTES, int(self.headers.get("Content-Length") or 0)))
        annotator, act = self._annotator(), self.server.site.actions.get(self.path.removeprefix("/api/"))
        if not self._from_here():
            self._fail(400, "This address is not of this server.")
        elif annotator is None or self.headers.get("Origin") != f"http://{self.headers['Host']}":
            self._fail(401, _SIGN_IN)  # another site may make a browser send
        elif act is None:
            self._fail(404, "Page not found.")
        else:
            self._guard(lambda: self._act(act, annotator, data))

    def _act(self, act: Callable[[str, Body], Body], annotator: str, data: bytes) -> None:
        body = Sender.model_validate_json(data)
        if body.annotator != annotator or body.pool not in (None, self.server.site.key):
            # Another link may have been opened since, or a server of another pool have taken the port.
            who = f"{annotator} is now signed in in this browser, not {body.annotator}."
            other = "This address now serves another pool, or other masks, than when this page was opened."
            self._fail(409, who if body.annotator != annotator else other)
            return
        answer = act(annotator, body.model_extra or {})
        self._send(json.dumps(answer).encode(), "application/json")

    def _guard(self, answer: Callable[[], None]) -> None:
        try:
            answer()
        except ValidationError as error:
            self._fail(422, f"{first_problem(error)}.")
        except UnreadablePhoto as error:  # its message would name the file, which reveals the source
            self._fail(415, f"This photo cannot be read: {error.reason}.")
        except UsageError as error:
            self._fail(422, str(error))
        except CounterGroundError as error:
            self._fail(503, str(error))

    def _from_here(self) -> bool:
        """Another site can point a name of its own to this machine (DNS rebinding)."""
        port = self.server.server_port
        return self.headers.get("Host") in (f"{LOOPBACK}:{port}", f"localhost:{port}")

    def _cookie(self) -> str:
        return f"counterground_{self.server.server_port}"  # browsers share cookies between ports

    def _annotator(self) -> str | None:
        sent = re.search(rf"{self._cookie()}=([\w-]+)", self.headers.get("Cookie", ""))
        return next((name for name, own in self.server.tokens.items() if sent and own == sent[1]), None)

    def _enter(self, token: str) -> None:
        """Keep the token of a link in a cookie.

        The page reloads by itself: a browser that came from a link on another site would not send a strict
        cookie with a redirect.
        """
        if token not in self.server.tokens.values():
            self._fail(403, f"This is not a link of this server. {_SIGN_IN}")
            return
        page = render("message.html.j2", {"text": "The page is opening.", "refresh": self.server.site.home})
        cookie = f"{self._cookie()}={token}; HttpOnly; Path=/; SameSite=strict"
        self._send(page.encode(), "text/html; charset=utf-8", cookie=cookie)

    def _static(self, name: str) -> None:
        file = files("counterground.construction.annotate") / "static" / name
        if re.fullmatch(r"\w+\.\w+", name) and file.is_file():
            self._send(file.read_bytes(), _MIME[Path(name).suffix])
        else:
            self._fail(404, "Page not found.")

    def _fail(self, status: int, text: str) -> None:
        if self.path.startswith(("/api/", "/photo/", "/mask/")):
            self._send(json.dumps({"error": text}).encode(), "application/json", status)
        else:
            page = render("message.html.j2", {"text": text, "refresh": ""})
            self._send(page.encode(), "text/html; charset=utf-8", status)

    def _send(self, content: bytes, kind: str, status: int = 200, cookie: str = "") -> None:
        self.send_response_only(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content))} | _HEADERS
        for name, value in (headers | ({"Set-Cookie": cookie} if cookie else {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _find(handlers: Mapping[str, Callable[..., Any]], path: str) -> Callable[..., Any] | None:
    """Return the handler of a path, which takes what goes before the groups of its pattern."""
    for pattern, handler in handlers.items():
        if match := re.fullmatch(pattern, path):
            groups = match.groups()
            return lambda *first, handler=handler: handler(*first, *groups)
    return None


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("counterground.construction.annotate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return the page of a template."""
    return _environment().get_template(template).render(context)


Token = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class Sent(BaseModel):
    """A part of a body: only its own fields, each of exactly its type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Sender(BaseModel):
    """The annotator and the pool that a page was opened for, in every body."""

    model_config = ConfigDict(extra="allow")
    annotator: str
    pool: str | None = None


class Next(Sent):
    """Asks for more photos; ``leased`` are those the page has, ``skipped`` those that come last."""

    task: str
    leased: list[str]
    count: Annotated[int, Field(ge=0, le=20)]
    skipped: list[str] = []


class Undo(Sent):
    """Undoes a decision, by its token; None is the annotator's last one."""

    kind: Literal["undo"]
    token: Token
    task: str
    of: Token | None
    adjudicates: bool = False


Decision = TypeVar("Decision", bound=Sent)


def record_each(
    events: Sequence[Body],
    decision: type[Decision],
    decide: Callable[[Decision], Body],
    undo: Callable[[Undo], Body],
) -> Body:
    """Record decisions and undos in order and answer each; a refused one does not block the others.

    Args:
        events: events as sent; what is no undo is a decision.
        decision: the type of decisions.
        decide: function that records a decision and returns the answer; it raises ``UsageError`` to refuse.
        undo: the same for an undo.
    """
    results = []
    for raw in events:
        result: Body = {"token": str(raw.get("token")), "ok": True}
        try:
            if raw.get("kind") == "undo":
                result |= undo(Undo.model_validate(raw))
            else:
                result |= decide(decision.model_validate(raw))
        except ValidationError as error:
            result |= {"ok": False, "error": f"{first_problem(error)}."}
        except UsageError as error:
            result |= {"ok": False, "error": str(error)}
        results.append(result)
    return {"results": results}


_LOSSLESS_PIXELS = 2_000_000
_LONGEST_JPEG = 65_500
_SHOWN_BY_BROWSERS = {".jpg", ".png", ".webp", ".avif", ".bmp"}  # as they are; GIFs may be animations


def picture(path: Path, photo_id: str | None, *, as_stored: bool = False) -> tuple[bytes, str]:
    """Return the bytes of a photo and its content type, which its first bytes decide, never its name.

    Files in formats that browsers show are sent unchanged. Others are re-encoded, small ones as PNG, large
    ones as JPEG; so are animations, since models see only the first frame.

    Args:
        path: the file.
        photo_id: SHA-256 that it must have; None: any.
        as_stored: never rotated upright or scaled, so that its pixels match those of a mask. Browsers follow
            the orientation in a photo's EXIF, and the size there if it fits the resolution there.

    Raises:
        UnreadablePhoto: the photo is missing, damaged, no photo, or has another ``photo_id``.
    """
    image = load_photo(path, expect_id=photo_id).image
    data = path.read_bytes()
    kind = image_type(data)
    if not as_stored and kind is not None and kind.suffix in _SHOWN_BY_BROWSERS:
        return data, kind.mime
    image.info.pop("exif", None)
    written = BytesIO()
    if image.width * image.height <= _LOSSLESS_PIXELS or max(image.size) > _LONGEST_JPEG:
        image.save(written, "PNG", compress_level=1)
        return written.getvalue(), "image/png"
    image.save(written, "JPEG", quality=95)
    return written.getvalue(), "image/jpeg"
