"""What one evaluation asks: photos, models, names and prompts, and how to run them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from counterground.inference._competition import (
    BUILT_IN_NAMES,
    BUILT_IN_PROMPTS,
    Competition,
    named_by_content,
)
from counterground.inference._settings import Settings
from counterground.photos import Benchmark


@dataclass(frozen=True)
class Request:
    """All that decides the predictions of an evaluation, files by their content."""

    benchmark: Benchmark
    specs: tuple[str, ...]
    settings: Settings
    contest: Competition
    templates: tuple[str, ...]

    def hash(self) -> str:
        """Return a hash of all of it; two requests with the same one give the same run."""
        asked = {**asdict(self.settings), "show_progress": None, "offline": None}
        parts = [self.benchmark.version, *self.specs, *self.templates, self.contest.version()]
        return hashlib.sha256("\n".join([*parts, json.dumps(asked, sort_keys=True)]).encode()).hexdigest()

    def labels(self, spec: str) -> dict[str, str]:
        """Return the columns by which the predictions of one model are told apart from others."""
        return {
            "model": spec,
            "names": named_by_content(self.settings.names, BUILT_IN_NAMES, self.contest.texts),
            "prompts": named_by_content(self.settings.prompts, BUILT_IN_PROMPTS, self.templates),
            "protocol": "classification" + (", as published" if self.settings.as_published else ""),
            "label_space": self.contest.space.name,
        }
