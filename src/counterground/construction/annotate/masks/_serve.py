"""Reviewing masks: the server from the first link to the summary."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from counterground.construction.annotate.masks import _api as api
from counterground.construction.annotate.masks._api import MOST_BYTES
from counterground.construction.annotate.masks._queue import MaskedPhoto, MaskQueue, mask_picture
from counterground.construction.annotate.masks._state import ReviewState
from counterground.construction.annotate.web import (
    AnnotatorServer,
    AuthRoutes,
    Events,
    ServerSettings,
    error_answer,
    html,
    number_in,
    picture_as_stored,
    render,
)
from counterground.errors import CounterGroundError, UsageError
from counterground.files import is_folder
from counterground.masks import MaskDecisions, Masks, read_masks
from counterground.photos import UnreadablePhoto
from counterground.text import counted


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


_KEY = "key"


@dataclass(frozen=True)
class ReviewSummary:
    """The result of a review: how many decisions each annotator made, and the masks as they stand now."""

    decisions: dict[str, int]
    masks: Masks


def review_masks(
    folder: str | Path, settings: ServerSettings, *, say: Callable[[str], None] = print
) -> ReviewSummary:
    """Serve the page until Ctrl-C; return what was decided.

    Args:
        folder: the folder that ``make_masks`` wrote.
        settings: who takes part, and where.
        say: function that prints a line.

    Raises:
        UsageError: there are no masks, or a name or host cannot be used.
        CounterGroundError: a file is damaged, the photos are gone, or the port is taken.
    """
    settings.check()
    masks = read_masks(folder, reviewed=False)
    queue = MaskQueue(masks, _photos_root(masks))
    decisions = MaskDecisions(masks.folder)
    with AnnotatorServer(settings, decisions, say) as server:
        state = ReviewState(masks, queue, decisions, server.sessions, _key(decisions), str(folder))
        failing = sum(bool(photo.reason) for photo in queue.photos)
        photos = counted(len(queue.photos), "photo")
        say(f"{masks.folder.resolve().name}: {photos}, {failing:,} of them without a usable mask.")
        before = decisions.last()
        server.serve(build_app(state, port=server.port), most_bytes=MOST_BYTES)
    made = decisions.made_since(before)
    return ReviewSummary({name: made.get(name, 0) for name in settings.annotators}, read_masks(folder))


def _photos_root(masks: Masks) -> Path:
    way = masks.description.get("photos")
    if not isinstance(way, str):
        raise CounterGroundError(f"{masks.folder} does not say where its photos are: make the masks again.")
    root = masks.folder / way
    if not is_folder(root):
        raise CounterGroundError(
            f"The photos of the masks in {masks.folder} are not at {root} any more: move them back there."
        )
    return root.resolve()


def _key(decisions: MaskDecisions) -> str:
    """Return a name that no other folder of masks has, made on first use."""
    found = decisions.setting(_KEY)
    if not isinstance(found, str):
        decisions.set_setting(_KEY, found := secrets.token_hex(8))
    return found
