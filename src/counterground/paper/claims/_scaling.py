"""Do larger models, more data or cleaner data help? Regressions over the paper's CLIPs (section 5.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import polars as pl

from counterground.comparison import EffectiveRobustness
from counterground.metrics import Coefficient, Regression, ordinary_least_squares
from counterground.results import Cell, Column, Table, heading
from counterground.text import NOTHING, bounds, signed

Outcome = Literal["drop", "effective robustness"]
Verdict = Literal["yes", "no", "inconclusive"]

PARAMETERS, PAIRS, FILTERED = "log10(parameters)", "log10(pairs)", "filtered"
TERMS = (PARAMETERS, PAIRS, FILTERED)
EVERY, WITHOUT = "all CLIPs", "without ViT/B/32 and LAION400M"
QUESTIONS = {
    PARAMETERS: ("Do larger models help?", "ten times the parameters"),
    PAIRS: ("Does more data help?", "ten times the training pairs"),
    FILTERED: ("Does cleaner data help?", "filtered data (DataComp, DFN)"),
}
_OUTCOMES: dict[Outcome, str] = {
    "drop": "Drop (points; lower is better)",
    "effective robustness": "Effective robustness (points; higher is better)",
}
_VERDICTS = {"yes": "yes", "no": "no, harms", "inconclusive": "inconclusive"}
_BACKBONES = ("ViT/B/32", "ViT/B/32-256")


@dataclass(frozen=True)
class Answer:
    """One question about one outcome over one set of CLIPs.

    ``effect`` (fraction) is what tenfold parameters, tenfold pairs or filtered data change while the other
    two are held; ``alone`` is the term in a regression on nothing else.

    ``by_data_set`` is the same effect with the ``data_sets`` as units, for properties of data sets: their
    levels, at equal parameters, regressed on pairs and filtering. It has few degrees of freedom, but does not
    count models of one data set as independent cases.
    """

    outcome: Outcome
    subset: str
    term: str
    n: int
    effect: Coefficient
    alone: Coefficient
    by_data_set: Coefficient | None
    data_sets: int | None

    @property
    def question(self) -> str:
        """What is asked."""
        return QUESTIONS[self.term][0]

    @property
    def verdict(self) -> Verdict:
        """Whether it helps: a lower drop, or higher effective robustness, whose 95 % interval excludes 0."""
        return self.verdict_of(self.effect)

    def verdict_of(self, effect: Coefficient) -> Verdict:
        """Return the verdict on another estimate of the effect."""
        if effect.low <= 0 <= effect.high:
            return "inconclusive"
        return "yes" if (effect.value < 0) == (self.outcome == "drop") else "no"


def scaling(points: pl.DataFrame, robustness: EffectiveRobustness | None = None) -> tuple[Answer, ...]:
    """Regress the drop, and effective robustness, of the paper's CLIPs on size, data and filtering.

    ``drop ~ 1 + log10(parameters) + log10(pairs) + filtered`` by ordinary least squares, jointly and term by
    term, over the 28 CLIPs of Table 3 and again without every ViT/B/32 (256 pixels too) and every model
    trained on LAION400M: the benchmark was made with CLIP-LAION400M-ViT/B/32, and the figures of section 5.2
    (6 and 7) leave both out. Effective robustness (counter accuracy above the line of the baseline) is a
    separate outcome because a drop shrinks with accuracy alone.

    Args:
        points: what ``model_points`` returns, the paper's rows among them.
        robustness: what ``effective_robustness`` returns for the same points.

    Raises:
        ValueError: the paper's CLIPs are not among the points.
    """
    clips = points.with_row_index("row").filter(source="paper", family="clip")
    if clips.is_empty():
        raise ValueError("The scaling analysis needs the paper's CLIPs among the points.")
    outcomes: dict[Outcome, pl.Series] = {"drop": clips["drop"]}
    if robustness is not None:
        residuals = robustness.residuals["residual"].gather(clips["row"])
        if not residuals.null_count():
            outcomes["effective robustness"] = residuals
    subsets = {EVERY: pl.lit(value=True), WITHOUT: unrelated()}
    return tuple(
        answer
        for (outcome, values), (subset, kept) in product(outcomes.items(), subsets.items())
        for answer in _answers(outcome, subset, clips.with_columns(outcome=values).filter(kept))
    )


def unrelated() -> pl.Expr:
    """Return whether a CLIP shares neither backbone nor data set with the referee."""
    return ~pl.col("backbone").is_in(_BACKBONES) & (pl.col("pretrain_dataset") != "LAION400M")


def _answers(outcome: Outcome, subset: str, clips: pl.DataFrame) -> Iterator[Answer]:
    terms = {
        PARAMETERS: np.log10(clips["parameters"].to_numpy()),
        PAIRS: np.log10(clips["data_size"].to_numpy()),
        FILTERED: clips["high_quality"].to_numpy(),
    }
    values = clips["outcome"].to_numpy()
    joint, sets = ordinary_least_squares(values, terms), _by_data_set(clips)
    for term, column in terms.items():
        alone = ordinary_least_squares(values, {term: column})[term]
        by_data_set = sets[term] if sets and term != PARAMETERS else None
        count = sets.n if sets else None
        yield Answer(outcome, subset, term, joint.n, joint[term], alone, by_data_set, count)


def _by_data_set(clips: pl.DataFrame) -> Regression | None:
    """Regress the levels of data sets on their size and filtering; None if there are too few.

    The levels are those of an analysis of covariance with the parameters, at their mean.
    """
    sets = clips.select("pretrain_dataset", "data_size", "high_quality").unique(maintain_order=True)
    if sets.height <= len(TERMS):
        return None
    parameters = np.log10(clips["parameters"].to_numpy())
    members = clips["pretrain_dataset"].to_numpy()[:, None] == sets["pretrain_dataset"].to_numpy()
    design = np.column_stack([members, parameters - parameters.mean()])
    levels = np.linalg.lstsq(design, clips["outcome"].to_numpy(), rcond=None)[0][: sets.height]
    terms = {PAIRS: np.log10(sets["data_size"].to_numpy()), FILTERED: sets["high_quality"].to_numpy()}
    return ordinary_least_squares(levels, terms)


def scaling_table(answers: Sequence[Answer]) -> Table:
    """Return the three answers for each outcome and set of CLIPs."""
    counts = {answer.subset: answer.n for answer in answers}
    columns = [Column("Over the paper's CLIPs")]
    columns += [Column(f"{subset} ({n})", True) for subset, n in counts.items()]
    rows: list[list[Cell]] = []
    headings = set()
    for outcome, title in _OUTCOMES.items():
        if not any(answer.outcome == outcome for answer in answers):
            continue
        headings.add(len(rows))
        rows.append(heading(title, len(columns)))
        for term, question in QUESTIONS.items():
            both = [answer for answer in answers if (answer.outcome, answer.term) == (outcome, term)]
            rows.append([Cell(*question), *(_cell(each, each.effect) for each in both)])
        numbers = " and ".join(str(each.data_sets or "too few") for each in both)
        name = Cell("The same, data sets as units", f"{numbers} data sets")
        rows.append([name, *(_cell(each, each.by_data_set) for each in both)])
    note = (
        f"drop ~ 1 + {' + '.join(TERMS)}, and the same for robustness: ordinary least squares, 95 % "
        "intervals from t; each effect with the other two held constant. The CLIPs were trained on few data "
        "sets, and the intervals assume that models are independent of each other, which makes them "
        "narrower. Models were not randomly assigned to sizes or data: effects here are associations."
    )
    title = "Do size, more data and cleaner data help?"
    return Table(columns, rows, note, title, headings=frozenset(headings))


def _cell(answer: Answer, effect: Coefficient | None) -> Cell:
    if effect is None:
        return Cell(NOTHING)
    verdict = _VERDICTS[answer.verdict_of(effect)]
    return Cell(f"{verdict}: {signed(effect.value)}", bounds(effect.low, effect.high))
