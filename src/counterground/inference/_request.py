"""One evaluation as requested: photos, models, names and prompts, and how to run them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import polars as pl

from counterground.errors import UsageError
from counterground.metrics import CLASSIFICATION, COMPETING, DESIGN, FITTED_HEAD
from counterground.models import NEED_LOSSES, Generative, HeadSpec, Model, NamedModel, load_model
from counterground.photos import Benchmark
from counterground.predictions import (
    BUILT_IN_NAMES,
    BUILT_IN_PROMPTS,
    CandidateLabels,
    named_by_content,
)
from counterground.settings import Protocol, Record, Settings
from counterground.text import counted

_PREFERRED: tuple[Protocol, ...] = ("answer-loss", "free-form", "describe", "yes-no")
MAIN_OBJECT = "What is the main object in the image?"
# The questions of the paper (section 5 and its appendix on LVLMs), word for word.
_QUESTIONS: dict[Protocol, tuple[str, ...]] = {
    "answer-loss": (MAIN_OBJECT,),
    "describe": ("Describe this image in detail.",),
    "yes-no": ("Is there a {} in the image?", "Is this image a photo of {}?"),
    "free-form": (MAIN_OBJECT,),
}
_YES_OR_NO = " Answer yes or no."


@dataclass(frozen=True)
class PromptSpec:
    """Templates of a question and of the scored answer, ``{}`` for the class.

    ``answer`` is None if generated text is read instead. ``label`` identifies the prompt in the tables, in
    the column ``prompts``.
    """

    protocol: Protocol
    question: str
    answer: str | None

    @property
    def label(self) -> str:
        return self.question if self.answer is None else f"{self.question} {self.answer}"

    def about(self, name: str) -> tuple[str, str]:
        """Return question and scored answer for one name."""
        return self.question.replace("{}", name), (self.answer or "").replace("{}", name)


def prompt_specs(model: Generative, protocol: Protocol | None) -> list[PromptSpec]:
    """Return how a model is asked (paper section 5): two prompts for ``yes-no``, one otherwise.

    The default protocol is ``answer-loss``, or ``free-form`` for a model that gives no losses.

    Raises:
        UsageError: the model cannot be asked under this protocol.
    """
    losses = gives_losses(model)
    chosen = protocol or [*(name for name in _PREFERRED if name in model.protocols), _PREFERRED[0]][0]
    check_protocol(model, chosen)
    answer = {"yes-no": "Yes" if losses else None, "free-form": None}.get(chosen, "A {}")
    ending = _YES_OR_NO if chosen == "yes-no" and not losses else ""
    return [PromptSpec(chosen, text + ending, answer) for text in _QUESTIONS[chosen]]


def gives_losses(model: Generative) -> bool:
    """Whether answers can be scored by their losses; else text is generated."""
    return not NEED_LOSSES.isdisjoint(model.protocols)


def check_protocol(model: Generative, chosen: Protocol) -> None:
    """Refuse a protocol that a model cannot be asked under.

    Raises:
        UsageError: the model cannot be asked under it.
    """
    if chosen in model.protocols:
        return
    possible = " or ".join(name for name in get_args(Protocol) if name in model.protocols)
    if chosen in NEED_LOSSES and not gives_losses(model):
        raise UsageError(f"{model.spec} gives no losses, which {chosen} needs; use -X protocol={possible}.")
    raise UsageError(f"{model.spec} cannot be asked under {chosen}; use -X protocol={possible}.")


MULTIPLE_CHOICE: tuple[Protocol, ...] = ("multiple-choice", "multiple-choice-loss")


@dataclass(frozen=True)
class Training:
    """The photos that heads are fitted on: those of ``given`` that are not evaluated, in ``photos``.

    ``shared_clusters`` counts cluster names in both ``photos`` and the evaluated benchmark.
    """

    given: Benchmark
    photos: Benchmark
    shared_clusters: int

    @classmethod
    def of(cls, given: Benchmark, evaluated: Benchmark) -> Training:
        """Leave out the photos that are evaluated, whatever they are called.

        Raises:
            UsageError: none is left.
        """
        kept = given.photos.filter(~pl.col("photo_id").is_in(evaluated.photos["photo_id"].implode()))
        if kept.is_empty():
            raise UsageError(
                f"All photos of -X train={given.name} are among those that are evaluated. Leave it out: each "
                "photo then gets a head that was fitted without its cluster."
            )
        sides = (given, kept), (evaluated, evaluated.photos)
        ours, theirs = (photos[of.design.clusters[0]].cast(pl.String).drop_nulls() for of, photos in sides)
        return cls(given, replace(given, photos=kept), len(set(ours) & set(theirs)))

    @property
    def warnings(self) -> list[str]:
        """What readers must know about the choice of photos."""
        found = []
        if left_out := len(self.given) - len(self.photos):
            found.append(
                "Not used for fitting, because byte-identical photos are evaluated: "
                f"{counted(left_out, 'photo')} of {self.given.name}."
            )
        if self.shared_clusters:
            found.append(
                f"Clusters of {self.given.name} that share a name with an evaluated cluster: "
                f"{self.shared_clusters:,}. If they are the same clusters, fitted heads have seen photos "
                "like those, and their accuracies may be too high."
            )
        return found


def load_requested(model: str | NamedModel, settings: Settings) -> Model:
    """Load one model as the settings say.

    Raises:
        UsageError: see `load_model`; or a generative model with a runtime for encoders.
        CounterGroundError: see `load_model`.
    """
    loaded = load_model(
        model,
        device=settings.device,
        precision=settings.precision,
        offline=settings.offline,
        fitted_head=True,
    )
    if isinstance(loaded, Generative) and settings.runtime == "onnx":
        raise UsageError(f"{loaded.display_name} cannot be run by -X runtime=onnx: it is a generative model.")
    return loaded


@dataclass(frozen=True)
class Request:
    """All that decides the predictions of an evaluation, files by their content.

    ``training``: what heads are fitted on,
    None for parts of the benchmark itself. ``asked`` are the settings of the command, for the record of the
    run.
    """

    benchmark: Benchmark
    models: tuple[NamedModel, ...]
    settings: Settings
    candidates: CandidateLabels
    templates: tuple[str, ...]
    training: Training | None = None
    asked: Record = field(default_factory=Settings)

    @property
    def multiple_choice(self) -> bool:
        """Whether models choose among a few options for each photo, all of which are in ``candidates``."""
        return self.settings.protocol in MULTIPLE_CHOICE

    def hash(self) -> str:
        """Return a hash of the request; two requests with the same hash give the same run."""
        chosen = self.settings.given()
        if not self.multiple_choice:
            chosen.pop("options", None)
        if self.benchmark.design != DESIGN:
            chosen["design"] = self.benchmark.design.to_json()
        if self.training:
            chosen["train"] = self.training.given.version
        parts = [
            self.benchmark.version,
            *(model.version for model in self.models),
            *self.templates,
            self.candidates.version(),
        ]
        return hashlib.sha256("\n".join([*parts, json.dumps(chosen, sort_keys=True)]).encode()).hexdigest()

    def labels(self, name: str, head: HeadSpec | None = None) -> dict[str, Any]:
        """Return the columns that identify the predictions of an encoder.

        A fitted head, and what it was fitted on, take the place of the prompts.
        """
        prompts = named_by_content(self.settings.prompts, BUILT_IN_PROMPTS, self.templates)
        if head is not None:
            given = self.training.given if self.training else None
            on = f"fitted on {given.name}@{given.version[:8]}" if given else "cross-fitted"
            prompts = f"{head}, {on}"
        return {
            "model": name,
            "names": named_by_content(self.settings.names, BUILT_IN_NAMES, self.candidates.all_texts),
            "prompts": prompts,
            "protocol": CLASSIFICATION if head is None else FITTED_HEAD,
            "answer_score": None,
            COMPETING: self.candidates.space.name,
        }

    def asked_labels(self, name: str, protocol: Protocol, prompts: str, *, scored: bool) -> dict[str, Any]:
        """Return the same columns for a generative model; ``scored``: by losses, not by generated text."""
        labels = self.labels(name)
        if self.multiple_choice:
            labels[COMPETING] += f", {self._drawn_options()} options"
        score = self.settings.loss if scored else None
        return {**labels, "prompts": prompts, "protocol": protocol, "answer_score": score}

    def _drawn_options(self) -> int:
        """Return how many options a question gets: fewer than chosen if fewer names compete."""
        labels, known = self.candidates, self.candidates.space.candidates
        sets: list[Iterable[int]] = [range(len(labels.space))]
        if known is not None:
            sets = [{true, *others} for true, others in known.items()]
        most = max(len({labels.texts[name] for name in each}) for each in sets)
        return min(self.settings.options, most)

    def candidate_indices(self, class_index: int) -> tuple[int, ...]:
        """Return the candidates for photos of a class of the benchmark.

        A class none of whose photos the referee could read has no candidates; its own name stands in, so that
        the photos are listed with the reason like any others.
        """
        known, true = self.candidates.space.candidates, self.candidates.true_index[class_index]
        if known is not None and true is not None and true not in known:
            return (true,)
        return tuple(self.candidates.indices(class_index).tolist())

    def recognised_forms(self) -> list[tuple[str, ...]]:
        """Return all texts by which an answer may name each candidate, those of ImageNet's classes too."""
        texts, spellings = self.candidates.texts, self.candidates.spellings
        return [
            tuple(dict.fromkeys([text, *more]))
            for text, more in zip(texts, spellings or [()] * len(texts), strict=True)
        ]
