"""Ask a generative model under its protocol: check first, say what it costs, then score or generate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from counterground.errors import UsageError
from counterground.inference.generative._answer_losses import score_answers
from counterground.inference.generative._choice_losses import choices_of
from counterground.inference.generative._free_form import (
    RULE,
    count_calls,
    generate_and_read,
    questions_about,
)
from counterground.inference.generative._generation import MAX_NEW_TOKENS, GenerativeOutput, prompt_of
from counterground.inference.generative._multiple_choice import (
    ask_choices,
    choice_protocol,
    choice_questions,
)
from counterground.inference.request import PromptSpec, Request, gives_losses, load_requested, prompt_specs
from counterground.inference.store import ReadStatus
from counterground.models import Generative, expected_kind

_MAX_SCORED = 100


def check_generative(request: Request) -> None:
    """Refuse what generative models cannot be asked, and say what calls will cost, before any other work.

    Models whose specification does not tell their kind are checked when they are evaluated.

    Raises:
        UsageError: a model cannot be asked under this protocol, or there are too many candidates to score.
    """
    for given in request.models:
        kind = None if given.made is not None else expected_kind(given.spec)
        if kind in ("dual_encoder", "classifier", "image_encoder"):
            refuse_encoder(request, given.name)
        if kind != "generative":
            continue
        if not given.spec.startswith(("http:", "https:")):
            if given.spec.startswith("hf:"):  # those of packages may have a protocol without candidates
                _check_candidate_count(request, given.name)
            continue
        model = load_requested(given, request.settings)
        assert isinstance(model, Generative)
        _print_calls(request, model)


def refuse_encoder(request: Request, name: str) -> None:
    """Refuse a dual encoder or a classifier if models choose among the options of a question.

    Raises:
        UsageError: models choose among options.
    """
    if request.multiple_choice:
        reason, remedy = (
            ("the benchmark has questions", "leave it out")
            if request.benchmark.has_questions
            else ("-X protocol asks questions", "leave it out, or evaluate it without -X protocol")
        )
        raise UsageError(
            f"{name} cannot be evaluated here: {reason}, and only generative models answer them. So {remedy}."
        )


def evaluate_generative(request: Request, model: Generative) -> GenerativeOutput:
    """Ask a generative model about every photo.

    Raises:
        UsageError: see `check_generative`.
        CounterGroundError: the model fails, or no photo can be read.
    """
    _announce_calls(request, model)
    if request.multiple_choice:
        return ask_choices(request, model)
    prompts = _checked_prompts(request, model)
    asked = [_account(request, model, prompt) for prompt in prompts]
    if prompts[0].answer is None:
        return generate_and_read(request, model, prompts, asked)
    scored = [score_answers(request, model, prompt) for prompt in prompts]
    return GenerativeOutput(
        pl.concat([table for table, _ in scored]), _read_for_all([read for _, read in scored]), asked
    )


def _read_for_all(reads: Sequence[ReadStatus]) -> ReadStatus:
    """Return which photos were read for all prompts: losses for one may be stored, and the file be lost."""
    reasons = {row: reason for read in reversed(reads) for row, reason in read.reasons.items()}
    readable = np.logical_and.reduce([read.readable for read in reads])
    return ReadStatus(readable, np.logical_or.reduce([read.converted for read in reads]), reasons)


def _checked_prompts(request: Request, model: Generative) -> list[PromptSpec]:
    prompts = prompt_specs(model, request.settings.protocol, request.settings.article)
    if prompts[0].protocol != "free-form":
        _check_candidate_count(request, model.spec)
    return prompts


def _check_candidate_count(request: Request, spec: str) -> None:
    """Refuse to score too many answers for each photo; ``free-form`` and a few options are no problem."""
    if request.settings.protocol == "free-form" or request.multiple_choice:
        return
    classes = request.benchmark.photos["class_index"].unique().to_list()
    most = max(len(request.candidate_indices(index)) for index in classes)
    if most > _MAX_SCORED:
        raise UsageError(
            f"{spec} scores an answer for every candidate, which is {most:,} for each photo. "
            "Use --label-space confusable --referee MODEL, which leaves 20."
        )


def _announce_calls(request: Request, model: Generative) -> None:
    """Say what calls to a model of the user's own will cost; `check_generative` has done so for endpoints.

    Raises:
        UsageError: see `check_generative`.
    """
    specs = [each.spec for each in request.models if each.made is None]
    announced = model.spec in specs and model.spec.startswith(("http:", "https:"))
    if model.price is not None and not announced:
        _print_calls(request, model)


def _print_calls(request: Request, model: Generative) -> None:
    """Print to standard error how many calls are to be made, and what they cost if that is known.

    Raises:
        UsageError: see `check_generative`.
    """
    if request.multiple_choice:
        choice_protocol(request, model)
        questions = {} if gives_losses(model) else choice_questions(request, choices_of(request))
    else:
        prompts = _checked_prompts(request, model)
        questions = {} if prompts[0].answer is not None else questions_about(request, prompts)
    if not request.settings.show_progress or not questions:
        return
    calls, cached = count_calls(model, questions)
    cost = "" if model.price is None else f", at {model.price:g} per call {calls * model.price:,.2f} in total"
    Console(stderr=True, highlight=False, markup=False, emoji=False).print(
        f"{model.display_name}: {calls:,} calls to make{cost}; {cached:,} answers are cached."
    )


def _account(request: Request, model: Generative, prompt: PromptSpec) -> dict[str, Any]:
    """Describe a prompt, with one question written out as the model got it."""
    example, answer = prompt.about(request.candidates.texts[0])
    account: dict[str, Any] = {
        "protocol": prompt.protocol,
        "question": prompt.question,
        "example": prompt_of(model, example, answer if prompt.answer else None),
    }
    if prompt.answer is None:
        rule = (
            RULE
            if prompt.protocol == "free-form"
            else "The first word of the answer is yes or no; any other answer counts as no."
        )
        return {**account, "max_new_tokens": MAX_NEW_TOKENS, "rule": rule}
    return {**account, "answer": prompt.answer, "lowest": f"{request.settings.loss} of token losses"}
