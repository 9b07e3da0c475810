"""The review of masks: which comes next, and what its page asks and sends."""

from __future__ import annotations

import base64
import shlex
import threading
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, TypeAdapter

from counterground.construction.annotate._server import (
    Body,
    Next,
    Sent,
    Site,
    Token,
    check_names,
    picture,
    record_each,
    render,
    serve,
)
from counterground.construction.pool import LEASE_SECONDS, leads_out
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
        judged: SHA-256 of the mask's file; None if there is none.
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
    judged: str | None
    origin: str
    reason: str
    has_object: bool

    def usable(self, folder: Path) -> npt.NDArray[np.uint8]:
        """Return the mask ``[h, w]``, 0 to 255.

        Raises:
            UsageError: there is none, or its file is missing, damaged, of another size than the photo, or
                outside the folder of masks.
        """
        if self.mask is None:
            raise UsageError(f"There is no mask to accept ({self.reason}): draw one, or reject the photo.")
        if leads_out(folder, folder / self.mask):
            raise UsageError("The file of this mask lies outside the folder of masks.")
        found = read_mask(folder / self.mask, photo_size(self.file))
        if found.mask is None:
            raise UsageError(f"The mask cannot be used: {found.detail or found.reason}.")
        return found.mask

    def shown(self) -> Body:
        """Return what the page gets; masks are addressed by number, not by file name."""
        return {
            "path": self.path,
            "row": self.row,
            "class_name": self.class_name,
            "mask": None if self.mask is None else f"/mask/{self.row}?of={self.judged or ''}",
            "judged": self.judged,
            "acceptable": self.has_object,
            "origin": self.origin,
            "reason": self.reason,
        }


def _masked_photo(folder: Path, photos: Path, number: int, row: dict[str, Any]) -> MaskedPhoto:
    reasons = row["reason"].split("; ") if row["reason"] else []
    meaning = row["detail"] or "; ".join(REASONS[reason] for reason in reasons if reason in REASONS)
    return MaskedPhoto(
        row=number,
        path=row["path"],
        file=photos / row["path"],
        photo_id=row["photo_id"],
        class_name=row["class_name"],
        mask=row["mask"],
        judged=mask_id(folder, row["mask"]),
        origin=row["origin"],
        reason=": ".join(text for text in (row["reason"], meaning) if text) if reasons else "",
        has_object=row["mask"] is not None and row["reason"] not in NO_OBJECT,
    )


_Base64 = Annotated[str, Field(min_length=1, max_length=MOST_MASK_BYTES * 4 // 3 + 4)]


class Decide(Sent):
    """A decision.

    ``mask`` is the PNG of a redrawn mask in base64, None for the other verdicts. ``judged`` is the SHA-256 of
    the mask that was on screen.
    """

    kind: Literal["decide"]
    token: Token
    task: Literal["masks"]
    path: str
    verdict: Literal["accepted", "rejected", "redrawn"]
    mask: _Base64 | None
    judged: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None


class Undo(Sent):
    """Undoes a decision, by token; None is the last one."""

    kind: Literal["undo"]
    token: Token
    task: Literal["masks"]
    of: Token | None


_EVENT: TypeAdapter[Decide | Undo] = TypeAdapter(Annotated[Decide | Undo, Field(discriminator="kind")])


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
    review = MaskReview(read_masks(folder, reviewed=False), str(folder))
    failing = sum(bool(photo.reason) for photo in review.photos)
    count = counted(len(review.photos), "photo")
    say(f"{review.masks.folder.resolve().name}: {count}, {failing:,} of them without a usable mask.")
    before = review.decisions.last()
    serve(review.site(), settings, say)
    made = review.decisions.made_since(before)
    return ReviewSummary({name: made.get(name, 0) for name in settings.annotators}, read_masks(folder))


class MaskReview:
    """The page and answers for a folder of masks, which the user wrote as ``named``.

    The photos without a usable mask come first, then the others, each by path. A photo needs one decision,
    from anyone. A photo on a screen stays reserved while its page sends requests. Leases are in memory: a
    restarted server hands out whatever nobody has decided on.

    Raises:
        CounterGroundError: the photos are gone.
    """

    def __init__(self, masks: Masks, named: str) -> None:
        root = masks.folder / str(masks.description.get("photos"))
        if not is_folder(root):
            raise CounterGroundError(
                f"The photos of the masks in {masks.folder} are not at {root} any more: move them back there."
            )
        table = masks.table.sort(masks.table["reason"].is_null(), "path")
        made = partial(_masked_photo, masks.folder, root.resolve())
        self.masks, self.named, self.decisions = masks, named, MaskDecisions(masks.folder)
        self.photos = [made(number, row) for number, row in enumerate(table.to_dicts(), 1)]
        self._by_path = {photo.path: photo for photo in self.photos}
        self._leases: dict[str, tuple[str, float]] = {}  # path -> annotator, until
        self._lock = threading.Lock()

    def site(self) -> Site:
        """Return what a server shows."""
        pictures = {r"/photo/(\d{1,9})": self._photo, r"/mask/(\d{1,9})": self._mask}
        return Site(
            self.masks.folder, "/", {"/": self._page}, pictures, {"next": self._next, "events": self._record}
        )

    def _page(self, annotator: str) -> str:
        named = shlex.quote(self.named)
        return render(
            "masks.html.j2",
            {
                "annotator": annotator,
                "key": self.site().key,
                "task": "masks",
                "pool_name": self.masks.folder.resolve().name,
                "refresh": "",
                "rough": self.masks.rough,
                "hint": f"counterground swap BENCHMARK -m MODEL --masks {named} --out RUN",
            },
        )

    def _asked(self, row: str) -> MaskedPhoto:
        if not 1 <= int(row) <= len(self.photos):
            raise UnreadablePhoto(self.masks.folder, "there is no such photo")
        return self.photos[int(row) - 1]

    def _photo(self, row: str) -> tuple[bytes, str]:
        photo = self._asked(row)
        return picture(photo.file, photo.photo_id, as_stored=True)

    def _mask(self, row: str) -> tuple[bytes, str]:
        """Return a PNG of a mask: white everywhere, with the object's share of each pixel as alpha."""
        alpha = Image.fromarray(self._asked(row).usable(self.masks.folder))
        written = BytesIO()
        Image.merge("LA", (Image.new("L", alpha.size, 255), alpha)).save(written, "PNG", compress_level=1)
        return written.getvalue(), "image/png"

    def _next(self, annotator: str, body: Body) -> Body:
        """Return the page's next photos, and which of those it has no longer need a decision."""
        asked = Next.model_validate(body)
        decided = self._decided()
        with self._lock:
            photos, still = self._lease(annotator, decided, asked)
        return {
            "photos": [photo.shown() for photo in photos],
            "revoked": [path for path in asked.leased if path not in still],
            "done": len(decided),
            "left": len(self.photos) - len(decided),
        }

    def _lease(
        self, annotator: str, decided: Set[str], asked: Next
    ) -> tuple[Sequence[MaskedPhoto], Set[str]]:
        """Reserve an annotator's next photos, and those the page has; return both."""
        now = time.monotonic()
        self._leases = {
            path: (owner, until)
            for path, (owner, until) in self._leases.items()
            if until > now and owner != annotator and path not in decided
        }
        free = self._by_path.keys() - decided - self._leases.keys()
        still = {path for path in asked.leased if path in free}
        last = dict.fromkeys(asked.skipped)
        order = [*(path for path in self._by_path if path not in last), *last]
        fresh = [path for path in order if path in free and path not in still][: asked.count]
        self._leases |= dict.fromkeys([*still, *fresh], (annotator, now + LEASE_SECONDS))
        return [self._by_path[path] for path in fresh], still

    def _decided(self) -> set[str]:
        """Return the paths of photos that need no decision: one about the current mask stands."""
        return {
            path
            for path, decision in self.decisions.standing().items()
            if (photo := self._by_path.get(path)) and decision.is_about(photo.judged, photo.photo_id)
        }

    def _record(self, annotator: str, body: Body) -> Body:
        """Write events in order, on disk when this returns."""
        return record_each(body.get("events", []), partial(self._event, annotator))

    def _event(self, annotator: str, raw: Body) -> Body:
        event = _EVENT.validate_python(raw)
        if isinstance(event, Decide):
            return self._decide(annotator, event)
        found = self.decisions.undo(annotator, of=event.of, token=event.token)
        photo = None if found is None else self._by_path.get(found.path)
        if found is None or photo is None:
            return {"undone": None}
        return {"undone": {"photo": photo.shown(), "labels": [found.verdict]}}

    def _decide(self, annotator: str, event: Decide) -> Body:
        photo = self._by_path.get(event.path)
        if photo is None:
            raise UsageError(f"There is no photo {event.path!r} here.")
        if (event.mask is None) == (event.verdict == "redrawn"):
            raise UsageError("A redrawn mask comes with its pixels, and no other verdict does.")
        # A decision may have waited in the browser while masks were made again: it is about the one seen.
        sent: dict[str, Any] = {"token": event.token, "judged": event.judged, "photo": photo.photo_id}
        try:
            if event.mask is not None:
                sent["drawn"] = base64.b64decode(event.mask, validate=True), photo_size(photo.file)
            elif event.verdict == "accepted" and event.judged == photo.judged:
                photo.usable(self.masks.folder)
                if not photo.has_object:
                    raise UsageError(
                        "This mask marks no object, or nothing else: draw one, or reject the photo."
                    )
        except (ValueError, UnreadablePhoto) as error:
            raise UsageError(f"No mask can be read for this photo: {error}.") from error
        return {"id": self.decisions.decide(photo.path, event.verdict, annotator=annotator, **sent)}
