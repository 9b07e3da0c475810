"""Comparisons as fragments of HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.comparison.tables._lines import equation
from counterground.results import (
    PICTURE,
    Estimate,
    Head,
    block,
    bounds,
    count,
    figure,
    folded,
    p_value,
    paragraphs,
    percent,
    picture,
    table,
)

if TYPE_CHECKING:
    from counterground.comparison._comparison import Comparison
    from counterground.comparison._robustness import EffectiveRobustness, RobustnessLine
    from counterground.comparison._scaling import Answer, Scaling


_ROWS = 12
_SENTENCES = 4
_MODELS = (
    Head("Model"),
    Head("From"),
    Head("Common", "Accuracy on common photos, percent.", numeric=True),
    Head("Counter", "Accuracy on counter photos, percent.", numeric=True),
    Head("Drop", "Common minus counter, points.", numeric=True),
    PICTURE,
    Head(
        "Above the line",
        "Counter accuracy above what the baseline family has at the same common accuracy; the interval holds "
        "where the line may be and the model's own sampling error.",
        numeric=True,
    ),
    Head("Rank", "By drop, 1 is the smallest; with the range of ranks the photos allow.", numeric=True),
)
_TESTS = (
    Head("Drop of"),
    Head("minus that of"),
    Head("Points", "Difference of the two drops on the same photos.", numeric=True),
    Head("p (Holm)", "Corrected for all tests on these photos.", numeric=True),
)


def comparison_html(comparison: Comparison) -> str:
    """Return models with lines and ranks, paired tests of drops, the scaling answers and all warnings."""
    models = comparison.models
    mine = ~pl.col("source").is_in(["paper", "reproduction"])
    first = pl.concat([models.filter(mine), models.filter(pl.col("source") == "paper")])
    again = models.filter(pl.col("source") == "reproduction")
    lines = comparison.robustness.lines
    parts = [
        f"<p><b>{escape(_counted(models))}</b></p>",
        _unfolding(_MODELS, [_model(row) for row in first.rows(named=True)], "model"),
        folded(
            table(_MODELS, [_model(row) for row in again.rows(named=True)]), again.height, "reproduced model"
        ),
        paragraphs([_line(line, comparison.robustness) for line in lines], _SENTENCES, "line", fine=True),
        _tests(comparison.tests),
        scaling_html(comparison.scaling) if comparison.scaling is not None else "",
        _warnings(comparison.warnings),
    ]
    return block(*parts)


def robustness_html(robustness: EffectiveRobustness) -> str:
    """Return the lines in words and each model's distance from its own, in points."""
    heads = (*_MODELS[:4], _MODELS[6])
    rows = []
    for row in robustness.residuals.rows(named=True):
        sides = [percent(row["common"]), percent(row["counter"])]
        rows.append(
            [escape(row["label"]), escape(row["source"]), *sides, _signed(row, "residual", "low", "high")]
        )
    lines = [_line(line, robustness) for line in robustness.lines]
    return block(
        paragraphs(lines, _SENTENCES, "line"),
        _unfolding(heads, rows, "model"),
        _warnings(robustness.warnings),
    )


def scaling_html(scaling: Scaling) -> str:
    """Return the three answers over each set of CLIPs, with intervals, and what must be said beside them."""
    heads = (
        Head("Question"),
        Head("Change", "What the effect goes with, the other two held."),
        Head("Effect, points", "Ordinary least squares, with its 95 % interval.", numeric=True),
        Head("p", numeric=True),
        Head("Answer"),
    )
    rows: list[Sequence[str] | str] = []
    above = ""
    for answer in scaling.answers:
        over = f"{answer.outcome[0].upper()}{answer.outcome[1:]}, {answer.subset} ({answer.n})"
        rows += [over] * (over != above)
        rows.append(_answer(answer))
        above = over
    return block(
        table(heads, rows),
        paragraphs(scaling.caveats, _SENTENCES, "caveat", fine=True),
    )


def _warnings(sentences: Sequence[str]) -> str:
    return paragraphs([f"Warning: {sentence}" for sentence in sentences], _SENTENCES, "warning", fine=True)


def _counted(models: pl.DataFrame) -> str:
    number = models["source"].value_counts(sort=True)
    of = {"paper": "of the paper", "reproduction": "of its 2025 reproduction"}
    counted = [f"{count(n)} {of.get(source, f'of {source}')}" for source, n in number.iter_rows()]
    return f"Models: {', '.join(counted)}"


def _model(row: dict[str, Any]) -> list[str]:
    sides = {
        side: Estimate(row[side], row[f"{side}_low"], row[f"{side}_high"]) for side in ("common", "counter")
    }
    drop = Estimate(row["drop"], row["drop_low"], row["drop_high"])
    return [
        escape(row["label"]),
        escape(row["source"]),
        *(figure(side.text, side.interval) for side in (*sides.values(), drop)),
        picture(sides["common"], sides["counter"]),
        _signed(row, "residual", "residual_low", "residual_high"),
        _rank(row),
    ]


def _rank(row: dict[str, Any]) -> str:
    if row["rank"] is None:
        return ""
    return figure(f"{row['rank']} of {row['of']}", f"{row['rank_low']} to {row['rank_high']}")


def _tests(tests: pl.DataFrame) -> str:
    drops = tests.filter(pl.col("metric") == "drop", pl.col("difference").is_not_null())
    rows = [
        [
            escape(row["model_a"]),
            escape(row["model_b"]),
            _signed(row, "difference", "low", "high"),
            escape(p_value(row["p_holm"])),
        ]
        for row in drops.rows(named=True)
    ]
    return _unfolding(_TESTS, rows, "test") if rows else ""


def _answer(answer: Answer) -> list[str]:
    effect = figure(_points(answer.effect), bounds(answer.low, answer.high))
    return [
        escape(answer.question),
        escape(answer.change),
        effect,
        escape(p_value(answer.p_value)),
        escape(answer.verdict),
    ]


def _line(line: RobustnessLine, robustness: EffectiveRobustness) -> str:
    whose = f"Line of {robustness.baseline} models on {line.title} ({line.source})"
    return f"{whose}: {equation(line.fit)}, {line.fit.n} models."


def _signed(row: dict[str, Any], value: str, low: str, high: str) -> str:
    if row[value] is None:
        return ""
    return figure(_points(row[value]), bounds(row[low], row[high]))


def _points(value: float) -> str:
    return f"{'+' if value > 0 else ''}{percent(value)}"


def _unfolding(heads: Sequence[Head], rows: Sequence[Sequence[str]], noun: str) -> str:
    """The first rows as a table, the others in one that can be unfolded."""
    rest = rows[_ROWS:]
    more = folded(table(heads, rest), len(rest), noun) if rest else ""
    return table(heads, rows[:_ROWS]) + more
