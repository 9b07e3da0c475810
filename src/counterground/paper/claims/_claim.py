"""The paper's claim that CLIPs are below the line of ImageNet models, in each of its settings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.special import stdtrit

from counterground.comparison import (
    UNLIKELY,
    RobustnessLine,
    effective_robustness,
    model_points,
    numbers_of_photos,
)
from counterground.metrics import (
    LEVEL,
    Coefficient,
    Scale,
    holm,
    ordinary_least_squares,
    scale_density,
    to_scale,
)
from counterground.paper.claims._scaling import (
    EVERY,
    FILTERED,
    PARAMETERS,
    WITHOUT,
    Answer,
    scaling,
    unrelated,
)
from counterground.published import SETTINGS, PaperSetting
from counterground.results import Cell, Column, Table, heading
from counterground.text import NOTHING, bounds, decimal, signed

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
    return Table(columns, rows, f"{title} {note}", title, (note,), headings=frozenset(headings))


def _points(row: dict[str, Any], name: str) -> Cell:
    if row[name] is None:
        return Cell(NOTHING)
    return Cell(signed(row[name]), bounds(row[f"{name}_low"], row[f"{name}_high"]))


def _on_scale(row: dict[str, Any], name: str) -> Cell:
    value, low, high = (decimal(row[f"{name}{end}"], 3) for end in ("", "_low", "_high"))
    return Cell(value if value.startswith("−") else f"+{value}", f"[{low}, {high}]")
