"""What one evaluation asks: photos, models, names and prompts, and how to run them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from counterground.inference._candidates import (
    BUILT_IN_NAMES,
    BUILT_IN_PROMPTS,
    Competition,
    named_by_content,
    short_hash,
)
from counterground.inference._settings import Settings
from counterground.inference.generative._protocol import Asking, writings
from counterground.metrics import CLASSIFICATION
from counterground.photos import Benchmark


@dataclass(frozen=True)
class Request:
    """All that decides the predictions of an evaluation, files by their content.

    ``aliases`` are other words for classes, for generative models.
    """

    benchmark: Benchmark
    specs: tuple[str, ...]
    settings: Settings
    contest: Competition
    templates: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def hash(self) -> str:
        """Return a hash of all of it; two requests with the same one give the same run."""
        asked = {**asdict(self.settings), "show_progress": None, "offline": None}
        for name in ("protocol", "loss", "article", "aliases"):
            if asked[name] == getattr(Settings, name):
                del asked[name]  # runs of before there were generative models keep their hash
        if self.aliases:
            asked["aliases"] = self._aliases_hash()
        parts = [self.benchmark.version, *self.specs, *self.templates, self.contest.version()]
        return hashlib.sha256("\n".join([*parts, json.dumps(asked, sort_keys=True)]).encode()).hexdigest()

    def labels(self, spec: str) -> dict[str, Any]:
        """Return the columns by which the predictions of an encoder are told apart from others."""
        return {
            "model": spec,
            "names": named_by_content(self.settings.names, BUILT_IN_NAMES, self.contest.texts),
            "prompts": named_by_content(self.settings.prompts, BUILT_IN_PROMPTS, self.templates),
            "protocol": CLASSIFICATION,
            "as_published": self.settings.as_published,
            "answer_score": None,
            "label_space": self.contest.space.name,
        }

    def answer_labels(self, spec: str, asking: Asking) -> dict[str, Any]:
        """Return the same columns for a generative model and one way of asking it."""
        names = self.labels(spec)["names"]
        if self.settings.aliases and self.aliases:
            names += f" + {Path(self.settings.aliases).name}@{self._aliases_hash()}"
        return {
            **self.labels(spec),
            "names": names,
            "prompts": asking.label,
            "protocol": asking.protocol,
            "answer_score": None if asking.answer is None else self.settings.loss,
        }

    def names_for(self, class_index: int) -> tuple[int, ...]:
        """Return the names that compete for photos of a class of the benchmark.

        A class none of whose photos the referee could read has no set; its own name stands in, so that the
        photos are listed with the reason like any others.
        """
        candidates, true = self.contest.space.candidates, self.contest.true_index[class_index]
        if candidates is not None and true is not None and true not in candidates:
            return (true,)
        return tuple(self.contest.candidates(class_index).tolist())

    def writings(self) -> list[tuple[str, ...]]:
        """Return all ways each competing class is written."""
        return writings(self.contest.space.names, self.contest.texts, self.aliases)

    def _aliases_hash(self) -> str:
        return short_hash(json.dumps(self.aliases, sort_keys=True))
