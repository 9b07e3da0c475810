"""What all requests to one server share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from counterground.construction.annotate._guide import guide_addresses
from counterground.construction.annotate._labels import guidance
from counterground.construction.annotate._suggest import Suggester
from counterground.construction.annotate.web import Sessions
from counterground.construction.pool import Pool, Queue, QueuedPhoto
from counterground.errors import CounterGroundError


@dataclass(frozen=True)
class AppState:
    """The state of one server.

    Attributes:
        pool: the pool.
        queue: its queue.
        sessions: the annotators' sessions.
        key: name of the pool in the browser's storage.
        named: the pool as the user wrote it.
        task: task of the first page.
        ranked: whether reviews begin with what curation flagged; their pages say so.
        suggester: source of suggestions; None suggests nothing.
    """

    pool: Pool
    queue: Queue
    sessions: Sessions
    key: str
    named: str
    task: str
    ranked: bool
    suggester: Suggester | None

    def shown(
        self, photos: Sequence[QueuedPhoto], task: str, *, adjudicating: bool = False
    ) -> list[dict[str, Any]]:
        """Return what the page gets about photos: nothing that others decided, and no source.

        What curation flagged is included if reviews are ranked or somebody adjudicates; adjudicators get no
        suggestions.
        """
        flags = task == "review" and (self.ranked or adjudicating)
        suggests = task == "background" and not adjudicating
        texts = guidance(self.pool)
        found = self.queue.flags([photo.path for photo in photos]) if flags else {}
        suggested = self._suggested(photos) if suggests else [None] * len(photos)
        return [
            {
                "path": photo.path,
                "row": photo.row,
                "class_name": photo.class_name,
                "guidance": texts.get(photo.class_name, ""),
                "guide": guide_addresses(self.pool, photo.class_name),
                "width": photo.width,
                "height": photo.height,
                "postponed": photo.postponed,
                "suggestion": suggestion,
                "flags": [
                    {"reason": flag.reason, "explanation": flag.explanation, "row": flag.row}
                    for flag in found.get(photo.path, [])
                ],
            }
            for photo, suggestion in zip(photos, suggested, strict=True)
        ]

    def _suggested(self, photos: Sequence[QueuedPhoto]) -> list[dict[str, str] | None]:
        if self.suggester is None:
            return [None] * len(photos)
        files = []
        for photo in photos:
            try:
                files.append(self.pool.photo_file(photo.path))
            except CounterGroundError:
                files.append(self.pool.files)  # a folder is not a photo: nothing is suggested
        labels = self.suggester.suggest(files, self.pool.background_labels())
        return [None if label is None else {"model": self.suggester.spec, "label": label} for label in labels]
