"""Background suggestions from a zero-shot classifier; off by default, since they bias annotators."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from counterground.errors import UsageError
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
