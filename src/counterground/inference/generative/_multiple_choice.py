"""Multiple choice: the option that a model chooses for every photo, whatever the order of the options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.inference._predict import prediction_table, result_columns
from counterground.inference.generative._answer_losses import with_losses
from counterground.inference.generative._choice_losses import (
    ORDERS,
    RULE,
    Choice,
    choices_of,
    question_label,
    score_pairs,
)
from counterground.inference.generative._free_form import generate_answers
from counterground.inference.generative._generation import MAX_NEW_TOKENS, GenerativeOutput, prompt_of
from counterground.inference.request import Request, check_protocol, gives_losses
from counterground.inference.store import ReadStatus
from counterground.results import PositionsRecord

if TYPE_CHECKING:
    from counterground.models import Generative
    from counterground.settings import Protocol


def choice_protocol(request: Request, model: Generative) -> Protocol:
    """Return the protocol a model is asked under.

    Raises:
        UsageError: the model cannot be asked under it.
    """
    protocol = request.settings.protocol or "multiple-choice"
    check_protocol(model, protocol)
    return protocol


def choice_questions(request: Request, choices: Sequence[Choice]) -> dict[str, list[str]]:
    """Return the prompts about each photo, by content: one for each order of its options."""
    prompts: dict[str, dict[str, None]] = {}
    for photo, choice in zip(request.benchmark.photos["photo_id"], choices, strict=True):
        prompts.setdefault(photo, {}).update(dict.fromkeys(map(choice.prompt, range(len(choice)))))
    return {photo: list(asked) for photo, asked in prompts.items()}


def ask_choices(request: Request, model: Generative) -> GenerativeOutput:
    """Let a model choose among the options of every photo.

    By letter, the options are listed in each of their cyclic rotations, and an option's loss is the mean of
    its letters' losses over them. Each option stands once at each position, so whatever a position adds to a
    loss is added to all options. Without losses, letters are generated, and the option chosen in most orders
    wins. By loss, the options are not listed, and the loss of each option's text decides.

    Raises:
        UsageError: the model cannot be asked under the protocol.
        CounterGroundError: the model fails, or no photo can be read.
    """
    protocol, choices = choice_protocol(request, model), choices_of(request)
    if protocol == "multiple-choice-loss":
        return _by_loss(request, model, choices)
    return _by_letter(request, model, choices) if gives_losses(model) else _by_text(request, model, choices)


def _by_loss(request: Request, model: Generative, choices: Sequence[Choice]) -> GenerativeOutput:
    scored, read = score_pairs(request, model, [choice.answers() for choice in choices])
    labels = _labels(request, model, "multiple-choice-loss", scored=True)
    account = {
        "example": prompt_of(model, *choices[0].answers()[0]),
        "answer": "the text of each option; the options are not listed",
        "lowest": f"{request.settings.loss} of token losses",
    }
    predictions = _predictions(request, labels, choices, read, scored)
    return GenerativeOutput(predictions, read, [_account(choices, labels, account)])


def _by_letter(request: Request, model: Generative, choices: Sequence[Choice]) -> GenerativeOutput:
    scored, read = score_pairs(request, model, [choice.letters() for choice in choices])
    by_order = [
        losses.reshape(2, len(choice), len(choice)) for choice, losses in zip(choices, scored, strict=True)
    ]
    rows = np.flatnonzero(read.readable).tolist()
    picked = [_deciding(by_order[row], request).argmin(axis=1).tolist() for row in rows]
    labels = _labels(request, model, "multiple-choice", scored=True)
    account = {
        "example": prompt_of(model, *choices[0].letters()[0]),
        "answer": "the letter of each option",
        "orders": ORDERS,
        "lowest": f"{request.settings.loss} of token losses, averaged over the orders",
    }
    return GenerativeOutput(
        _predictions(request, labels, choices, read, [_over_orders(losses) for losses in by_order]),
        read,
        [_account(choices, labels, account)],
        positions=_positions([choices[row] for row in rows], picked),
    )


def _over_orders(losses: np.ndarray) -> np.ndarray:
    """Return ``[2, k]``: the mean for each option over what ``[2, order, position]`` holds."""
    orders, positions = np.mgrid[: losses.shape[1], : losses.shape[1]]
    of_option = np.zeros_like(losses)
    of_option[:, orders, (positions + orders) % losses.shape[1]] = losses
    return np.asarray(of_option.mean(axis=1))


def _by_text(request: Request, model: Generative, choices: Sequence[Choice]) -> GenerativeOutput:
    answers, read = generate_answers(request, model, choice_questions(request, choices))
    rows = np.flatnonzero(read.readable).tolist()
    photos, asked = request.benchmark.photos[rows], [choices[row] for row in rows]
    chosen: list[list[int | None]] = []
    lines = []
    for path, photo, choice in zip(photos["path"], photos["photo_id"], asked, strict=True):
        prompts = [choice.prompt(order) for order in range(len(choice))]
        texts = [answers[photo, prompt].text for prompt in prompts]
        options = [choice.read(text, order) for order, text in enumerate(texts)]
        chosen.append(options)
        named = [None if option is None else choice.texts[option] for option in options]
        lines += [(path, *line) for line in zip(prompts, texts, named, strict=True)]
    labels = _labels(request, model, "multiple-choice", scored=False)
    predictions = _voted(request, labels, photos, asked, chosen)
    schema = dict.fromkeys(("path", "question", "answer", "named"), pl.String)
    table = pl.DataFrame(lines, schema=schema, orient="row")
    account = {
        "example": prompt_of(model, asked[0].prompt(0)),
        "orders": ORDERS,
        "max_new_tokens": MAX_NEW_TOKENS,
        "rule": RULE,
    }
    picked = [
        [None if option is None else (option - order) % len(choice) for order, option in enumerate(options)]
        for choice, options in zip(asked, chosen, strict=True)
    ]
    return GenerativeOutput(
        predictions,
        read,
        [_account(choices, labels, account)],
        table.with_columns(model=pl.lit(labels["model"]), prompts=pl.lit(labels["prompts"])),
        predictions["predicted_index"].null_count(),
        positions=_positions(asked, picked),
    )


def _labels(request: Request, model: Generative, protocol: Protocol, *, scored: bool) -> dict[str, Any]:
    return request.choice_labels(model.display_name, question_label(request), protocol, scored=scored)


def _account(choices: Sequence[Choice], labels: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Describe how a model was asked, for ``run.json``; ``options`` are the numbers of options that occur."""
    counts = sorted({len(choice) for choice in choices})
    return {"protocol": labels["protocol"], "question": labels["prompts"], "options": counts, **more}


def _deciding(losses: np.ndarray, request: Request) -> np.ndarray:
    """Return the deciding loss, given ``[2, ...]`` summed losses and tokens."""
    total, tokens = losses
    return np.asarray(total if request.settings.loss == "sum" else total / np.maximum(tokens, 1))


def _predictions(
    request: Request,
    labels: dict[str, Any],
    choices: Sequence[Choice],
    read: ReadStatus,
    losses: Sequence[np.ndarray],
) -> pl.DataFrame:
    """Let the option with the lowest loss win; ``losses`` are ``[2, k]`` for each photo, sums and tokens."""
    rows = np.flatnonzero(read.readable).tolist()
    widest = max(len(choices[row]) for row in rows)
    table = np.full((2, len(rows), widest), np.inf, dtype=np.float32)
    for at, row in enumerate(rows):
        table[:, at, : len(choices[row])] = losses[row]
    deciding, total = np.full_like(table[0], np.inf), table[0].astype(np.float64)
    known = np.isfinite(total)
    deciding[known] = _deciding(table[:, known], request)
    asked = [choices[row] for row in rows]
    results = result_columns(-deciding, np.array([choice.true for choice in asked]), 1.0)
    results = with_losses(results, total, table[1])
    return _table(request, labels, request.benchmark.photos[rows], asked, results)


def _voted(
    request: Request,
    labels: dict[str, Any],
    photos: pl.DataFrame,
    choices: Sequence[Choice],
    chosen: Sequence[Sequence[int | None]],
) -> pl.DataFrame:
    """Let the option chosen in most orders win; of several the first, in an order that the photo decides."""
    votes = np.full((len(choices), max(map(len, choices))), -np.inf, dtype=np.float32)
    for row, (choice, options) in enumerate(zip(choices, chosen, strict=True)):
        votes[row, : len(choice)] = 0
        for option in options:
            if option is not None:
                votes[row, option] += 1 / len(choice)
    results = result_columns(votes, np.array([choice.true for choice in choices]), 1.0)
    read = pl.Series(votes.max(axis=1) > 0)
    results = results.with_columns(
        predicted_index=pl.when(read).then("predicted_index"),
        correct=read & pl.col("correct"),
        true_rank=pl.when(read).then("true_rank"),
        confidence=pl.lit(None, pl.Float32),
        top2_gap=pl.when(read).then("top2_gap"),
    )
    return _table(request, labels, photos, choices, results)


def _table(
    request: Request,
    labels: dict[str, Any],
    photos: pl.DataFrame,
    choices: Sequence[Choice],
    results: pl.DataFrame,
) -> pl.DataFrame:
    """Return rows of ``predictions.parquet``, with options as indices in the candidate labels."""
    picked = results["predicted_index"].to_list()
    index = [None if at is None else choice.indices[at] for at, choice in zip(picked, choices, strict=True)]
    results = results.with_columns(
        predicted_index=pl.Series(index, dtype=pl.Int32),
        true_index=pl.Series([choice.indices[choice.true] for choice in choices], dtype=pl.Int32),
    )
    return prediction_table(photos, results, request.candidates, labels)


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
