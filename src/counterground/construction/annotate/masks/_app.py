"""The routes of the page on which masks are reviewed."""

from __future__ import annotations

import shlex
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from counterground.construction.annotate.masks import _api as api
from counterground.construction.annotate.masks._files import mask_picture
from counterground.construction.annotate.masks._queue import MaskedPhoto
from counterground.construction.annotate.masks._state import ReviewState
from counterground.construction.annotate.web import (
    AuthRoutes,
    Events,
    error_answer,
    html,
    number_in,
    picture_as_stored,
    render,
)
from counterground.errors import UsageError
from counterground.photos import UnreadablePhoto


def build_app(state: ReviewState, *, port: int) -> Starlette:
    """Return the application of a server on ``port``."""
    auth = AuthRoutes(state.sessions, port, state.key)
    return auth.app(
        [
            Route("/", auth.page(lambda who, _request: html(_page(state, who)))),
            Route("/photo/{row}", auth.file(partial(_photo, state))),
            Route("/mask/{row}", auth.file(partial(_mask, state))),
            Route("/api/next", auth.action(partial(api.next_photos, state), api.Next), methods=["POST"]),
            Route("/api/events", auth.action(partial(api.record_events, state), Events), methods=["POST"]),
        ]
    )


def _page(state: ReviewState, annotator: str) -> str:
    named = shlex.quote(state.named)
    return render(
        "masks.html.j2",
        {
            "annotator": annotator,
            "key": state.key,
            "task": "masks",
            "pool_name": state.masks.folder.resolve().name,
            "refresh": "",
            "rough": state.masks.rough,
            "hint": f"counterground swap BENCHMARK -m MODEL --masks {named} --out RUN",
        },
    )


def _asked(state: ReviewState, request: Request) -> MaskedPhoto | None:
    row = number_in(request) or 0
    return state.queue.photos[row - 1] if 1 <= row <= len(state.queue.photos) else None


def _photo(state: ReviewState, request: Request) -> Response:
    photo = _asked(state, request)
    if photo is None:
        return error_answer(404, "There is no such photo.")
    try:
        data, kind = picture_as_stored(photo.file, photo.photo_id)
    except UnreadablePhoto as error:
        return error_answer(415, f"This photo cannot be read: {error.reason}.")
    return Response(data, media_type=kind)


def _mask(state: ReviewState, request: Request) -> Response:
    photo = _asked(state, request)
    if photo is None:
        return error_answer(404, "There is no such photo.")
    if request.query_params.get("of") not in (None, state.mask_id(photo) or ""):
        return error_answer(415, "This mask has been made again: reload the page to see it.")
    try:
        return Response(mask_picture(state.masks.folder, photo), media_type="image/png")
    except UsageError as error:
        return error_answer(415, str(error))
