"""How models are run: what all models of one evaluation share."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Literal, get_args

from counterground.arguments import checked_fields
from counterground.errors import UsageError, did_you_mean
from counterground.models import (
    Generative,
    Model,
    NamedModel,
    Precision,
    Protocol,
    RuntimeChoice,
    load_model,
)
from counterground.photos import MAX_OPTIONS

MULTIPLE_CHOICE: tuple[Protocol, ...] = ("multiple-choice", "multiple-choice-loss")
Loss = Literal["mean", "sum"]
Article = Literal["a", "correct"]
Engine = Literal["local", "ray"]
_MOST_BATCH = 2**16  # photos; a last block with fewer is filled up to a full one


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
        runtime: what runs an encoder's network: ``auto`` (the fastest that gives the numbers of eager
            PyTorch), ``eager``, ``onnx`` or ``compile``.
        as_published: load models as the paper seems to have done.
        fast_decode: decode JPEGs at a reduced size, for models that resize them; outputs say so.
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
        UsageError: a batch size that is not from 1 to 65,536, no workers or GPUs, ``confusable`` without a
            referee, workers without ``ray``, fewer than 2 or more than 26 options, or an unknown value.
    """

    label_space: str | None = None
    referee: str | None = None
    names: str = "openai"
    prompts: str = "simple"
    device: str = "auto"
    precision: Precision = "fp32"
    batch_size: int = 32
    runtime: RuntimeChoice = "auto"
    as_published: bool = False
    fast_decode: bool = False
    offline: bool = False
    show_progress: bool = False
    protocol: Protocol | None = None
    loss: Loss = "mean"
    article: Article = "a"
    aliases: str | None = None
    options: int = 4
    engine: Engine = "local"
    workers: int | None = None
    gpus_per_worker: float | None = None

    def __post_init__(self) -> None:
        for name in ("label_space", "names", "prompts", "aliases", "device"):
            object.__setattr__(self, name, _text(name, getattr(self, name)))
        if self.protocol is not None:
            _check("protocol", self.protocol, get_args(Protocol))
        _check("precision", self.precision, get_args(Precision))
        _check("runtime", self.runtime, get_args(RuntimeChoice))
        _check("loss", self.loss, get_args(Loss))
        _check("article", self.article, get_args(Article))
        _check("engine", self.engine, get_args(Engine))
        if self.engine == "local" and (self.workers, self.gpus_per_worker) != (None, None):
            raise UsageError("--workers and --gpus-per-worker are for a cluster: add --engine ray.")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"There must be at least 1 worker, not {self.workers}.")
        if self.gpus_per_worker is not None and not 0 < self.gpus_per_worker < math.inf:
            raise UsageError(f"--gpus-per-worker must be a number above 0, not {self.gpus_per_worker:g}.")
        if not 2 <= self.options <= MAX_OPTIONS:
            raise UsageError(f"A question has 2 to {MAX_OPTIONS} options, not {self.options}.")
        if not 1 <= self.batch_size <= _MOST_BATCH:
            raise UsageError(f"The batch size is from 1 to {_MOST_BATCH:,}, not {self.batch_size}.")
        if self.referee is not None and not isinstance(self.referee, str):
            raise UsageError(
                f"The referee must be the specification of a model, not {type(self.referee).__name__}."
            )
        if self.label_space == "confusable" and self.referee is None:
            raise UsageError(
                "The confusable label space is chosen by a model: add --referee MODEL, "
                "or give the label_space.json of an earlier run as --label-space."
            )

    def load(self, model: str | NamedModel) -> Model:
        """Load one model as these settings say.

        Raises:
            UsageError: see `load_model`; or a generative model with a runtime for encoders.
            CounterGroundError: see `load_model`; or another model changed the weights of this one.
        """
        if isinstance(model, NamedModel):
            model.check_weights()
        loaded = load_model(
            model,
            device=self.device,
            precision=self.precision,
            as_published=self.as_published,
            offline=self.offline,
            fitted_head=True,
        )
        if isinstance(loaded, Generative) and self.runtime in ("onnx", "compile"):
            raise UsageError(
                f"{loaded.display_name} cannot be run by --runtime {self.runtime}: it is a generative model."
            )
        return loaded


def _text(name: str, value: Any) -> str | None:
    """Return a setting as text: a path of ``pathlib``, or a device of PyTorch, may be given as well."""
    if isinstance(value, str) or (value is None and name in ("label_space", "aliases")):
        return value
    if isinstance(value, os.PathLike) or (name == "device" and type(value).__module__ == "torch"):
        return str(value)
    wanted = "cpu, cuda or mps" if name == "device" else "a word or the path of a file"
    raise UsageError(f"{name} is {wanted}, not {type(value).__name__}.")


def _check(what: str, chosen: str, known: tuple[str, ...]) -> None:
    if chosen not in known:
        raise UsageError(
            f"Unknown {what} {chosen!r}; use {', '.join(known[:-1])} or {known[-1]}."
            f"{did_you_mean(str(chosen), known)}"
        )
