"""The paper's claim, that CLIPs are below the line of ImageNet models, in each of its settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy import stats
from scipy.special import stdtrit

from counterground.catalogue import Finding
from counterground.comparison import (
    Comparison,
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
from counterground.published import SETTINGS
from counterground.results import Cell, Column, Table, TableView, heading
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
_OUTCOMES: dict[Outcome, str] = {
    "drop": "Drop (points; lower is better)",
    "effective robustness": "Effective robustness (points; higher is better)",
}
_VERDICTS = {"yes": "yes", "no": "no, harms", "inconclusive": "inconclusive"}
_RELATED = pl.col("backbone").is_in(["ViT/B/32", "ViT/B/32-256"]) | (
    pl.col("pretrain_dataset") == "LAION400M"
)
_SUBSETS = {EVERY: pl.lit(value=True), WITHOUT: ~_RELATED}
"""Sets of CLIPs: the referee has the second's backbone and data set."""


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


def scaling(points: pl.DataFrame, robustness: EffectiveRobustness) -> tuple[Answer, ...]:
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
    residuals = robustness.residuals["residual"].gather(clips["row"])
    outcomes: dict[Outcome, pl.Series] = {"drop": clips["drop"], "effective robustness": residuals}
    return tuple(
        answer
        for (outcome, values), (subset, kept) in product(outcomes.items(), _SUBSETS.items())
        for answer in _answers(outcome, subset, clips.with_columns(outcome=values).filter(kept))
    )


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
        For each setting a row over all CLIPs and one without those related to the referee, and for the 80
        prompts one without two odd rows of Table 10.

        ``distance`` is counter accuracy minus that of the ImageNet line, mean over the CLIPs (fraction), and
        ``distance_by_data_set`` the mean over their training sets; ``distance_with_errors`` is from the line
        with errors in both accuracies. ``change`` is the mean difference between a CLIP's distance and its
        distance in the first setting, with both lines as they are (null there). ``offset`` (on the scale) is
        the term of the family in an analysis of covariance. ``larger_models`` is what tenfold parameters add
        to the distance, ``cleaner_data`` what filtered data add to the drop (``Scaling``). All have 95 %
        intervals. Counts: CLIPs whose whole interval is below or above the line, those with p < 0.05, and
        those that remain when the p-values of all CLIPs of the setting are corrected.

    Raises:
        UsageError: an unknown scale.
    """
    return pl.DataFrame(list(_rows(scale)), infer_schema_length=None)


def _rows(scale: Scale) -> Iterator[dict[str, Any]]:
    first: pl.DataFrame | None = None
    for setting in SETTINGS.values():
        points = model_points(setting=setting.name).filter(pl.col("family").is_in(["clip", "imagenet"]))
        robustness = effective_robustness(points, scale=scale)
        answers = scaling(points, robustness)
        models = pl.concat(
            [points, robustness.residuals.select("residual", "low", "high", p="p_value")], how="horizontal"
        ).with_columns(
            pl.Series(f"{name}_place", to_scale(points[name], scale, numbers_of_photos(points, f"n_{name}")))
            for name in ("common", "counter")
        )
        classifiers, clips = models.filter(family="imagenet"), models.filter(family="clip")
        p_values = clips["p"].to_list()
        clips = clips.with_columns(
            holm=pl.Series(holm(p_values), dtype=pl.Float64),
            benjamini_hochberg=pl.Series(stats.false_discovery_control(p_values)),
        )
        before = None if first is None else first.select("model", before="residual")
        first = clips if first is None else first
        odd = {_ODD: ~pl.col("backbone").is_in(_ODD_BACKBONES)} if setting.prompts == "openai" else {}
        for subset, kept in (_SUBSETS | odd).items():
            part = clips.filter(kept)
            both = pl.concat([classifiers, part], how="diagonal")
            terms = {"common": both["common_place"].to_numpy(), "clip": (both["family"] == "clip").to_numpy()}
            offset = ordinary_least_squares(both["counter_place"].to_numpy(), terms)["clip"]
            yield {
                "setting": setting.name,
                "tables": setting.tables,
                "subset": subset,
                "clips": part.height,
                "data_sets": part["pretrain_dataset"].n_unique(),
                "imagenet_models": classifiers.height,
                **_distances(part, robustness.lines[0]),
                **_change(part, before),
                **_ends("offset", offset),
                **_effects([answer for answer in answers if answer.subset == subset]),
                **_counts(part),
            }


def _ends(name: str, effect: Coefficient | None) -> dict[str, float | None]:
    return {f"{name}{end}": effect and getattr(effect, end[1:] or "value") for end in ("", "_low", "_high")}


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


def _change(clips: pl.DataFrame, before: pl.DataFrame | None) -> dict[str, float | None]:
    """Return the mean change of distance since the first setting; nothing in the first."""
    if before is None:
        return dict.fromkeys(("change", "change_low", "change_high"))
    paired = clips.join(before, on="model", maintain_order="left")
    changes = (paired["residual"] - paired["before"]).to_numpy()
    ends = stats.ttest_1samp(changes, 0.0).confidence_interval(LEVEL)
    return {"change": float(changes.mean()), "change_low": ends.low, "change_high": ends.high}


def _effects(answers: Sequence[Answer]) -> dict[str, float | None]:
    of = {(answer.outcome, answer.term): answer for answer in answers}
    larger, cleaner = of.get(("effective robustness", PARAMETERS)), of.get(("drop", FILTERED))
    return {
        **_ends("larger_models", larger.effect if larger else None),
        **_ends("cleaner_data", cleaner.effect if cleaner else None),
        **_ends("cleaner_data_by_data_set", cleaner.by_data_set if cleaner else None),
    }


def _counts(clips: pl.DataFrame) -> dict[str, int]:
    below, above = pl.col("residual") < 0, pl.col("residual") > 0
    counts = {"interval_below": pl.col("high") < 0, "interval_above": pl.col("low") > 0}
    for name in ("p", "holm", "benjamini_hochberg"):
        unlikely = pl.col(name) < 0.05
        counts |= {f"{name}_below": unlikely & below, f"{name}_above": unlikely & above}
    return clips.select(**{name: flags.sum().cast(pl.Int64) for name, flags in counts.items()}).to_dicts()[0]


def claim_table(claim: pl.DataFrame, scale: Scale) -> Table:
    """Return what ``claim_by_setting`` returns as a table: distance, counts and offset of each setting."""
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
            value, low, high = (decimal(row[f"offset{end}"], 3) for end in ("", "_low", "_high"))
            offset = Cell(value if value.startswith("−") else f"+{value}", f"[{low}, {high}]")
            rows.append([*cells, offset, _points(row, "larger_models")])
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


@dataclass(frozen=True, repr=False)
class Claims(TableView):
    """The claim in the paper's settings, and what size and data change.

    ``comparison`` is of the paper, with the line through its ImageNet models; of runs too, whose tables then
    come first. ``rows``: the claim per setting and set of CLIPs, fractions.
    """

    comparison: Comparison

    @property
    def rows(self) -> pl.DataFrame:
        """The claim."""
        return claim_by_setting(self.comparison.robustness.scale)

    @property
    def findings(self) -> Sequence[Finding]:
        """Those of the runs."""
        return self.comparison.findings if self.comparison.sources else ()

    @property
    def tables(self) -> list[Table]:
        """The runs if there are any, scaling, the claim."""
        robustness = self.comparison.robustness
        scaled = scaling_table(scaling(self.comparison.points, robustness))
        of_runs = self.comparison.tables if self.comparison.sources else ()
        return [*of_runs, scaled, claim_table(self.rows, robustness.scale)]

    @property
    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""
        answers = scaling(self.comparison.points, self.comparison.robustness)
        records = [  # named tuples would become bare lists
            {name: value._asdict() if isinstance(value, Coefficient) else value for name, value in of.items()}
            | {"question": each.question, "verdict": each.verdict}
            for each, of in zip(answers, map(vars, answers), strict=True)
        ]
        claims = {"scaling": {"answers": records}, "by_setting": self.rows.to_dicts()}
        return self.comparison.record | claims
