"""What all requests to one server share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from counterground.construction.annotate.masks._queue import MaskedPhoto, MaskQueue
from counterground.construction.annotate.web import Sessions
from counterground.construction.pool import leads_out
from counterground.masks import MaskDecisions, Masks, mask_id


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
    _mask_ids: dict[str, tuple[tuple[int, int], str | None]] = field(default_factory=dict)

    def decided(self) -> set[str]:
        """Return the paths of photos that need no decision: one about the current mask stands."""
        return {
            path
            for path, decision in self.decisions.standing().items()
            if (photo := self.queue.by_path.get(path))
            and decision.is_about(self.mask_id(photo), photo.photo_id)
        }

    def mask_id(self, photo: MaskedPhoto) -> str | None:
        """Return the SHA-256 of a photo's mask; a file is hashed again if masks were made again meanwhile."""
        if photo.mask is None:
            return None
        file = self.masks.folder / photo.mask
        try:
            stat = file.stat()
        except (OSError, ValueError):
            return None
        known = self._mask_ids.get(photo.path)
        if known is None or known[0] != (stat.st_mtime_ns, stat.st_size):
            out = leads_out(self.masks.folder, file)  # only now: it takes a second for 20,000 masks
            digest = None if out else mask_id(self.masks.folder, photo.mask)
            known = self._mask_ids[photo.path] = (stat.st_mtime_ns, stat.st_size), digest
        return known[1]

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
