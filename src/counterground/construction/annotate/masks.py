"""The review of masks: which comes next, and the page that asks."""

from __future__ import annotations

import base64
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from counterground.construction.annotate._web import (
    AnnotatorServer,
    AuthRoutes,
    Body,
    Events,
    Sent,
    Sessions,
    Text,
    Token,
    check_names,
    error_answer,
    html,
    picture_as_stored,
    record_each,
    render,
)
from counterground.construction.pool import leads_out
from counterground.construction.settings import ServerSettings
from counterground.errors import CounterGroundError, UsageError
from counterground.files import is_folder
from counterground.masks import (
    MOST_MASK_BYTES,
    NO_OBJECT,
    REASONS,
    MaskDecisions,
    Masks,
    mask_id,
    read_mask,
    read_masks,
)
from counterground.photos import UnreadablePhoto, photo_size
from counterground.text import counted


def usable_mask(folder: Path, photo: MaskedPhoto) -> npt.NDArray[np.uint8]:
    """Return a photo's mask ``[h, w]``, 0 to 255.

    Raises:
        UsageError: there is none, or its file is missing, damaged, of another size than the photo, or outside
            the folder of masks.
    """
    if photo.mask is None:
        raise UsageError(f"There is no mask to accept ({photo.reason}): draw one, or reject the photo.")
    if leads_out(folder, folder / photo.mask):
        raise UsageError("The file of this mask lies outside the folder of masks.")
    try:
        found = read_mask(folder / photo.mask, photo_size(photo.file))
    except UnreadablePhoto as error:
        raise UsageError(f"The photo cannot be read: {error.reason}.") from error
    if found.mask is None:
        raise UsageError(f"The mask cannot be used: {found.detail or found.reason}.")
    return found.mask


def mask_picture(folder: Path, photo: MaskedPhoto) -> bytes:
    """Return a PNG of a photo's mask: white everywhere, with the object's share of each pixel as alpha.

    Raises:
        UsageError: see ``usable_mask``.
    """
    alpha = Image.fromarray(usable_mask(folder, photo))
    written = BytesIO()
    Image.merge("LA", (Image.new("L", alpha.size, 255), alpha)).save(written, "PNG", compress_level=1)
    return written.getvalue()


LEASE_SECONDS = 180.0
"""How long a photo on screen is reserved for its annotator, since the page's last request."""


@dataclass(frozen=True)
class MaskedPhoto:
    """A photo and its mask, before review.

    Attributes:
        row: number on the page, from 1.
        path: path in the benchmark.
        file: the photo's file.
        photo_id: SHA-256 that the file must have.
        class_name: its class.
        mask: path of the mask, relative to the folder; None if there is none.
        origin: where the mask comes from.
        reason: why the mask is not usable as it is; empty if it is.
        has_object: whether the mask marks an object, and something beside it: others cannot be accepted.
    """

    row: int
    path: str
    file: Path
    photo_id: str
    class_name: str
    mask: str | None
    origin: str
    reason: str
    has_object: bool


@dataclass(frozen=True)
class Batch:
    """The next photos, the paths of those that someone else has or has decided on, and how many are left."""

    photos: list[MaskedPhoto]
    revoked: list[str]
    done: int
    left: int


class MaskQueue:
    """The photos whose masks are reviewed: first those without a usable mask, then the others, each by path.

    A photo needs one decision, from anyone. A photo on a screen stays reserved while its page sends requests.
    Leases are in memory: a restarted server hands out whatever nobody has decided on.

    Args:
        masks: the masks before review.
        photos: the folder that paths of photos are relative to.
    """

    def __init__(self, masks: Masks, photos: Path) -> None:
        table = masks.table.sort(masks.table["reason"].is_null(), "path")
        self.photos = [_masked_photo(number, row, photos) for number, row in enumerate(table.to_dicts(), 1)]
        self.by_path = {photo.path: photo for photo in self.photos}
        self._leases: dict[str, tuple[str, float]] = {}  # path -> annotator, until
        self._lock = threading.Lock()

    def lease(
        self, annotator: str, decided: Set[str], *, count: int, leased: Sequence[str], skipped: Sequence[str]
    ) -> Batch:
        """Give an annotator the next photos; reserve them, and those of ``leased``, for that screen.

        Args:
            annotator: who asks.
            decided: paths of photos that no longer need a decision.
            count: how many more photos are wanted.
            leased: paths of photos that the page has.
            skipped: paths of photos that come last, in this order.
        """
        now = time.monotonic()
        with self._lock:
            self._leases = {
                path: (owner, until)
                for path, (owner, until) in self._leases.items()
                if until > now and owner != annotator and path not in decided
            }
            free = self.by_path.keys() - decided - self._leases.keys()
            still = {path for path in leased if path in free}
            last = dict.fromkeys(skipped)
            order = [*(photo.path for photo in self.photos if photo.path not in last), *last]
            fresh = [path for path in order if path in free and path not in still][:count]
            self._leases |= dict.fromkeys([*still, *fresh], (annotator, now + LEASE_SECONDS))
        done = len(decided & self.by_path.keys())
        return Batch(
            photos=[self.by_path[path] for path in fresh],
            revoked=[path for path in leased if path not in still],
            done=done,
            left=len(self.photos) - done,
        )


def _masked_photo(number: int, row: dict[str, Any], photos: Path) -> MaskedPhoto:
    reasons = row["reason"].split("; ") if row["reason"] else []
    meaning = row["detail"] or "; ".join(REASONS[reason] for reason in reasons if reason in REASONS)
    return MaskedPhoto(
        row=number,
        path=row["path"],
        file=photos / row["path"],
        photo_id=row["photo_id"],
        class_name=row["class_name"],
        mask=row["mask"],
        origin=row["origin"],
        reason=": ".join(text for text in (row["reason"], meaning) if text) if reasons else "",
        has_object=row["mask"] is not None and row["reason"] not in NO_OBJECT,
    )


@dataclass(frozen=True)
class ReviewState:
    """The state of one server.

    Attributes:
        masks: the masks before review.
        queue: the photos that wait for a decision.
        decisions: what was decided.
        sessions: the annotators' sessions.
        key: name of the folder in the browser's storage.
        named: the folder as the user wrote it.
    """

    masks: Masks
    queue: MaskQueue
    decisions: MaskDecisions
    sessions: Sessions
    key: str
    named: str
    _mask_ids: dict[str, str | None] = field(default_factory=dict)

    def decided(self) -> set[str]:
        """Return the paths of photos that need no decision: one about the current mask stands."""
        return {
            path
            for path, decision in self.decisions.standing().items()
            if (photo := self.queue.by_path.get(path))
            and decision.is_about(self.mask_id(photo), photo.photo_id)
        }

    def mask_id(self, photo: MaskedPhoto) -> str | None:
        """Return the SHA-256 of a photo's mask; None if it has none."""
        if photo.path not in self._mask_ids:
            self._mask_ids[photo.path] = mask_id(self.masks.folder, photo.mask)
        return self._mask_ids[photo.path]

    def shown(self, photos: Sequence[MaskedPhoto]) -> list[dict[str, Any]]:
        """Return what the page gets about photos; masks are addressed by number, not by file name."""
        return [
            {
                "path": photo.path,
                "row": photo.row,
                "class_name": photo.class_name,
                "mask": None if photo.mask is None else f"/mask/{photo.row}?of={judged or ''}",
                "judged": judged,
                "acceptable": photo.has_object,
                "origin": photo.origin,
                "reason": photo.reason,
            }
            for photo in photos
            for judged in (self.mask_id(photo),)
        ]


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
    check_names(settings)
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
