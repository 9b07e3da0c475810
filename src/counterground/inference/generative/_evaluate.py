"""Ask a generative model under its protocol: check first, say what it costs, then score or generate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from counterground.errors import UsageError
from counterground.inference._predict import prediction_table, result_columns
from counterground.inference._request import (
    MAIN_OBJECT,
    PromptSpec,
    Request,
    check_protocol,
    gives_losses,
    load_requested,
    prompt_specs,
)
from counterground.inference._store import ReadStatus
from counterground.inference.generative._answers import (
    MAX_NEW_TOKENS,
    RULE,
    Answers,
    GenerativeOutput,
    Matcher,
    generate_answers,
    prompt_of,
    says_yes,
)
from counterground.inference.generative._scored_answers import (
    Choice,
    choice_table,
    choices_of,
    deciding,
    lowest_wins,
    score_pairs,
)
from counterground.models import Generative, expected_kind
from counterground.results import PositionsRecord

_MAX_SCORED = 100
_YES_RULE = "The first word of the answer is yes or no; any other answer counts as no."
_ORDERS = (
    "The options start in an order drawn from photo_id. All cyclic rotations of it are asked, so that each "
    "option stands once at each position; the mean loss over them decides, or the majority of the answers."
)
_LETTER_RULE = (
    "An answer is read where it is the letter of an option, alone or in parentheses, with or without a point "
    "or colon, and nothing after it but the text of that option. What a model writes between <think> and "
    "</think> is no part of its answer. Any other answer is unparsable and counts for no option."
)


def check_generative(request: Request) -> None:
    """Refuse what generative models cannot be asked, before any other work.

    Models whose specification does not tell their kind are checked when they are evaluated.

    Raises:
        UsageError: a model cannot be asked under this protocol, or there are too many candidates to score.
    """
    for given in request.models:
        kind = None if given.made is not None else expected_kind(given.spec)
        if kind in ("dual_encoder", "classifier", "image_encoder"):
            refuse_encoder(request, given.name)
        elif (
            given.spec.startswith("hf:") and kind
        ):  # those of packages may have a protocol without candidates
            _check_candidate_count(request, given.name)
        elif given.spec.startswith(("http:", "https:")):
            model = load_requested(given, request.settings)
            assert isinstance(model, Generative)
            _prompts(request, model)


def refuse_encoder(request: Request, name: str) -> None:
    """Refuse a dual encoder or a classifier if models choose among the options of a question.

    Raises:
        UsageError: models choose among options.
    """
    if request.multiple_choice:
        raise UsageError(
            f"{name} cannot be evaluated here: -X protocol asks questions, and only generative models answer "
            "them. So leave it out, or evaluate it without -X protocol."
        )


def evaluate_generative(request: Request, model: Generative) -> GenerativeOutput:
    """Ask a generative model about every photo.

    Several options are listed by letter in each of their cyclic rotations, and an option's loss is the mean
    of its letters' losses over them. Each option stands once at each position, so whatever a position adds to
    a loss is added to all options. Without losses, letters are generated, and the option chosen in most
    orders wins. ``multiple-choice-loss`` lists no options: the loss of each option's text decides.

    Raises:
        UsageError: see `check_generative`.
        CounterGroundError: the model fails, or no photo can be read.
    """
    prompts = _prompts(request, model)
    if prompts:
        generates = prompts[0].answer is None
        return (_generated if generates else _scored)(request, model, prompts)
    choices = choices_of(request)
    return (_by_loss if gives_losses(model) else _by_text)(request, model, choices)


def _prompts(request: Request, model: Generative) -> list[PromptSpec]:
    """Return how a model is asked, checked; nothing if it chooses among options."""
    if request.multiple_choice:
        assert request.settings.protocol is not None
        check_protocol(model, request.settings.protocol)
        return []
    prompts = prompt_specs(model, request.settings.protocol)
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


def _account(request: Request, model: Generative, prompt: PromptSpec) -> dict[str, Any]:
    """Describe a prompt, with one question written out as the model got it."""
    example, answer = prompt.about(request.candidates.texts[0])
    account: dict[str, Any] = {
        "protocol": prompt.protocol,
        "question": prompt.question,
        "example": prompt_of(model, example, answer if prompt.answer else None),
    }
    if prompt.answer is None:
        rule = RULE if prompt.protocol == "free-form" else _YES_RULE
        return {**account, "max_new_tokens": MAX_NEW_TOKENS, "rule": rule}
    return {**account, "answer": prompt.answer, "lowest": f"{request.settings.loss} of token losses"}


def _scored(request: Request, model: Generative, prompts: Sequence[PromptSpec]) -> GenerativeOutput:
    """Score the candidate answers for each photo."""
    classes = request.benchmark.photos["class_index"].to_list()
    asked = [_account(request, model, prompt) for prompt in prompts]
    tables, reads = [], []
    for prompt in prompts:
        about = {index: _scored_choice(request, prompt, index) for index in set(classes)}
        pairs = [about[index][1] for index in classes]
        scored, read = score_pairs(request, model, pairs)
        labels = request.asked_labels(model.display_name, prompt.protocol, prompt.label, scored=True)
        tables.append(lowest_wins(request, labels, [about[index][0] for index in classes], read, scored))
        reads.append(read)
    # Losses for one prompt may be stored, and the file be lost before the next.
    reasons = {row: reason for read in reversed(reads) for row, reason in read.reasons.items()}
    converted = np.logical_or.reduce([read.converted for read in reads])
    return GenerativeOutput(pl.concat(tables), ReadStatus(converted, reasons), asked)


def _scored_choice(
    request: Request, prompt: PromptSpec, class_index: int
) -> tuple[Choice, list[tuple[str, str]]]:
    """Return the candidates of a class, and the question and answer of each."""
    texts, names = request.candidates.texts, tuple(sorted(request.candidate_indices(class_index)))
    true = request.candidates.true_index[class_index]
    place = -1 if true is None or true not in names else names.index(true)
    choice = Choice(prompt.question, tuple(texts[name] for name in names), names, place)
    return choice, [prompt.about(text) for text in choice.texts]


def _generated(request: Request, model: Generative, prompts: Sequence[PromptSpec]) -> GenerativeOutput:
    """Ask about every photo, and read the answers: the class they name, or yes and no."""
    free, photos = prompts[0].protocol == "free-form", request.benchmark.photos
    asked = [_account(request, model, prompt) for prompt in prompts]
    about = {index: _questions(request, prompts, index) for index in photos["class_index"].unique()}
    questions: dict[str, list[str]] = {}
    for photo, index in photos.select("photo_id", "class_index").iter_rows():
        questions[photo] = list(dict.fromkeys([*questions.get(photo, ()), *about[index]]))
    answers, read = generate_answers(request, model, questions)
    readable = photos[np.flatnonzero(read.readable).tolist()]
    tables, texts = [], []
    for prompt in prompts:
        results, lines = (_named if free else _affirmed)(request, prompt, readable, answers)
        labels = request.asked_labels(model.display_name, prompt.protocol, prompt.label, scored=False)
        tables.append(prediction_table(readable, results, request.candidates, labels))
        texts.append(_written(lines, labels))
    predictions = pl.concat(tables)
    unmatched = predictions["predicted_index"].null_count()
    return GenerativeOutput(predictions, read, asked, pl.concat(texts), unmatched)


def _questions(request: Request, prompts: Sequence[PromptSpec], class_index: int) -> list[str]:
    """Return the questions to ask about a photo of a class."""
    names = [request.candidates.texts[name] for name in request.candidate_indices(class_index)]
    texts = names if "{}" in prompts[0].question else [""]
    return list(dict.fromkeys(prompt.about(text)[0] for prompt in prompts for text in texts))


_Line = tuple[str, str, str, str | None]
"""A photo's path, a question, the answer, and the class or option that it names."""


def _written(lines: Sequence[_Line], labels: dict[str, Any]) -> pl.DataFrame:
    schema = dict.fromkeys(("path", "question", "answer", "named"), pl.String)
    table = pl.DataFrame(lines, schema=schema, orient="row")
    return table.with_columns(model=pl.lit(labels["model"]), prompts=pl.lit(labels["prompts"]))


def _named(
    request: Request, prompt: PromptSpec, photos: pl.DataFrame, answers: Answers
) -> tuple[pl.DataFrame, list[_Line]]:
    """Let the first name in an answer win; see ``RULE``."""
    question, candidates = prompt.about("")[0], request.candidates
    matcher = Matcher(request.recognised_forms())
    allowed = {index: set(candidates.indices(index).tolist()) for index in photos["class_index"].unique()}
    rows, lines = [], []
    for path, photo, index in photos.select("path", "photo_id", "class_index").iter_rows():
        text = answers[photo, question].text
        named = matcher.match(text, allowed[index])
        rows.append((named, named is not None and named == candidates.true_index[index], None, None))
        lines.append((path, question, text, None if named is None else candidates.space.names[named]))
    return _results(rows), lines


def _affirmed(
    request: Request, prompt: PromptSpec, photos: pl.DataFrame, answers: Answers
) -> tuple[pl.DataFrame, list[_Line]]:
    """Let the name that gets a yes win, the lowest index of several; a photo without a yes is unmatched."""
    candidates = request.candidates
    rows = []
    lines: list[_Line] = []
    for path, photo, index in photos.select("path", "photo_id", "class_index").iter_rows():
        yes = set()
        for name in candidates.indices(index).tolist():
            question = prompt.about(candidates.texts[name])[0]
            text = answers[photo, question].text
            affirmed = says_yes(text)
            lines.append((path, question, text, candidates.space.names[name] if affirmed else None))
            yes |= {name} if affirmed else set()
        best, own = min(yes, default=None), candidates.true_index[index]
        rank = sum(name < own for name in yes) if own in yes else None
        rows.append((best, best is not None and best == own, rank, float(len(yes) == 1) if yes else None))
    return _results(rows), lines


def _results(rows: Sequence[tuple[int | None, bool, int | None, float | None]]) -> pl.DataFrame:
    """Return the result columns of answers that were read, without a confidence."""
    schema = {
        "predicted_index": pl.Int32(),
        "correct": pl.Boolean(),
        "true_rank": pl.Int32(),
        "top2_gap": pl.Float32(),
    }
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return table.with_columns(confidence=pl.lit(None, pl.Float32))


def _by_loss(request: Request, model: Generative, choices: Sequence[Choice]) -> GenerativeOutput:
    """Let the option with the lowest loss win: of its text, or of its letter, averaged over the orders."""
    listed = request.settings.protocol != "multiple-choice-loss"
    pairs = [choice.letters() if listed else choice.answers() for choice in choices]
    losses, read = score_pairs(request, model, pairs)
    labels, account = _labels(request, model, choices, scored=True)
    account |= {
        "example": prompt_of(model, *pairs[0][0]),
        "answer": "the text of each option; the options are not listed",
        "lowest": f"{request.settings.loss} of token losses",
    }
    positions: tuple[PositionsRecord, ...] = ()
    if listed:
        by_order = [of.reshape(2, len(choice), -1) for choice, of in zip(choices, losses, strict=True)]
        rows = np.flatnonzero(read.readable).tolist()
        picked = [deciding(by_order[row], request).argmin(axis=1).tolist() for row in rows]
        positions = _positions([choices[row] for row in rows], picked)
        losses = [_over_orders(each) for each in by_order]
        account |= {
            "answer": "the letter of each option",
            "orders": _ORDERS,
            "lowest": f"{request.settings.loss} of token losses, averaged over the orders",
        }
    predictions = lowest_wins(request, labels, choices, read, losses)
    return GenerativeOutput(predictions, read, [account], positions=positions)


def _over_orders(losses: np.ndarray) -> np.ndarray:
    """Return ``[2, k]``: the mean for each option over what ``[2, order, position]`` holds."""
    orders, positions = np.mgrid[: losses.shape[1], : losses.shape[1]]
    of_option = np.zeros_like(losses)
    of_option[:, orders, (positions + orders) % losses.shape[1]] = losses
    return np.asarray(of_option.mean(axis=1))


def _by_text(request: Request, model: Generative, choices: Sequence[Choice]) -> GenerativeOutput:
    """Let the option chosen in most orders win; of several the first, in an order that the photo decides."""
    contents = request.benchmark.photos["photo_id"]
    questions: dict[str, list[str]] = {}
    for photo, choice in zip(contents, choices, strict=True):
        questions[photo] = list(dict.fromkeys([*questions.get(photo, ()), *choice.prompts()]))
    answers, read = generate_answers(request, model, questions)
    rows = np.flatnonzero(read.readable).tolist()
    photos, asked = request.benchmark.photos[rows], [choices[row] for row in rows]
    votes = np.full((len(rows), max(map(len, asked))), -np.inf, dtype=np.float32)
    picked: list[list[int | None]] = []
    lines: list[_Line] = []
    for row, (path, photo, choice) in enumerate(zip(photos["path"], photos["photo_id"], asked, strict=True)):
        votes[row, : len(choice)] = 0
        picked.append([])
        for order, prompt in enumerate(choice.prompts()):
            text = answers[photo, prompt].text
            option = choice.read(text, order)
            lines.append((path, prompt, text, None if option is None else choice.texts[option]))
            picked[-1].append(None if option is None else (option - order) % len(choice))
            if option is not None:
                votes[row, option] += 1 / len(choice)
    labels, account = _labels(request, model, choices, scored=False)
    account |= {
        "example": prompt_of(model, asked[0].prompts()[0]),
        "orders": _ORDERS,
        "max_new_tokens": MAX_NEW_TOKENS,
        "rule": _LETTER_RULE,
    }
    results = result_columns(votes, np.array([choice.true for choice in asked]), 1.0)
    known = pl.Series(votes.max(axis=1) > 0)
    results = results.with_columns(
        *(pl.when(known).then(column) for column in ("predicted_index", "true_rank", "top2_gap")),
        correct=known & pl.col("correct"),
        confidence=pl.lit(None, pl.Float32),
    )
    predictions = choice_table(request, labels, photos, asked, results)
    return GenerativeOutput(
        predictions,
        read,
        [account],
        _written(lines, labels),
        predictions["predicted_index"].null_count(),
        positions=_positions(asked, picked),
    )


def _labels(
    request: Request, model: Generative, choices: Sequence[Choice], *, scored: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns that identify the predictions, and the account of how a model was asked.

    Its ``options`` are the numbers of options that occur.
    """
    protocol, question = request.settings.protocol, MAIN_OBJECT
    assert protocol is not None
    labels = request.asked_labels(model.display_name, protocol, question, scored=scored)
    counts = sorted({len(choice) for choice in choices})
    return labels, {"protocol": protocol, "question": question, "options": counts}


def _positions(
    choices: Sequence[Choice], picked: Sequence[Sequence[int | None]]
) -> tuple[PositionsRecord, ...]:
    """Return, by number of options, how often each position was chosen; ``picked`` are positions by order."""
    records = []
    for k in sorted({len(choice) for choice in choices}):
        chosen = [each for choice, each in zip(choices, picked, strict=True) if len(choice) == k]
        known = [position for each in chosen for position in each if position is not None]
        counts = np.bincount(known, minlength=k)
        options = [{(at + order) % k for order, at in enumerate(each) if at is not None} for each in chosen]
        same = [len(of) == 1 and None not in each for of, each in zip(options, chosen, strict=True)]
        records.append(
            PositionsRecord(
                options=k,
                asked=len(chosen),
                chosen=[float(share) for share in counts / max(1, len(known))],
                same_option=float(np.mean(same)),
                unparsable=k * len(chosen) - len(known),
            )
        )
    return tuple(records)
