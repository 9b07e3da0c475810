"""One evaluation as requested: photos, models, names and prompts, and how to run them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from counterground.decision import Until
from counterground.inference.request._candidates import (
    BUILT_IN_NAMES,
    BUILT_IN_PROMPTS,
    CandidateLabels,
    named_by_content,
    short_hash,
)
from counterground.inference.request._prompt_specs import PromptSpec
from counterground.inference.request._settings import Settings
from counterground.metrics import CLASSIFICATION, DESIGN
from counterground.models import NamedModel
from counterground.photos import Benchmark


@dataclass(frozen=True)
class Request:
    """All that decides the predictions of an evaluation, files by their content.

    ``aliases`` are other words for classes, for generative models; ``until``: stop when that is decided.
    """

    benchmark: Benchmark
    models: tuple[NamedModel, ...]
    settings: Settings
    candidates: CandidateLabels
    templates: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    until: Until | None = None

    def hash(self) -> str:
        """Return a hash of all of it; two requests with the same hash give the same run."""
        chosen = asdict(replace(self.settings, show_progress=False, offline=False))
        chosen["aliases"] = self._aliases_hash()
        for elsewhere in ("engine", "workers", "gpus_per_worker"):
            del chosen[elsewhere]
        if self.until:
            chosen["until"] = asdict(self.until)
        if self.benchmark.design != DESIGN:
            chosen["design"] = self.benchmark.design.to_json()
        parts = [
            self.benchmark.version,
            *(model.version for model in self.models),
            *self.templates,
            self.candidates.version(),
        ]
        return hashlib.sha256("\n".join([*parts, json.dumps(chosen, sort_keys=True)]).encode()).hexdigest()

    def labels(self, name: str) -> dict[str, Any]:
        """Return the columns that identify the predictions of an encoder."""
        return {
            "model": name,
            "names": named_by_content(self.settings.names, BUILT_IN_NAMES, self.candidates.texts),
            "prompts": named_by_content(self.settings.prompts, BUILT_IN_PROMPTS, self.templates),
            "protocol": CLASSIFICATION,
            "as_published": self.settings.as_published,
            "answer_score": None,
            "label_space": self.candidates.space.name,
        }

    def answer_labels(self, name: str, prompt: PromptSpec) -> dict[str, Any]:
        """Return the same columns for a generative model and one prompt."""
        written = self.labels(name)["names"]
        if self.settings.aliases and self.aliases:
            written += f" + {Path(self.settings.aliases).name}@{self._aliases_hash()}"
        return {
            **self.labels(name),
            "names": written,
            "prompts": prompt.label,
            "protocol": prompt.protocol,
            "answer_score": None if prompt.answer is None else self.settings.loss,
        }

    def candidate_indices(self, class_index: int) -> tuple[int, ...]:
        """Return the candidates for photos of a class of the benchmark.

        A class none of whose photos the referee could read has no candidates; its own name stands in, so that
        the photos are listed with the reason like any others.
        """
        known, true = self.candidates.space.candidates, self.candidates.true_index[class_index]
        if known is not None and true is not None and true not in known:
            return (true,)
        return tuple(self.candidates.indices(class_index).tolist())

    def surface_forms(self) -> list[tuple[str, ...]]:
        """Return all ways each candidate is written: its text, then its aliases, each one once."""
        pairs = zip(self.candidates.space.names, self.candidates.texts, strict=True)
        return [tuple(dict.fromkeys([text, *self.aliases.get(name, ())])) for name, text in pairs]

    def _aliases_hash(self) -> str:
        return short_hash(json.dumps(self.aliases, sort_keys=True))
