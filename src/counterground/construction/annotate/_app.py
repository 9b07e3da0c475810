"""The routes of the server, and who may use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from counterground.construction.annotate import _actions as actions
from counterground.construction.annotate import _bodies as bodies
from counterground.construction.annotate import _pages as pages
from counterground.construction.annotate._sessions import UsedLink
from counterground.construction.annotate._state import Desk
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import UnreadablePhoto, load_photo
from counterground.pool import TASKS

_LOSSLESS_PIXELS = 2_000_000
_TYPES = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"), (b"BM", "image/bmp"))


def picture(path: Path) -> tuple[bytes, str]:
    """Return the bytes and the content type of a photo, which its first bytes decide, never its name.

    Files of formats that browsers show go out as they are. Others that ``load_photo`` reads are written anew,
    small ones as PNG, large ones as JPEG; so are animations, of which models see the first frame.

    Raises:
        UnreadablePhoto: it is missing, or none of the formats ``load_photo`` reads.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(path, (error.strerror or str(error)).lower()) from error
    kind = _kind(data)
    if kind is not None:
        return data, kind
    image = load_photo(path).image
    written = BytesIO()
    if image.width * image.height <= _LOSSLESS_PIXELS:
        image.save(written, "PNG", compress_level=1)
        return written.getvalue(), "image/png"
    image.save(written, "JPEG", quality=95)
    return written.getvalue(), "image/jpeg"


def _kind(data: bytes) -> str | None:
    for start, kind in _TYPES:
        if data.startswith(start):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp" and data[8:12] in {b"avif", b"avis"}:
        return "image/avif"
    return None


Handler = Callable[[Request], Awaitable[Response]]


def build_app(desk: Desk, *, port: int) -> Starlette:
    """Return the application; ``port`` names its cookie, since browsers share cookies between ports."""
    door = _Door(desk, f"counterground_{port}")
    routes = [
        Route("/enter", door.enter),
        Route("/", door.page(lambda _who, _request: RedirectResponse(f"/label/{desk.task}", 303))),
        Route("/label/{task}", door.page(_task_page(desk, "label"))),
        Route("/disagreements/{task}", door.page(_task_page(desk, "settle"))),
        Route("/progress", door.page(lambda who, _: _html(pages.progress_page(desk, who)))),
        Route("/agreement", door.page(lambda who, _: _html(pages.agreement_page(desk, who)))),
        Route("/labels", door.page(lambda who, _: _html(pages.labels_page(desk, who)))),
        Route("/photo/{row:int}", door.photo),
        *(
            Route(f"/api/{name}", door.action(action, body), methods=["POST"])
            for name, action, body in (
                ("next", actions.next_photos, bodies.Next),
                ("rest", actions.rest, bodies.OfTask),
                ("disputes", actions.disputes, bodies.OfTask),
                ("events", actions.record_events, bodies.Events),
                ("labels", actions.set_labels, bodies.Labels),
                ("guidance", actions.set_guidance, bodies.Guidance),
            )
        ),
        Mount("/static", StaticFiles(directory=str(files("counterground.construction.annotate") / "static"))),
    ]
    return Starlette(routes=routes, exception_handlers={404: _not_found})


class _Door:
    """Lets annotators in, and asks every request whose it is."""

    def __init__(self, desk: Desk, cookie: str) -> None:
        self._desk = desk
        self._cookie = cookie

    async def enter(self, request: Request) -> Response:
        """Exchange a one-time link for a session."""
        here = self._desk.sessions.annotator(request.cookies.get(self._cookie))
        try:
            cookie = self._desk.sessions.enter(request.query_params.get("token", ""))
        except UsedLink as link:
            if link.annotator == here:
                return RedirectResponse("/", 303)
            self._desk.invite(link.annotator)
            text = "Each link opens the page once. A new one was printed in the terminal: open that."
            return _html(pages.message_page("This link was used already", text), 403)
        if cookie is None:
            text = "Open the link that was printed in the terminal last."
            return _html(pages.message_page("This is no link of this server", text), 403)
        # The browser goes on by itself: had it come from a link on another site, it would not send a strict
        # cookie along with a redirect.
        page = pages.message_page("Welcome", "The page opens.", refresh="/")
        answer = _html(page)
        answer.set_cookie(self._cookie, cookie, path="/", httponly=True, samesite="strict")
        return answer

    def page(self, draw: Callable[[str, Request], Response]) -> Handler:
        """Draw a page for whoever has a session."""

        async def handle(request: Request) -> Response:
            annotator = self._desk.sessions.annotator(request.cookies.get(self._cookie))
            if annotator is None:
                text = "Open the link that was printed in the terminal last."
                return _html(pages.message_page("Nobody is signed in here", text), 401)
            try:
                return await run_in_threadpool(draw, annotator, request)
            except CounterGroundError as error:
                return _html(pages.message_page("This did not work", str(error)), 500)

        return handle

    async def photo(self, request: Request) -> Response:
        """Send a photo of the pool."""
        if self._desk.sessions.annotator(request.cookies.get(self._cookie)) is None:
            return _error(401, "Nobody is signed in here.")
        return await run_in_threadpool(_photo, self._desk, int(request.path_params["row"]))

    def action(self, act: Callable[[Desk, Any], dict[str, Any]], kind: type[bodies.Body]) -> Handler:
        """Do what a page asks for, for the annotator it was opened for."""

        async def handle(request: Request) -> Response:
            annotator = self._desk.sessions.annotator(request.cookies.get(self._cookie))
            if annotator is None:
                return _error(401, "Open the link that was printed in the terminal last.")
            try:
                body = kind.model_validate_json(await request.body())
            except ValidationError as error:
                first = error.errors()[0]
                return _error(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}.")
            if body.annotator != annotator:
                return _error(409, f"In this browser {annotator} is signed in now, not {body.annotator}.")
            try:
                return JSONResponse(await run_in_threadpool(act, self._desk, body))
            except UsageError as error:
                return _error(422, str(error))
            except CounterGroundError as error:
                return _error(503, str(error))

        return handle


def _task_page(desk: Desk, mode: str) -> Callable[[str, Request], Response]:
    def draw(annotator: str, request: Request) -> Response:
        task = request.path_params["task"]
        if task not in TASKS:
            return _html(pages.message_page("There is no such page", "Go back to the first page."), 404)
        return _html(pages.label_page(desk, annotator, task, mode))

    return draw


def _photo(desk: Desk, row: int) -> Response:
    path = desk.queue.path_of(row) if row < 2**63 else None
    if path is None:
        return _error(404, "The pool has no such photo.")
    try:
        data, kind = picture(desk.pool.photo_file(path))
    except UnreadablePhoto as error:
        return _error(415, f"This photo cannot be read: {error.reason}.")
    except CounterGroundError:  # its message names the file, and that tells the source
        return _error(404, "The file of this photo is missing, or lies outside the pool.")
    return Response(data, media_type=kind)


async def _not_found(_request: Request, _error: Exception) -> Response:
    return _html(pages.message_page("There is no such page", "Go back to the first page."), 404)


def _html(text: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(text, status)


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)
