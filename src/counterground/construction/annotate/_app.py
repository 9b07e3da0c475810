"""The routes of the pages that label a pool."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from counterground.construction.annotate import _api as api
from counterground.construction.annotate import _pages as pages
from counterground.construction.annotate._guide import guide_picture
from counterground.construction.annotate._state import AppState
from counterground.construction.annotate.web import (
    AuthRoutes,
    Events,
    error_answer,
    html,
    number_in,
    page_not_found,
    picture,
)
from counterground.construction.pool import TASKS
from counterground.errors import CounterGroundError
from counterground.photos import UnreadablePhoto


def build_app(state: AppState, *, port: int) -> Starlette:
    """Return the application of a server on ``port``."""
    auth = AuthRoutes(state.sessions, port, state.key)
    routes = [
        Route("/", auth.page(lambda _who, _request: RedirectResponse(f"/label/{state.task}", 303))),
        Route("/label/{task}", auth.page(_task_page(state, "label"))),
        Route("/disagreements/{task}", auth.page(_task_page(state, "adjudicate"))),
        Route("/progress", auth.page(lambda who, _: html(pages.progress_page(state, who)))),
        Route("/agreement", auth.page(lambda who, _: html(pages.agreement_page(state, who)))),
        Route("/labels", auth.page(lambda who, _: html(pages.labels_page(state, who)))),
        Route("/photo/{row}", auth.file(partial(_photo, state))),
        Route("/guide", auth.file(partial(_guide, state))),
        *(
            Route(f"/api/{name}", auth.action(partial(action, state), body), methods=["POST"])
            for name, action, body in (
                ("next", api.next_photos, api.Next),
                ("remaining", api.remaining, api.OfTask),
                ("disagreements", api.disagreements, api.OfTask),
                ("events", api.record_events, Events),
                ("labels", api.set_labels, api.Labels),
                ("guidance", api.set_guidance, api.Guidance),
            )
        ),
    ]
    return auth.app(routes)


def _task_page(state: AppState, mode: str) -> Callable[[str, Request], Response]:
    def draw(annotator: str, request: Request) -> Response:
        task = request.path_params["task"]
        if task not in TASKS:
            return page_not_found()
        return html(pages.label_page(state, annotator, task, mode))

    return draw


def _photo(state: AppState, request: Request) -> Response:
    row = number_in(request)
    found = None if row is None else state.queue.photo_of(row)
    if found is None:
        return error_answer(404, "The pool has no such photo.")
    try:
        data, kind = picture(state.pool.photo_file(found[0]), found[1])
    except UnreadablePhoto as error:
        return error_answer(415, f"This photo cannot be read: {error.reason}.")
    except CounterGroundError:  # its message names the file, which reveals the source
        return error_answer(404, "The file of this photo is missing, or lies outside the pool.")
    return Response(data, media_type=kind)


def _guide(state: AppState, request: Request) -> Response:
    place = request.query_params.get("place", "")
    if not (place.isascii() and place.isdigit() and len(place) < 3):
        return error_answer(404, "The guide has no such picture.")
    try:
        picture = guide_picture(state.pool, request.query_params.get("class", ""), int(place))
    except UnreadablePhoto as error:
        return error_answer(404, f"This picture of the guide cannot be read: {error.reason}.")
    return Response(picture, media_type="image/jpeg")
