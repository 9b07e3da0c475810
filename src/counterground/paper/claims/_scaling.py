"""Do larger models, more data or cleaner data help? Regressions over the paper's CLIPs (section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass
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
_OUTCOMES: tuple[tuple[Outcome, str], ...] = (
    ("drop", "Drop (points; lower is better)"),
    ("effective robustness", "Effective robustness (points; higher is better)"),
)
_VERDICTS = {"yes": "yes", "no": "no, harms", "inconclusive": "inconclusive"}
_BACKBONES = ("ViT/B/32", "ViT/B/32-256")
_NAMES = {"drop": "drop", "effective robustness": "robustness"}


@dataclass(frozen=True)
class ScalingFit:
    """The regressions of one outcome over one set of CLIPs: all terms together, and each alone."""

    outcome: Outcome
    subset: str
    models: tuple[str, ...]
    joint: Regression
    single: tuple[Regression, ...]
    by_data_set: Regression | None


@dataclass(frozen=True)
class Answer:
    """One question about one outcome over one set of CLIPs.

    ``effect`` (fraction) is what tenfold parameters, tenfold pairs or filtered data change while the other
    two are held; ``alone`` is the term in a regression on nothing else. A lower drop, or higher effective
    robustness, helps: ``verdict`` is ``yes`` if the 95 % interval excludes 0, ``no`` if it does so on the
    harmful side, else ``inconclusive``. ``term`` is that of the regression.

    ``by_data_set`` is the same effect with the data set as the unit, for properties of data sets: their
    levels, at equal parameters, regressed on pairs and filtering. It has few degrees of freedom, but does not
    count models of one data set as independent cases.
    """

    question: str
    change: str
    outcome: Outcome
    subset: str
    n: int
    effect: float
    low: float
    high: float
    p_value: float
    alone: Coefficient
    verdict: Verdict
    term: str
    by_data_set: Coefficient | None

    @property
    def verdict_by_data_set(self) -> Verdict | None:
        """As ``verdict``, with the data set as the unit."""
        return None if self.by_data_set is None else _verdict(self.outcome, self.by_data_set)


@dataclass(frozen=True)
class Scaling:
    """All fits and answers."""

    fits: tuple[ScalingFit, ...]
    answers: tuple[Answer, ...]

    def of(self, outcome: Outcome = "drop", subset: str = EVERY) -> tuple[Answer, ...]:
        """The three answers for one outcome over one set of CLIPs."""
        return tuple(a for a in self.answers if (a.outcome, a.subset) == (outcome, subset))


def scaling(points: pl.DataFrame, robustness: EffectiveRobustness | None = None) -> Scaling:
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
    clips = points.with_row_index("row").filter((pl.col("source") == "paper") & (pl.col("family") == "clip"))
    if clips.is_empty():
        raise ValueError("The scaling analysis needs the paper's CLIPs among the points.")
    outcomes: dict[Outcome, pl.Series] = {"drop": clips["drop"]}
    if robustness is not None:
        residuals = robustness.residuals["residual"].gather(clips["row"])
        if not residuals.null_count():
            outcomes["effective robustness"] = residuals
    fits = [
        _fit(outcome, subset, clips.with_columns(outcome=values).filter(kept))
        for outcome, values in outcomes.items()
        for subset, kept in ((EVERY, pl.lit(value=True)), (WITHOUT, unrelated()))
    ]
    answers = [_answer(fit, term) for fit in fits for term in TERMS]
    return Scaling(tuple(fits), tuple(answers))


def unrelated() -> pl.Expr:
    """Return whether a CLIP shares neither backbone nor data set with the referee."""
    return ~pl.col("backbone").is_in(_BACKBONES) & (pl.col("pretrain_dataset") != "LAION400M")


def _fit(outcome: Outcome, subset: str, clips: pl.DataFrame) -> ScalingFit:
    terms = {
        PARAMETERS: np.log10(clips["parameters"].to_numpy()),
        PAIRS: np.log10(clips["data_size"].to_numpy()),
        FILTERED: clips["high_quality"].to_numpy(),
    }
    values, name = clips["outcome"].to_numpy(), _NAMES[outcome]
    single = [ordinary_least_squares(values, {term: column}, name=name) for term, column in terms.items()]
    joint = ordinary_least_squares(values, terms, name=name)
    return ScalingFit(outcome, subset, tuple(clips["model"]), joint, tuple(single), _by_data_set(clips, name))


def _by_data_set(clips: pl.DataFrame, name: str) -> Regression | None:
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
    return ordinary_least_squares(levels, terms, name=f"{name} of a data set")


def _answer(fit: ScalingFit, term: str) -> Answer:
    effect = fit.joint[term]
    alone = fit.single[TERMS.index(term)][term]
    by_data_set = fit.by_data_set[term] if fit.by_data_set and term != PARAMETERS else None
    question, change = QUESTIONS[term]
    return Answer(
        question,
        change,
        fit.outcome,
        fit.subset,
        fit.joint.n,
        effect.value,
        effect.low,
        effect.high,
        effect.p_value,
        alone,
        _verdict(fit.outcome, effect),
        term,
        by_data_set,
    )


def _verdict(outcome: Outcome, effect: Coefficient) -> Verdict:
    if effect.low <= 0 <= effect.high:
        return "inconclusive"
    better = -1 if outcome == "drop" else 1
    return "yes" if effect.value * better > 0 else "no"


def scaling_table(scaling: Scaling) -> Table:
    """Return the three answers for each outcome and set of CLIPs."""
    counts = {fit.subset: fit.joint.n for fit in scaling.fits}
    columns = [Column("Over the paper's CLIPs")]
    columns += [Column(f"{subset} ({counts[subset]})", True) for subset in (EVERY, WITHOUT)]
    rows: list[list[Cell]] = []
    headings = set()
    for outcome, title in _OUTCOMES:
        if not scaling.of(outcome):
            continue
        headings.add(len(rows))
        rows.append(heading(title, len(columns)))
        pairs = zip(scaling.of(outcome, EVERY), scaling.of(outcome, WITHOUT), strict=True)
        for every, without in pairs:
            rows.append([Cell(every.question, every.change), *map(_answer_cell, (every, without))])
            if every.term == FILTERED:
                sets = [fit.by_data_set for fit in scaling.fits if fit.outcome == outcome]
                numbers = " and ".join("too few" if fit is None else str(fit.n) for fit in sets)
                name = Cell("The same, data sets as units", f"{numbers} data sets")
                rows.append([name, *map(_data_set_cell, (every, without))])
    note = (
        f"{scaling.fits[0].joint.formula}, and the same for robustness: ordinary least squares, 95 % "
        "intervals from t; each effect with the other two held constant. The CLIPs were trained on few data "
        "sets, and the intervals assume that models are independent of each other, which makes them "
        "narrower. Models were not randomly assigned to sizes or data: effects here are associations."
    )
    title = "Do size, more data and cleaner data help?"
    caption = f"{title} {note}"
    return Table(columns, rows, caption, title, (note,), headings=frozenset(headings))


def _answer_cell(answer: Answer) -> Cell:
    return Cell(f"{_VERDICTS[answer.verdict]}: {signed(answer.effect)}", bounds(answer.low, answer.high))


def _data_set_cell(answer: Answer) -> Cell:
    found, verdict = answer.by_data_set, answer.verdict_by_data_set
    if found is None or verdict is None:
        return Cell(NOTHING)
    return Cell(f"{_VERDICTS[verdict]}: {signed(found.value)}", bounds(found.low, found.high))
