"""The review of masks: which comes next, and what its page asks and sends."""

from __future__ import annotations

import base64
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field

from counterground.construction.annotate._server import (
    Body,
    Next,
    Sent,
    SessionSummary,
    Site,
    Token,
    Undo,
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
        shown: what the page gets; masks are addressed by number, not by file name.
        file: the photo's file.
        photo_id: SHA-256 that the file must have.
        mask: path of the mask, relative to the folder; None if there is none.
    """

    shown: Body
    file: Path
    photo_id: str
    mask: str | None

    def usable(self, folder: Path) -> npt.NDArray[np.uint8]:
        """Return the mask ``[h, w]``, 0 to 255.

        Raises:
            UsageError: there is none, or its file is missing, damaged, of another size than the photo, or
                outside the folder of masks.
        """
        if self.mask is None or leads_out(folder, folder / self.mask):
            raise UsageError("There is no mask in the folder to accept: draw one, or reject the photo.")
        found = read_mask(folder / self.mask, photo_size(self.file))
        if found.mask is None:
            raise UsageError(f"The mask cannot be used: {found.detail or found.reason}.")
        return found.mask


def _masked_photo(folder: Path, photos: Path, number: int, row: dict[str, Any]) -> MaskedPhoto:
    """Return a photo of the table; a mask without an object, or with nothing else, is not acceptable."""
    reason, judged = row["reason"] or "", mask_id(folder, row["mask"])
    known = [REASONS[part] for part in reason.split("; ") if part in REASONS]
    shown = {
        "path": row["path"],
        "row": number,
        "class_name": row["class_name"],
        "mask": None if row["mask"] is None else f"/mask/{number}?of={judged or ''}",
        "judged": judged,
        "acceptable": row["mask"] is not None and row["reason"] not in NO_OBJECT,
        "origin": row["origin"],
        "reason": reason and ": ".join(filter(None, (reason, row["detail"] or "; ".join(known)))),
    }
    return MaskedPhoto(shown, photos / row["path"], row["photo_id"], row["mask"])


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
    mask: Annotated[str, Field(min_length=1, max_length=MOST_MASK_BYTES * 4 // 3 + 4)] | None
    judged: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None


def review_masks(
    folder: str | Path, settings: ServerSettings, *, say: Callable[[str], None] = print
) -> SessionSummary:
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
    failing = sum(bool(photo.shown["reason"]) for photo in review.photos.values())
    count = counted(len(review.photos), "photo")
    say(f"{review.masks.folder.resolve().name}: {count}, {failing:,} of them without a usable mask.")
    before = review.decisions.last()
    serve(review.site(), settings, say)
    made = review.decisions.made_since(before)
    decisions = {name: made.get(name, 0) for name in settings.annotators}
    return SessionSummary(decisions, read_masks(folder).summary())


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
        table = masks.table.sort(masks.table["reason"].is_null(), "path").to_dicts()
        self.masks, self.named, self.decisions = masks, named, MaskDecisions(masks.folder)
        self.photos = {
            row["path"]: _masked_photo(masks.folder, root.resolve(), number, row)
            for number, row in enumerate(table, 1)
        }
        self._leases: dict[str, tuple[str, float]] = {}  # path -> annotator, until
        self._lock = threading.Lock()

    def site(self) -> Site:
        """Return what a server shows."""
        pictures = {r"/photo/(\d{1,9})": self._photo, r"/mask/(\d{1,9})": self._mask}
        actions = {"next": self._next, "events": self._record}
        return Site(self.masks.folder, "/", {"/": self._page}, pictures, actions)

    def _page(self, annotator: str) -> str:
        context = {
            "annotator": annotator,
            "key": self.site().key,
            "task": "masks",
            "pool_name": self.masks.folder.resolve().name,
            "refresh": "",
            "hint": f"counterground swap BENCHMARK -m MODEL --masks {shlex.quote(self.named)} --out RUN",
        }
        return render("masks.html.j2", context)

    def _asked(self, row: str) -> MaskedPhoto:
        if not 1 <= int(row) <= len(self.photos):
            raise UnreadablePhoto(self.masks.folder, "there is no such photo")
        return [*self.photos.values()][int(row) - 1]

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
        """Reserve the page's next photos, and say which of those it has no longer need a decision."""
        asked, decided, now = Next.model_validate(body), self._decided(), time.monotonic()
        last = {path: number for number, path in enumerate(asked.skipped, 1)}
        with self._lock:
            self._leases = {
                path: (owner, until)
                for path, (owner, until) in self._leases.items()
                if until > now and owner != annotator
            }
            free = [path for path in self.photos if path not in decided and path not in self._leases]
            still = [path for path in asked.leased if path in free]
            others = [path for path in free if path not in still]
            fresh = sorted(others, key=lambda path: last.get(path, 0))[: asked.count]
            self._leases |= dict.fromkeys([*still, *fresh], (annotator, now + LEASE_SECONDS))
        return {
            "photos": [self.photos[path].shown for path in fresh],
            "revoked": [path for path in asked.leased if path not in still],
            "done": len(decided),
            "left": len(self.photos) - len(decided),
        }

    def _decided(self) -> set[str]:
        """Return the paths of photos that need no decision: one about the current mask stands."""
        return {
            path
            for path, decision in self.decisions.standing().items()
            if (photo := self.photos.get(path)) and decision.is_about(photo.shown["judged"], photo.photo_id)
        }

    def _record(self, annotator: str, body: Body) -> Body:
        """Write events in order, on disk when this returns."""
        decide, undo = partial(self._decide, annotator), partial(self._undo, annotator)
        return record_each(body.get("events", []), Decide, decide, undo)

    def _undo(self, annotator: str, event: Undo) -> Body:
        found = self.decisions.undo(annotator, of=event.of, token=event.token)
        if found is None or found.path not in self.photos:
            return {"undone": None}
        return {"undone": {"photo": self.photos[found.path].shown, "labels": [found.verdict]}}

    def _decide(self, annotator: str, event: Decide) -> Body:
        photo = self.photos.get(event.path)
        if photo is None:
            raise UsageError(f"There is no photo {event.path!r} here.")
        if (event.mask is None) == (event.verdict == "redrawn"):
            raise UsageError("A redrawn mask comes with its pixels, and no other verdict does.")
        # A decision may have waited in the browser while masks were made again: it is about the one seen.
        sent: dict[str, Any] = {"token": event.token, "judged": event.judged, "photo": photo.photo_id}
        try:
            if event.mask is not None:
                sent["drawn"] = base64.b64decode(event.mask, validate=True), photo_size(photo.file)
            elif event.verdict == "accepted" and event.judged == photo.shown["judged"]:
                photo.usable(self.masks.folder)
                if not photo.shown["acceptable"]:
                    raise UsageError(
                        "This mask marks no object, or nothing else: draw one, or reject the photo."
                    )
        except (ValueError, UnreadablePhoto) as error:
            raise UsageError(f"No mask can be read for this photo: {error}.") from error
        return {"id": self.decisions.decide(event.path, event.verdict, annotator=annotator, **sent)}
