"""Questions and answers as an LVLM's own chat template writes them, and which tokens are the answer's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.models._base import opens_thoughts

if TYPE_CHECKING:
    import torch
    from PIL import Image


# These families take the question without a template, as their authors do.
WITHOUT_TEMPLATE = ("instructblip",)
# What a template that writes the date gets in every run: the day that Llama's own assume without a clock.
_DAY = datetime(2024, 7, 26, tzinfo=UTC)
_FIXED_CLOCK = (
    "Its chat template writes today's date. Every run gets 26 July 2024 instead, so that losses and answers "
    "do not change from day to day."
)
_THOUGHTS = (
    "Its chat template lets every answer begin with reasoning: losses are those of answers that stand where "
    "the reasoning would begin, and a generated answer counts only if the reasoning ends within its tokens. "
    "Use a model that answers at once."
)
_PER_TOKEN = ("attention_mask", "mm_token_type_ids", "token_type_ids")


@dataclass(frozen=True)
class Candidate:
    """Tokens after the image: a question and an answer, of which those from ``start`` on are scored."""

    tail: tuple[int, ...]
    start: int

    @property
    def scored(self) -> tuple[int, ...]:
        """The tokens of the answer."""
        return self.tail[self.start :]


@dataclass(frozen=True)
class PhotoInputs:
    """What the processor makes of one photo: token ids ``[1, h]`` up to the image's end, and the rest.

    ``per_token`` are ``[1, h]`` companions of the ids, ``others`` the pixels and what belongs to them;
    ``skipped`` are the tokens of the prompt's text that they replace.
    """

    head: torch.Tensor
    per_token: Mapping[str, torch.Tensor]
    others: Mapping[str, torch.Tensor]
    skipped: tuple[int, ...]

    @property
    def reads_question(self) -> bool:
        """Whether the image features depend on the question (InstructBLIP's Q-Former reads it)."""
        return "qformer_input_ids" in self.others

    def with_tail(self, tail: Sequence[int], network: Any) -> dict[str, torch.Tensor]:
        """Return the inputs of one forward pass of ``network`` over the head and ``tail``."""
        import torch

        added = torch.tensor([list(tail)], dtype=self.head.dtype)
        inputs = {"input_ids": torch.cat([self.head, added], dim=1)}
        for name, head in self.per_token.items():
            fill = torch.full_like(added, int(name == "attention_mask"), dtype=head.dtype)
            inputs[name] = torch.cat([head, fill], dim=1)
        return placed({**inputs, **self.others}, network)


class Conversation:
    """Writes prompts with the processor's chat template and splits them into tokens.

    Args:
        spec: the specification, for messages.
        processor: a transformers processor.
        model_type: the model type of the configuration.
        image_token: id of the token that stands for the image, if there is one.

    Attributes:
        template: the template as its author wrote it, if there is one.
        warnings: sentences for the description about how the prompts differ from the author's.

    Raises:
        UsageError: the model has no chat template.
        CounterGroundError: its template fails, or leaves out the question.
    """

    def __init__(self, spec: str, processor: Any, model_type: str, image_token: int | None) -> None:
        self.spec, self.processor = spec, processor
        self.template = _template(processor)
        if self.template is None and model_type not in WITHOUT_TEMPLATE:
            raise UsageError(
                f"{spec} has no chat template, so the form of its prompts is unknown. Put the one it was "
                "trained with into its folder as chat_template.jinja."
            )
        self._image_token = image_token
        self.warnings: tuple[str, ...] = ()
        self._rewritten: dict[str, str] = {}
        if self.template is not None and (fixed := _with_fixed_day(self.template)) != self.template:
            self._rewritten = {"chat_template": fixed}
            self.warnings += (_FIXED_CLOCK,)
        # Both are needed again for every photo, and rendering a template takes milliseconds.
        self._texts: dict[str, tuple[int, ...]] = {}
        self._leads: dict[tuple[str, str], str] = {}
        if self.template is not None:
            self._check_template("What is the main object in the image?")
            if opens_thoughts(self.prompt("What is the main object in the image?")):
                self.warnings += (_THOUGHTS,)

    def prompt(self, question: str) -> str:
        """Return the text that asks a question, up to where the answer begins."""
        if self.template is None:
            return question
        return self._written([_turn("user", question, image=True)], add_generation_prompt=True)

    def lead(self, question: str, answer: str) -> str:
        """Return all text before the answer as the template writes it, including its space."""
        prompt = self.prompt(question)
        if self.template is None:
            return f"{prompt} "
        try:
            whole = self._written([_turn("user", question, image=True), _turn("assistant", answer)])
        except Exception:
            whole = ""
        place = whole.find(answer, len(prompt))
        if whole.startswith(prompt) and place >= 0 and not whole[len(prompt) : place].strip():
            return whole[:place]
        return prompt if prompt[-1:].isspace() else f"{prompt} "

    def inputs(self, image: Image.Image, question: str) -> PhotoInputs:
        """Return one photo and a question as the processor prepares them."""
        prompt = self.prompt(question)
        given = self.prepared(image, question)
        ids = given.pop("input_ids")
        text, whole = self._tokens(prompt), ids[0].tolist()
        shared = 0
        while shared < min(len(text), len(whole)) and text[-1 - shared] == whole[-1 - shared]:
            shared += 1
        tail = text[len(text) - shared :]
        if self._image_token in tail:
            tail = tail[len(tail) - tail[::-1].index(self._image_token) :]
        head = ids.shape[1] - len(tail)
        per_token = {name: given.pop(name)[:, :head] for name in _PER_TOKEN if name in given}
        return PhotoInputs(ids[:, :head], per_token, dict(given), text[: len(text) - len(tail)])

    def prepared(self, image: Image.Image, question: str) -> dict[str, torch.Tensor]:
        """Return the processor's own output for one photo and a question."""
        prompt = self.prompt(question)
        given = self.processor(images=[image], text=[prompt], return_tensors="pt", **self._options(prompt))
        return dict(given)

    def candidate(self, inputs: PhotoInputs, question: str, answer: str) -> Candidate:
        """Return the tokens of a question and its answer that follow the image.

        The answer's tokens are those that differ from the tokens of the text before it, so a token that spans
        the end of one and the beginning of the other counts as the answer's.

        Raises:
            CounterGroundError: the text before the image depends on the question.
        """
        if (question, answer) not in self._leads:
            self._leads[question, answer] = self.lead(question, answer)
        lead = self._leads[question, answer]
        before, whole = self._tokens(lead), self._tokens(lead + answer)
        skipped = len(inputs.skipped)
        start = common_length([before, whole])
        if whole[:skipped] != inputs.skipped or start < skipped or start == len(whole):
            raise CounterGroundError(
                f"{self.spec}: the tokens of the answer {answer!r} cannot be separated from those of its "
                "question. This family of models is not supported."
            )
        return Candidate(whole[skipped:], start - skipped)

    def answer_tokens(self, answer: str) -> tuple[int, ...]:
        """Return the tokens of an answer alone, as given to a decoder that sees no question."""
        tokens = self.processor.tokenizer(answer, add_special_tokens=False)
        return tuple(tokens["input_ids"])

    def _check_template(self, question: str) -> None:
        try:
            written = self.prompt(question)
        except Exception as error:
            raise CounterGroundError(
                f"{self.spec}: its chat template cannot be used ({error_message(error, 160)})."
            ) from error
        if question not in written:
            raise CounterGroundError(
                f"{self.spec}: its chat template leaves out the question; it writes {written[:80]!r}."
            )

    def _tokens(self, text: str) -> tuple[int, ...]:
        if text not in self._texts:
            given = self.processor.tokenizer(text, **self._options(text))
            self._texts[text] = tuple(given["input_ids"])
        return self._texts[text]

    def _options(self, text: str) -> dict[str, Any]:
        # As apply_chat_template does: a template that writes the first token itself must not get it twice.
        bos = self.processor.tokenizer.bos_token
        return {"add_special_tokens": False} if bos and text.startswith(bos) else {}

    def _written(self, turns: list[dict[str, Any]], *, add_generation_prompt: bool = False) -> str:
        return str(
            self.processor.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=add_generation_prompt, **self._rewritten
            )
        )


def placed(inputs: Mapping[str, torch.Tensor], network: Any) -> dict[str, torch.Tensor]:
    """Return the inputs on the network's device, pixels in its precision."""
    dtype = precision_of(network)
    return {
        name: value.to(network.device, dtype if value.is_floating_point() else value.dtype)
        for name, value in inputs.items()
    }


def precision_of(network: Any) -> torch.dtype:
    """Return the dtype of the token embeddings; some networks keep their first tensors in float32."""
    dtype: torch.dtype = network.get_input_embeddings().weight.dtype
    return dtype


def common_length(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all sequences share at the beginning."""
    length = 0
    for tokens in zip(*sequences, strict=False):
        if len(set(tokens)) > 1:
            break
        length += 1
    return length


def _turn(role: str, text: str, *, image: bool = False) -> dict[str, Any]:
    content = [{"type": "image"}] if image else []
    return {"role": role, "content": [*content, {"type": "text", "text": text}]}


def _with_fixed_day(template: str) -> str:
    """Return a template whose calls of ``strftime_now`` with a literal format are dates of ``_DAY``.

    transformers passes no functions to a template, so its clock cannot be replaced by an argument.
    """
    call = re.compile(r"""strftime_now\s*\(\s*(?:'([^'\\]*)'|"([^"\\]*)")\s*\)""")
    return call.sub(lambda found: json.dumps(_DAY.strftime(found[1] or found[2] or "")), template)


def _template(processor: Any) -> str | None:
    found = getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)
    if isinstance(found, dict):
        found = found.get("default")
    return str(found) if found else None
