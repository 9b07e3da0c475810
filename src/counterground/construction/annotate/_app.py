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

from counterground.construction.annotate import _api as api
from counterground.construction.annotate import _pages as pages
from counterground.construction.annotate._guide import guide_picture
from counterground.construction.annotate._security import UsedLink
from counterground.construction.annotate._state import AppState
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import UnreadablePhoto, image_type, load_photo
from counterground.pool import TASKS

_LOSSLESS_PIXELS = 2_000_000
_SHOWN_BY_BROWSERS = {".jpg", ".png", ".webp", ".avif", ".bmp"}  # as they are; GIFs may be animations


def picture(path: Path) -> tuple[bytes, str]:
    """Return the bytes and the content type of a photo, which its first bytes decide, never its name.

    Files of formats that browsers show go out as they are. Others that ``load_photo`` reads are written anew,
    small ones as PNG, large ones as JPEG; so are animations, since models see only the first frame.

    Raises:
        UnreadablePhoto: it is missing, or not in a format that ``load_photo`` reads.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(path, (error.strerror or str(error)).lower()) from error
    kind = image_type(data)
    if kind is not None and kind.suffix in _SHOWN_BY_BROWSERS:
        return data, kind.mime
    image = load_photo(path).image
    written = BytesIO()
    if image.width * image.height <= _LOSSLESS_PIXELS:
        image.save(written, "PNG", compress_level=1)
        return written.getvalue(), "image/png"
    image.save(written, "JPEG", quality=95)
    return written.getvalue(), "image/jpeg"


Handler = Callable[[Request], Awaitable[Response]]


def build_app(state: AppState, *, port: int) -> Starlette:
    """Return the application; ``port`` names its cookie, since browsers share cookies between ports."""
    auth = _AuthRoutes(state, f"counterground_{port}")
    routes = [
        Route("/enter", auth.enter),
        Route("/", auth.page(lambda _who, _request: RedirectResponse(f"/label/{state.task}", 303))),
        Route("/label/{task}", auth.page(_task_page(state, "label"))),
        Route("/disagreements/{task}", auth.page(_task_page(state, "adjudicate"))),
        Route("/progress", auth.page(lambda who, _: _html(pages.progress_page(state, who)))),
        Route("/agreement", auth.page(lambda who, _: _html(pages.agreement_page(state, who)))),
        Route("/labels", auth.page(lambda who, _: _html(pages.labels_page(state, who)))),
        Route("/photo/{row:int}", auth.file(_photo)),
        Route("/guide", auth.file(_guide)),
        *(
            Route(f"/api/{name}", auth.action(action, body), methods=["POST"])
            for name, action, body in (
                ("next", api.next_photos, api.Next),
                ("remaining", api.remaining, api.OfTask),
                ("disagreements", api.disagreements, api.OfTask),
                ("events", api.record_events, api.Events),
                ("labels", api.set_labels, api.Labels),
                ("guidance", api.set_guidance, api.Guidance),
            )
        ),
        Mount("/static", StaticFiles(directory=str(files("counterground.construction.annotate") / "static"))),
    ]
    return Starlette(routes=routes, exception_handlers={404: _not_found})


class _AuthRoutes:
    """Routes that let annotators in, and check the session of every request."""

    def __init__(self, state: AppState, cookie: str) -> None:
        self._state = state
        self._cookie = cookie

    async def enter(self, request: Request) -> Response:
        """Exchange a one-time link for a session."""
        here = self._state.sessions.annotator(request.cookies.get(self._cookie))
        try:
            cookie = self._state.sessions.enter(request.query_params.get("token", ""))
        except UsedLink as link:
            if link.annotator == here:
                return RedirectResponse("/", 303)
            self._state.invite(link.annotator)
            text = "Each link opens the page once. A new one was printed in the terminal: open that one."
            return _html(pages.message_page("This link was already used", text), 403)
        if cookie is None:
            text = "Open the last link printed in the terminal."
            return _html(pages.message_page("This is not a link of this server", text), 403)
        # The page reloads by itself: a browser that came from a link on another site would not send a strict
        # cookie along with a redirect.
        page = pages.message_page("Welcome", "The page is opening.", refresh="/")
        answer = _html(page)
        answer.set_cookie(self._cookie, cookie, path="/", httponly=True, samesite="strict")
        return answer

    def page(self, draw: Callable[[str, Request], Response]) -> Handler:
        """Draw a page for whoever has a session."""

        async def handle(request: Request) -> Response:
            annotator = self._state.sessions.annotator(request.cookies.get(self._cookie))
            if annotator is None:
                text = "Open the last link printed in the terminal."
                return _html(pages.message_page("You are not signed in", text), 401)
            try:
                return await run_in_threadpool(draw, annotator, request)
            except CounterGroundError as error:
                return _html(pages.message_page("This did not work", str(error)), 500)

        return handle

    def file(self, read: Callable[[AppState, Request], Response]) -> Handler:
        """Send a picture to whoever has a session."""

        async def handle(request: Request) -> Response:
            if self._state.sessions.annotator(request.cookies.get(self._cookie)) is None:
                return _error(401, "You are not signed in.")
            return await run_in_threadpool(read, self._state, request)

        return handle

    def action(self, act: Callable[[AppState, Any], dict[str, Any]], kind: type[api.Body]) -> Handler:
        """Do what a page asks for, on behalf of the annotator it was opened for."""

        async def handle(request: Request) -> Response:
            annotator = self._state.sessions.annotator(request.cookies.get(self._cookie))
            if annotator is None:
                return _error(401, "Open the last link printed in the terminal.")
            try:
                body = kind.model_validate_json(await request.body())
            except ValidationError as error:
                first = error.errors()[0]
                return _error(422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}.")
            if body.annotator != annotator:
                return _error(409, f"{annotator} is now signed in in this browser, not {body.annotator}.")
            try:
                return JSONResponse(await run_in_threadpool(act, self._state, body))
            except UsageError as error:
                return _error(422, str(error))
            except CounterGroundError as error:
                return _error(503, str(error))

        return handle


def _task_page(state: AppState, mode: str) -> Callable[[str, Request], Response]:
    def draw(annotator: str, request: Request) -> Response:
        task = request.path_params["task"]
        if task not in TASKS:
            return _html(pages.message_page("Page not found", "Go back to the first page."), 404)
        return _html(pages.label_page(state, annotator, task, mode))

    return draw


def _photo(state: AppState, request: Request) -> Response:
    row = int(request.path_params["row"])
    path = state.queue.path_of(row) if row < 2**63 else None
    if path is None:
        return _error(404, "The pool has no such photo.")
    try:
        data, kind = picture(state.pool.photo_file(path))
    except UnreadablePhoto as error:
        return _error(415, f"This photo cannot be read: {error.reason}.")
    except CounterGroundError:  # its message names the file, which reveals the source
        return _error(404, "The file of this photo is missing, or lies outside the pool.")
    return Response(data, media_type=kind)


def _guide(state: AppState, request: Request) -> Response:
    place = request.query_params.get("place", "")
    if not (place.isascii() and place.isdigit() and len(place) < 3):
        return _error(404, "The guide has no such picture.")
    try:
        picture = guide_picture(state.pool, request.query_params.get("class", ""), int(place))
    except UnreadablePhoto as error:
        return _error(404, f"This picture of the guide cannot be read: {error.reason}.")
    return Response(picture, media_type="image/jpeg")


async def _not_found(_request: Request, _error: Exception) -> Response:
    return _html(pages.message_page("Page not found", "Go back to the first page."), 404)


def _html(text: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(text, status)


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status)
