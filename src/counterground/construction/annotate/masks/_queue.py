"""Which mask an annotator sees next, who has which on screen, and what all requests share."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from counterground.construction.annotate.web import Sessions
from counterground.construction.pool import leads_out
from counterground.errors import UsageError
from counterground.masks import NO_OBJECT, REASONS, MaskDecisions, Masks, mask_id, read_mask
from counterground.photos import UnreadablePhoto, photo_size


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
        self.photos = [_photo(number, row, photos) for number, row in enumerate(table.to_dicts(), 1)]
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


def _photo(number: int, row: dict[str, Any], photos: Path) -> MaskedPhoto:
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
