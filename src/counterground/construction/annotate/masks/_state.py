"""What all requests to one server share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from counterground.construction.annotate.masks._queue import MaskedPhoto, MaskQueue
from counterground.construction.annotate.web import Sessions
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
        invite: function that prints a new link for an annotator.
    """

    masks: Masks
    queue: MaskQueue
    decisions: MaskDecisions
    sessions: Sessions
    key: str
    named: str
    invite: Callable[[str], None]
    _mask_ids: dict[str, str | None] = field(default_factory=dict)  # of photos decided on: hashed once

    def decided(self) -> set[str]:
        """Return the paths of photos that need no decision: one about the current mask stands."""
        return {
            path
            for path, decision in self.decisions.standing().items()
            if path in self.queue.by_path and decision.is_about(self._mask_id(path))
        }

    def _mask_id(self, path: str) -> str | None:
        if path not in self._mask_ids:
            self._mask_ids[path] = mask_id(self.masks.folder, self.queue.by_path[path].mask)
        return self._mask_ids[path]

    def shown(self, photos: Sequence[MaskedPhoto]) -> list[dict[str, Any]]:
        """Return what the page gets about photos; masks are addressed by number, not by file name."""
        return [
            {
                "path": photo.path,
                "row": photo.row,
                "class_name": photo.class_name,
                "mask": None if photo.mask is None else f"/mask/{photo.row}",
                "origin": photo.origin,
                "reason": photo.reason,
            }
            for photo in photos
        ]
