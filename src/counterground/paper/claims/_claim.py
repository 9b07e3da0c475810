"""Do larger models, more data or cleaner data help? Regressions over the paper's CLIPs (section 5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from scipy.special import stdtrit

from counterground.comparison import (
    UNLIKELY,
    EffectiveRobustness,
    RobustnessLine,
    effective_robustness,
    model_points,
    numbers_of_photos,
)
from counterground.metrics import (
    LEVEL,
    Coefficient,
    Regression,
    Scale,
    holm,
    ordinary_least_squares,
    scale_density,
    to_scale,
)
from counterground.published import SETTINGS, PaperSetting
from counterground.results import Cell, Column, Table, heading
from counterground.text import NOTHING, bounds, decimal, signed

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
    return Table(columns, rows, note, title, headings=frozenset(headings))


def _answer_cell(answer: Answer) -> Cell:
    return Cell(f"{_VERDICTS[answer.verdict]}: {signed(answer.effect)}", bounds(answer.low, answer.high))


def _data_set_cell(answer: Answer) -> Cell:
    found, verdict = answer.by_data_set, answer.verdict_by_data_set
    if found is None or verdict is None:
        return Cell(NOTHING)
    return Cell(f"{_VERDICTS[verdict]}: {signed(found.value)}", bounds(found.low, found.high))


_INTERVALS = (
    "distance",
    "distance_by_data_set",
    "change",
    "offset",
    "larger_models",
    "cleaner_data",
    "cleaner_data_by_data_set",
)
CLAIM_SCHEMA: dict[str, Any] = {
    "setting": pl.String,
    "tables": pl.String,
    "subset": pl.String,
    "clips": pl.Int64,
    "data_sets": pl.Int64,
    "imagenet_models": pl.Int64,
    **{f"{name}{end}": pl.Float64 for name in _INTERVALS for end in ("", "_low", "_high")},
    "distance_with_errors": pl.Float64,
    **{
        f"{test}_{side}": pl.Int64
        for test in ("interval", "p", "holm", "benjamini_hochberg")
        for side in ("below", "above")
    },
}
"""Columns of ``claim_by_setting``.

``distance`` is counter accuracy minus that of the ImageNet line, mean over the CLIPs (fraction), and
``distance_by_data_set`` the mean over their training sets; ``distance_with_errors`` is from the line with
errors in both accuracies. ``change`` is the mean difference between a CLIP's distance and its distance in the
first setting, with both lines as they are (null there). ``offset`` (on the scale) is the term of the family
in an analysis of covariance. ``larger_models`` is what tenfold parameters add to the distance,
``cleaner_data`` what filtered data add to the drop (``Scaling``). All have 95 % intervals. Counts: CLIPs
whose whole interval is below or above the line, those with p < 0.05, and those that remain when the p-values
of all CLIPs of the setting are corrected.
"""

_ODD = "without ViT/bigG/14 and RN50x16"
_ODD_BACKBONES = ("ViT/bigG/14", "RN50x16")


def claim_by_setting(scale: Scale = "probit") -> pl.DataFrame:
    """Measure the paper's CLIPs against the line of its ImageNet models in each setting.

    The line and all tests are those of ``effective_robustness``; the family is tested by ``probit(counter) ~
    1 + probit(common) + clip`` over all models, ordinary least squares. Intervals treat the models, or the
    data sets, as independent draws, and are conditional on the photos: all models saw the same.

    Args:
        scale: ``probit`` or ``logit``.

    Returns:
        The columns of ``CLAIM_SCHEMA``: for each setting a row over all CLIPs and one without those related
        to the referee, and for the 80 prompts one without two odd rows of Table 10.

    Raises:
        UsageError: an unknown scale.
    """
    return _claim_by_setting(scale).clone()  # a frame can be changed in place


@cache
def _claim_by_setting(scale: Scale) -> pl.DataFrame:
    measured = {name: _measured(setting, scale) for name, setting in SETTINGS.items()}
    first = next(iter(measured.values())).clips.select("model", before="residual")
    rows = [row for name, found in measured.items() for row in _rows(SETTINGS[name], found, first)]
    return pl.DataFrame(rows, schema=CLAIM_SCHEMA)


class _Measured(NamedTuple):
    """Models of one setting with their distances, and places on the scale."""

    line: RobustnessLine
    classifiers: pl.DataFrame
    clips: pl.DataFrame
    answers: tuple[Answer, ...]


def _measured(setting: PaperSetting, scale: Scale) -> _Measured:
    points = model_points(setting=setting.name).filter(pl.col("family").is_in(["clip", "imagenet"]))
    robustness = effective_robustness(points, scale=scale)
    answers = scaling(points, robustness).answers
    found = robustness.residuals.select("residual", "low", "high", "p_value")
    clip = pl.col("family") == "clip"
    models = pl.concat([points, found], how="horizontal").with_columns(_places(points, scale))
    clips = models.filter(clip)
    p_values = clips["p_value"].to_list()
    clips = clips.with_columns(
        holm=pl.Series(holm(p_values), dtype=pl.Float64),
        benjamini_hochberg=pl.Series(_benjamini_hochberg(p_values)),
    )
    return _Measured(robustness.lines[0], models.filter(~clip), clips, answers)


def _rows(setting: PaperSetting, found: _Measured, first: pl.DataFrame) -> Iterator[dict[str, Any]]:
    classifiers, clips = found.classifiers, found.clips
    subsets = {EVERY: pl.lit(value=True), WITHOUT: unrelated()}
    if setting.prompts == "openai":
        subsets[_ODD] = ~pl.col("backbone").is_in(_ODD_BACKBONES)
    for subset, kept in subsets.items():
        part = clips.filter(kept)
        yield {
            "setting": setting.name,
            "tables": setting.tables,
            "subset": subset,
            "clips": part.height,
            "data_sets": part["pretrain_dataset"].n_unique(),
            "imagenet_models": classifiers.height,
            **_distances(part, found.line),
            **_change(part, first),
            **_interval("offset", _offset(pl.concat([classifiers, part.select(classifiers.columns)]))),
            **_effects([answer for answer in found.answers if answer.subset == subset]),
            **_counts(part),
        }


def _places(points: pl.DataFrame, scale: Scale) -> list[pl.Series]:
    return [
        pl.Series(f"{group}_place", to_scale(points[group], scale, numbers_of_photos(points, f"n_{group}")))
        for group in ("common", "counter")
    ]


def _interval(name: str, found: Coefficient | Answer | None) -> dict[str, float | None]:
    if found is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    value = found.effect if isinstance(found, Answer) else found.value
    return {name: value, f"{name}_low": found.low, f"{name}_high": found.high}


def _distances(clips: pl.DataFrame, line: RobustnessLine) -> dict[str, float | None]:
    """The mean distance: its error is that of the line, common to all, and that of the mean of the models."""
    fit = line.fit
    slopes = scale_density(fit.at(clips["common_place"].to_numpy()), fit.scale)
    away = clips["common_place"].to_numpy() - fit.centre
    # In any other order the last digit of their mean would differ from call to call.
    by_data_set = clips.group_by("pretrain_dataset", maintain_order=True).agg(pl.col("residual").mean())
    of_set = clips.select(1 / (pl.len().over("pretrain_dataset") * by_data_set.height)).to_series().to_numpy()
    alike = np.full(clips.height, 1 / clips.height)
    found: dict[str, float | None] = {}
    for name, values, weights in (
        ("distance", clips, alike),
        ("distance_by_data_set", by_data_set, of_set),
    ):
        at_mean, tilted = weights @ slopes, weights @ (slopes * away)
        of_line = fit.residual_sd**2 * (at_mean**2 / fit.n + tilted**2 / fit.spread)
        distances = values["residual"].to_numpy()
        of_mean = distances.var(ddof=1) / len(distances)
        # Satterthwaite's degrees of freedom of a sum of two independent variances.
        df = (of_line + of_mean) ** 2 / (of_line**2 / (fit.n - 2) + of_mean**2 / (len(distances) - 1))
        half = stdtrit(df, (1 + LEVEL) / 2) * np.sqrt(of_line + of_mean)
        mean = float(distances.mean())
        found |= {name: mean, f"{name}_low": float(mean - half), f"{name}_high": float(mean + half)}
    if line.with_errors is not None:
        further = clips["counter"].to_numpy() - line.with_errors.predict(clips["common"].to_numpy())
        found["distance_with_errors"] = float(further.mean())
    return found


def _change(clips: pl.DataFrame, first: pl.DataFrame) -> dict[str, float | None]:
    """Return the mean change of distance since the first setting; null in the first."""
    changes = (
        clips.join(first, on="model", maintain_order="left")
        .select(pl.col("residual") - pl.col("before"))
        .to_series()
        .to_numpy()
    )
    if not changes.any():
        return _interval("change", None)
    n, mean = len(changes), float(changes.mean())
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2) * changes.std(ddof=1) / np.sqrt(n))
    return {"change": mean, "change_low": mean - half, "change_high": mean + half}


def _offset(models: pl.DataFrame) -> Coefficient:
    """Return how much higher CLIPs are than ImageNet models of the same common accuracy, on the scale."""
    terms = {"common": models["common_place"].to_numpy(), "clip": (models["family"] == "clip").to_numpy()}
    return ordinary_least_squares(models["counter_place"].to_numpy(), terms, name="counter")["clip"]


def _effects(answers: list[Answer]) -> dict[str, float | None]:
    of = {(answer.outcome, answer.term): answer for answer in answers}
    cleaner = of.get(("drop", FILTERED))
    return {
        **_interval("larger_models", of.get(("effective robustness", PARAMETERS))),
        **_interval("cleaner_data", cleaner),
        **_interval("cleaner_data_by_data_set", cleaner.by_data_set if cleaner else None),
    }


def _counts(clips: pl.DataFrame) -> dict[str, int]:
    below, above = pl.col("residual") < 0, pl.col("residual") > 0
    tests = {"p": "p_value", "holm": "holm", "benjamini_hochberg": "benjamini_hochberg"}
    counts = {"interval_below": pl.col("high") < 0, "interval_above": pl.col("low") > 0}
    for name, column in tests.items():
        unlikely = pl.col(column) < UNLIKELY
        counts |= {f"{name}_below": unlikely & below, f"{name}_above": unlikely & above}
    return {name: int(clips.select(expression.sum()).item()) for name, expression in counts.items()}


def _benjamini_hochberg(p_values: list[float]) -> np.ndarray[Any, Any]:
    """Return p-values adjusted so that each states its false discovery rate."""
    p = np.array(p_values)
    order = np.argsort(p)[::-1]
    scaled = p[order] * len(p) / np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(np.minimum(scaled, 1.0))
    return adjusted


def claim_table(claim: pl.DataFrame, scale: Scale) -> Table:
    """Return the settings with the mean distance, counts and offset of each (columns of ``CLAIM_SCHEMA``)."""
    columns = (
        Column("Line and CLIPs from"),
        Column("Distance", True, "Mean of counter accuracy minus that of the line, points."),
        Column("Below", True, "CLIPs whose whole interval is below the line."),
        Column("Above", True, "CLIPs whose whole interval is above the line."),
        Column("Offset", True, f"Of the CLIPs in an analysis of covariance, {scale}s."),
        Column("Larger", True, "What tenfold parameters add to the distance, points."),
    )
    rows: list[list[Cell]] = []
    headings = set()
    for (name,), part in claim.group_by("setting", maintain_order=True):
        setting = SETTINGS[name]
        headings.add(len(rows))
        rows.append(heading(f"{setting.tables}: {setting.description}", len(columns)))
        for row in part.iter_rows(named=True):
            cells = [Cell(f"{row['subset']} ({row['clips']})"), _points(row, "distance")]
            cells += [Cell(str(row[f"interval_{side}"])) for side in ("below", "above")]
            rows.append([*cells, _on_scale(row, "offset"), _points(row, "larger_models")])
    title = "Does the claim hold in the paper's other settings?"
    note = (
        "Each block fits the line through the ImageNet models of its tables. Distance: counter accuracy "
        "minus that of the line at the same common accuracy, mean over the CLIPs, in points; the interval "
        "includes the uncertainty of the line and the differences between CLIPs, which are taken as "
        "independent: it is about other models on these photos, not about other photos. Below, above: CLIPs "
        "whose whole interval is off the line. Offset: how far CLIPs are above ImageNet models of equal "
        f"common accuracy ({scale}s), by analysis of covariance over all models. Larger: what ten times the "
        "parameters add to the distance, with equal data."
    )
    return Table(columns, rows, note, title, headings=frozenset(headings))


def _points(row: dict[str, Any], name: str) -> Cell:
    if row[name] is None:
        return Cell(NOTHING)
    return Cell(signed(row[name]), bounds(row[f"{name}_low"], row[f"{name}_high"]))


def _on_scale(row: dict[str, Any], name: str) -> Cell:
    value, low, high = (decimal(row[f"{name}{end}"], 3) for end in ("", "_low", "_high"))
    return Cell(value if value.startswith("−") else f"+{value}", f"[{low}, {high}]")
