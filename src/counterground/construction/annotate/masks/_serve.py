"""Reviewing masks: the server from the first link to the summary."""

from __future__ import annotations

import base64
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from counterground.construction.annotate.masks._queue import (
    MaskedPhoto,
    MaskQueue,
    ReviewState,
    mask_picture,
    usable_mask,
)
from counterground.construction.annotate.web import (
    AnnotatorServer,
    AuthRoutes,
    Body,
    Events,
    Sent,
    ServerSettings,
    Text,
    Token,
    error_answer,
    html,
    picture_as_stored,
    record_each,
    render,
)
from counterground.errors import CounterGroundError, UsageError
from counterground.files import is_folder
from counterground.masks import MOST_MASK_BYTES, MaskDecisions, Masks, read_masks
from counterground.photos import UnreadablePhoto, photo_size
from counterground.text import counted

_Base64 = Annotated[str, Field(min_length=1, max_length=MOST_MASK_BYTES * 4 // 3 + 4)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Paths = Annotated[list[Text], Field(max_length=2000)]


class Next(Body):
    """Asks for more photos; ``leased`` are those the page has, ``skipped`` those that come last."""

    task: Literal["masks"]
    leased: _Paths
    skipped: _Paths
    count: Annotated[int, Field(ge=0, le=20)]


class Decide(Sent):
    """A decision.

    ``mask`` is the PNG of a redrawn mask in base64, None for the other verdicts. ``judged`` is the SHA-256 of
    the mask that was on screen.
    """

    kind: Literal["decide"]
    token: Token
    task: Literal["masks"]
    path: Text
    verdict: Literal["accepted", "rejected", "redrawn"]
    mask: _Base64 | None
    judged: _Digest | None


class Undo(Sent):
    """Undoes a decision, by token; None is the last one."""

    kind: Literal["undo"]
    token: Token
    task: Literal["masks"]
    of: Token | None


Event: TypeAdapter[Decide | Undo] = TypeAdapter(Annotated[Decide | Undo, Field(discriminator="kind")])


def next_photos(state: ReviewState, body: Next) -> dict[str, Any]:
    """Return the page's next photos, and which of those it has no longer need a decision."""
    batch = state.queue.lease(
        body.annotator, state.decided(), count=body.count, leased=body.leased, skipped=body.skipped
    )
    photos = state.shown(batch.photos)
    return {"photos": photos, "revoked": batch.revoked, "done": batch.done, "left": batch.left}


def record_events(state: ReviewState, body: Events) -> dict[str, Any]:
    """Write events in order, on disk when this returns; a refused one does not block the others."""
    return {"results": record_each(body.events, partial(_record, state, body.annotator))}


def _record(state: ReviewState, annotator: str, raw: dict[str, Any]) -> dict[str, Any]:
    event = Event.validate_python(raw)
    if isinstance(event, Undo):
        return _undo(state, annotator, event)
    photo = state.queue.by_path.get(event.path)
    if photo is None:
        raise UsageError(f"There is no photo {event.path!r} here.")
    if (event.mask is None) == (event.verdict == "redrawn"):
        raise UsageError("A redrawn mask comes with its pixels, and no other verdict does.")
    present = state.mask_id(photo)
    # A decision may have waited in the browser while masks were made again: it is about the one seen.
    seen = {"judged": event.judged, "photo": photo.photo_id}
    sent: dict[str, Any] = {"annotator": annotator, "token": event.token, **seen}
    if event.mask is not None:
        try:
            sent["drawn"] = base64.b64decode(event.mask, validate=True), photo_size(photo.file)
        except (ValueError, UnreadablePhoto) as error:
            raise UsageError(f"No mask can be read for this photo: {error}.") from error
    elif event.verdict == "accepted" and event.judged == present:
        if photo.mask is not None and not photo.has_object:
            raise UsageError("This mask marks no object, or nothing else: draw one, or reject the photo.")
        usable_mask(state.masks.folder, photo)
    return {"id": state.decisions.decide(photo.path, event.verdict, **sent)}


def _undo(state: ReviewState, annotator: str, event: Undo) -> dict[str, Any]:
    found = state.decisions.undo(annotator, of=event.of, token=event.token)
    photo = None if found is None else state.queue.by_path.get(found.path)
    if found is None or photo is None:
        return {"undone": None}
    return {"undone": {"photo": state.shown([photo])[0], "labels": [found.verdict]}}


def build_app(state: ReviewState, *, port: int) -> Starlette:
    """Return the application of a server on ``port``."""
    auth = AuthRoutes(state.sessions, port, state.key)
    return auth.app(
        [
            Route("/", auth.page(lambda who, _request: html(_page(state, who)))),
            Route("/photo/{row:int}", auth.file(partial(_photo, state))),
            Route("/mask/{row:int}", auth.file(partial(_mask, state))),
            Route("/api/next", auth.action(partial(next_photos, state), Next), methods=["POST"]),
            Route("/api/events", auth.action(partial(record_events, state), Events), methods=["POST"]),
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
    row = request.path_params["row"]
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
        server.serve(build_app(state, port=server.port))
    made = decisions.made_since(before)
    return ReviewSummary({name: made.get(name, 0) for name in settings.annotators}, read_masks(folder))


def _photos_root(masks: Masks) -> Path:
    root = masks.folder / str(masks.description.get("photos"))
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
