"""How models are run: what all models of one evaluation share."""

from __future__ import annotations

from dataclasses import dataclass

from counterground.errors import UsageError, did_you_mean
from counterground.inference.generative._protocol import check_protocol
from counterground.models import Model, Protocol, load_model

LOSSES = ("mean", "sum")
ARTICLES = ("a", "correct")


@dataclass(frozen=True)
class Settings:
    """How models are run.

    ``label_space`` is ``benchmark``, ``imagenet``, ``confusable`` or a file (None: ``imagenet`` where every
    class has an ImageNet index, else ``benchmark``); ``names`` and ``prompts`` are built-in names or files;
    ``referee`` chooses the confusable names. The rest is for generative models: ``protocol`` (None:
    ``answer-loss``, or ``free-form`` where a model gives no losses), ``loss`` (``mean`` over the tokens of an
    answer, as the paper's models report it, or ``sum``), ``article`` (``a`` before every name, as in the
    paper, or the ``correct`` one) and ``aliases``, a JSON file of other words for classes.

    Raises:
        UsageError: a batch size under 1, ``confusable`` without a referee, or an unknown word.
    """

    label_space: str | None = None
    referee: str | None = None
    names: str = "openai"
    prompts: str = "simple"
    device: str = "auto"
    precision: str = "fp32"
    batch_size: int = 32
    as_published: bool = False
    offline: bool = False
    show_progress: bool = False
    protocol: Protocol | None = None
    loss: str = "mean"
    article: str = "a"
    aliases: str | None = None

    def __post_init__(self) -> None:
        check_protocol(self.protocol)
        for what, chosen, known in (("loss", self.loss, LOSSES), ("article", self.article, ARTICLES)):
            if chosen not in known:
                raise UsageError(
                    f"Unknown {what} {chosen!r}; use {' or '.join(known)}.{did_you_mean(chosen, known)}"
                )
        if self.batch_size < 1:
            raise UsageError(f"The batch size must be at least 1, not {self.batch_size}.")
        if self.label_space == "confusable" and self.referee is None:
            raise UsageError(
                "The confusable label space is chosen by a model: add --referee MODEL, "
                "or give the label_space.json of an earlier run as --label-space."
            )

    def load(self, spec: str) -> Model:
        """Load one model as these settings say."""
        return load_model(
            spec,
            device=self.device,
            precision=self.precision,
            as_published=self.as_published,
            offline=self.offline,
        )
