"""What all requests to one server share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from counterground.construction.annotate._security import Sessions
from counterground.construction.annotate.masks._queue import MaskedPhoto, MaskQueue
from counterground.masks import MaskDecisions, Masks


@dataclass(frozen=True)
class ReviewState:
    """One server.

    Attributes:
        masks: the masks before review.
        queue: the photos that wait for a decision.
        decisions: what was decided.
        sessions: who may come in.
        key: names the folder in the browser's storage.
        named: the folder as the user wrote it.
        invite: prints a new link for an annotator.
    """

    masks: Masks
    queue: MaskQueue
    decisions: MaskDecisions
    sessions: Sessions
    key: str
    named: str
    invite: Callable[[str], None]

    def shown(self, photos: Sequence[MaskedPhoto]) -> list[dict[str, Any]]:
        """Return what the page gets of photos: numbers in place of the names of files."""
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
