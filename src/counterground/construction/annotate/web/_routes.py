"""Routes that every page has: the way in, and the check of access to the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import jinja2
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

from counterground._version import __version__
from counterground.construction.annotate.web._server import LOOPBACK, Sessions
from counterground.errors import CounterGroundError, UsageError, first_problem
from counterground.text import decimal, duration, percent

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
    environment.filters |= {
        "decimal": decimal,
        "duration": duration,
        "number": "{:,}".format,
        "percent": percent,
    }
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
