"""What all requests to one server share."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from counterground.construction.annotate._labels import guidance, guide_addresses
from counterground.construction.annotate.web import Sessions
from counterground.construction.pool import Pool, Queue, QueuedPhoto
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import UnreadablePhoto, load_photo

if TYPE_CHECKING:
    import numpy as np

    from counterground.models import DualEncoder


PROMPT = "a photo of an animal on {}"


class Suggester:
    """The label whose text is nearest to a photo, in the embedding space of one dual encoder.

    Raises:
        UsageError: the specification is unknown, or the model is not a dual encoder.
        CounterGroundError: its weights cannot be loaded.
    """

    def __init__(self, spec: str) -> None:
        from counterground.models import load_model

        model = load_model(spec)
        if model.kind != "dual_encoder":
            raise UsageError(
                f"{spec} cannot encode text, so it cannot suggest labels: "
                "name a CLIP, such as open_clip:ARCH/TAG."
            )
        self.spec = spec
        self._model = cast("DualEncoder", model)
        self._features: dict[Path, np.ndarray | None] = {}
        self._texts: dict[tuple[str, ...], np.ndarray] = {}
        self._lock = threading.Lock()  # one forward pass at a time: the page must stay responsive

    def suggest(self, paths: Sequence[Path], labels: Sequence[str]) -> list[str | None]:
        """Return a label for each photo, or None if the photo cannot be read."""
        with self._lock:
            key = tuple(labels)
            if key not in self._texts:
                self._texts[key] = self._model.encode_texts([PROMPT.replace("{}", label) for label in key])
            self._encode([path for path in paths if path not in self._features])
            found = [self._features[path] for path in paths]
            return [None if v is None else key[int((self._texts[key] @ v).argmax())] for v in found]

    def _encode(self, paths: Sequence[Path]) -> None:
        import torch

        inputs = []
        for path in paths:
            self._features[path] = None
            try:
                image = load_photo(path, rgb=self._model.convert_rgb_first).image
            except UnreadablePhoto:
                continue
            inputs.append((path, self._model.preprocess(image)))
        if inputs:
            encoded = self._model.encode(torch.stack([pixels for _, pixels in inputs]))
            found = encoded.detach().cpu().float().numpy()  # of a user's own model, too
            self._features.update(zip([path for path, _ in inputs], found, strict=True))


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
