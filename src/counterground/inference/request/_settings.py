"""How models are run, and what generative ones are asked."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal, get_args

from pydantic import Field

from counterground.arguments import Positive, Text, checked_fields
from counterground.errors import UsageError
from counterground.models import (
    NEED_LOSSES,
    Generative,
    Model,
    NamedModel,
    Precision,
    Protocol,
    RuntimeChoice,
    load_model,
)
from counterground.photos import LABEL_SPACE_FILE, MAX_OPTIONS, Benchmark

MULTIPLE_CHOICE: tuple[Protocol, ...] = ("multiple-choice", "multiple-choice-loss")
Loss = Literal["mean", "sum"]
Article = Literal["a", "correct"]
Engine = Literal["local", "ray"]


@checked_fields
@dataclass(frozen=True, kw_only=True)
class Settings:
    """How models are run.

    Attributes:
        label_space: ``benchmark``, ``imagenet``, ``confusable`` or a file; None is ``imagenet`` if every
            class of the benchmark has an ImageNet index, else ``benchmark``.
        referee: spec of the model that chooses the confusable names.
        names: how ImageNet classes are written: ``openai``, ``wordnet`` or a file.
        prompts: ``simple``, ``openai`` or a file of templates.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: precision of the image tower.
        batch_size: photos in one forward pass of an encoder.
        runtime: what runs an encoder's network: ``eager`` PyTorch, ``onnx``, ``compile``, or ``auto`` (on a
            CPU and for many photos ONNX Runtime, if it gives eager PyTorch's numbers).
        offline: use only weights that are on this machine.
        show_progress: show progress bars, and what calls to an endpoint will cost.
        protocol: how generative models are asked; None is ``answer-loss``, or ``free-form`` for a model that
            gives no losses; for a benchmark with questions of its own it is ``multiple-choice``.
        options: how many options a question has under multiple choice, if the benchmark has none.
        loss: how an answer's token losses combine: ``mean``, as the paper's models report it, or ``sum``.
        article: ``a`` before every name, as in the paper, or the ``correct`` one.
        aliases: a JSON file of other words for classes, for generative models.
        engine: ``local``, or ``ray`` for the workers of a Ray cluster. It does not change the results.
        workers: cap on the number of workers; None for all there is room for.
        gpus_per_worker: GPUs of each worker, also a fraction; None for one if models run on ``cuda``.

    Raises:
        UsageError: an unknown value or one out of range, ``confusable`` without a referee, or workers without
            ``ray``.
    """

    label_space: Text | None = None
    referee: str | None = None
    names: Text = "openai"
    prompts: Text = "simple"
    device: Text = "auto"
    precision: Precision = "fp32"
    batch_size: Annotated[int, Field(ge=1, le=2**16)] = 32  # a last block is filled up to a full one
    runtime: RuntimeChoice = "auto"
    offline: bool = False
    show_progress: bool = False
    protocol: Protocol | None = None
    loss: Loss = "mean"
    article: Article = "a"
    aliases: Text | None = None
    options: Annotated[int, Field(ge=2, le=MAX_OPTIONS)] = 4
    engine: Engine = "local"
    workers: Positive | None = None
    gpus_per_worker: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    def __post_init__(self) -> None:
        if self.engine == "local" and (self.workers, self.gpus_per_worker) != (None, None):
            raise UsageError("--workers and --gpus-per-worker are for a cluster: add --engine ray.")
        if self.label_space == "confusable" and self.referee is None:
            raise UsageError(
                "The confusable label space is chosen by a model: add --referee MODEL, "
                f"or give the {LABEL_SPACE_FILE} of an earlier run as --label-space."
            )

    @property
    def chooser(self) -> str | None:
        """Specification of the model that chooses the candidate names, None if none does."""
        return self.referee if self.label_space == "confusable" else None

    @property
    def decides_names(self) -> bool:
        """Whether the user decided which names compete; else the benchmark's classes do."""
        return self.label_space is not None and self.chooser is None

    def resolved(self, benchmark: Benchmark) -> Settings:
        """Return the same with the label space that a benchmark gets if none was chosen."""
        return replace(self, label_space=self.label_space or default_space(benchmark))

    @property
    def own_names(self) -> bool:
        """Whether the candidate names, or how they are written, were chosen by the user."""
        return self.label_space is not None or self.names != Settings.names

    def load(self, model: str | NamedModel) -> Model:
        """Load one model as these settings say.

        Raises:
            UsageError: see `load_model`; or a generative model with a runtime for encoders.
            CounterGroundError: see `load_model`.
        """
        loaded = load_model(
            model,
            device=self.device,
            precision=self.precision,
            offline=self.offline,
            fitted_head=True,
        )
        if isinstance(loaded, Generative) and self.runtime in ("onnx", "compile"):
            raise UsageError(
                f"{loaded.display_name} cannot be run by --runtime {self.runtime}: it is a generative model."
            )
        return loaded


def default_space(benchmark: Benchmark) -> str:
    """Return ``imagenet`` if each class of the benchmark is one or more of ImageNet's, else ``benchmark``."""
    space = benchmark.classes
    return "benchmark" if None in space.imagenet and space.members is None else "imagenet"


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
_ARTICLE = re.compile(r"\b([Aa]) \{\}")
# Written with a vowel and spoken with a consonant, and the other way round.
_SPOKEN_CONSONANT = re.compile(
    r"(eu|ewe|one\b|once|u\b|ubiq|uni([^mn]|$)|unan|use|usu|ut[aeio]|uk|ura|uri)", re.I
)
_SPOKEN_VOWEL = re.compile(r"(hour|honest|honou?r|heir|[Xx]-?ray|[fhlmnrsx]\b|[FHLMNRSX][A-Z])")


@dataclass(frozen=True)
class PromptSpec:
    """Templates of a question and of the scored answer, ``{}`` for the class.

    ``answer`` is None if generated text is read instead. ``label`` identifies the prompt in the tables, in
    the column ``prompts``.
    """

    protocol: Protocol
    question: str
    answer: str | None
    correct_article: bool

    @property
    def label(self) -> str:
        text = self.question if self.answer is None else f"{self.question} {self.answer}"
        return _ARTICLE.sub(r"\1(n) {}", text) if self.correct_article else text

    def about(self, name: str) -> tuple[str, str]:
        """Return question and scored answer for one name."""
        return self._filled(self.question, name), self._filled(self.answer or "", name)

    def _filled(self, template: str, name: str) -> str:
        if self.correct_article and takes_an(name):
            template = _ARTICLE.sub(r"\1n {}", template)
        return template.replace("{}", name)


def prompt_specs(model: Generative, protocol: Protocol | None, article: Article) -> list[PromptSpec]:
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
    return [PromptSpec(chosen, text + ending, answer, article == "correct") for text in _QUESTIONS[chosen]]


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
        raise UsageError(f"{model.spec} gives no losses, which {chosen} needs; use --protocol {possible}.")
    raise UsageError(f"{model.spec} cannot be asked under {chosen}; use --protocol {possible}.")


def takes_an(name: str) -> bool:
    """Whether a name takes *an*: by its first sound, not its first letter (an hour, a European)."""
    text = name.strip()
    if _SPOKEN_VOWEL.match(text):
        return True
    return text[:1].lower() in "aeiou" and text != "" and not _SPOKEN_CONSONANT.match(text)
