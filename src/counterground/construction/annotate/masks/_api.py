"""The requests of the page: typed JSON bodies in, JSON out."""

from __future__ import annotations

import base64
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from counterground.construction.annotate.masks._queue import MaskedPhoto, usable_mask
from counterground.construction.annotate.masks._state import ReviewState
from counterground.construction.annotate.web import Body, Events, Sent, Text, Token, record_each
from counterground.errors import UsageError
from counterground.masks import MOST_MASK_BYTES
from counterground.photos import UnreadablePhoto, photo_size

_Base64 = Annotated[str, Field(min_length=1, max_length=MOST_MASK_BYTES * 4 // 3 + 4)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Paths = Annotated[list[Text], Field(max_length=2000)]
MOST_BYTES = MOST_MASK_BYTES * 4 // 3 + (1 << 20)
"""Bytes of the longest body: one mask in base64, and what goes with it."""


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
        size = _size(photo)
        return {"id": state.decisions.redraw(photo.path, _pixels(event.mask), size, **sent)}
    if event.verdict == "accepted" and event.judged == present:
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


def _size(photo: MaskedPhoto) -> tuple[int, int]:
    try:
        return photo_size(photo.file)
    except UnreadablePhoto as error:
        raise UsageError(f"The photo cannot be read, so no mask fits it: {error.reason}.") from error


def _pixels(sent: str) -> bytes:
    try:
        return base64.b64decode(sent, validate=True)
    except ValueError as error:  # not ASCII, or not base64
        raise UsageError("The mask is not base64.") from error
