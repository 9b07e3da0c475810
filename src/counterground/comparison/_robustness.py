"""Effective robustness: how far a model's counter accuracy lies off the line of a baseline family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from counterground.comparison._deviation import deviation
from counterground.comparison._run_points import FAMILIES
from counterground.errors import UsageError, did_you_mean
from counterground.metrics import FEWEST, LineFit, Scale, fit_line, to_scale

_DRAWN_ON = 0.25
PUBLISHED = ("paper", "reproduction")
RESIDUALS_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "label": pl.String,
    "source": pl.String,
    "family": pl.String,
    "benchmark": pl.String,
    "common": pl.Float64,
    "counter": pl.Float64,
    "predicted": pl.Float64,
    "residual": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "member": pl.Boolean,
}
"""Columns of ``EffectiveRobustness.residuals``; accuracies, residuals and their intervals are fractions."""


@dataclass(frozen=True)
class RobustnessLine:
    """The line of one benchmark: through which models of the baseline family it goes, and from where."""

    benchmark: str
    source: str
    models: tuple[str, ...]
    fit: LineFit


@dataclass(frozen=True)
class EffectiveRobustness:
    """The lines of a baseline family and each model's distance from its own.

    ``residuals`` has the columns of ``RESIDUALS_SCHEMA`` in the order of the points: ``predicted`` is the
    counter accuracy by the line, ``residual`` what the model has more, with a 95 % interval; null where there
    is no line. A member of the baseline is compared with the line through the other members. ``p_value``:
    could a further model of the baseline family lie as far off? ``lines``: one per benchmark and source.
    """

    baseline: str
    scale: Scale
    lines: tuple[RobustnessLine, ...]
    residuals: pl.DataFrame
    warnings: tuple[str, ...]

    @property
    def fit(self) -> LineFit | None:
        """The first line: the paper's where its rows are among the points; None where there is none."""
        return self.lines[0].fit if self.lines else None

    def _repr_html_(self) -> str:
        from counterground.report import robustness_html

        return robustness_html(self)


def effective_robustness(
    points: pl.DataFrame, *, baseline: str = "imagenet", scale: Scale = "probit"
) -> EffectiveRobustness:
    """Fit counter on common accuracy over a baseline family and measure every model against it (section 4).

    Models measured on the paper's photos are compared with the line through the paper's models where its rows
    are among the points, with one through their own kind otherwise; the reproduction's with its own. On every
    other benchmark and label space the line goes through the runs' models of the baseline family, if there
    are three.

    Args:
        points: what ``model_points`` returns.
        baseline: ``imagenet``, ``clip``, ``lvlm`` or ``other``.
        scale: ``probit`` or ``logit``.

    Raises:
        UsageError: another family or scale.
    """
    if baseline not in FAMILIES:
        hint = did_you_mean(baseline, FAMILIES)
        raise UsageError(f"There is no family {baseline!r}; choose one of {', '.join(FAMILIES)}.{hint}")
    if scale not in ("probit", "logit"):
        raise UsageError(f"The scale is probit or logit, not {scale!r}.")
    indexed = points.with_row_index("row")
    lines, warnings, found = [], [], []
    for members, measured in _populations(indexed, baseline):
        line = _line(members, measured, baseline, scale)
        if isinstance(line, str):
            warnings.append(line)
            found += [_row(row, None) for row in measured.iter_rows(named=True)]
            continue
        lines.append(line)
        warnings += [*_clipped(line), *_far(line, members, measured)]
        found += _residuals(members, measured, line.fit)
    ordered = sorted(found, key=lambda row: row["row"])
    residuals = pl.DataFrame(
        {name: [row[name] for row in ordered] for name in RESIDUALS_SCHEMA}, schema=RESIDUALS_SCHEMA
    )
    return EffectiveRobustness(baseline, scale, tuple(lines), residuals, tuple(warnings))


def _populations(points: pl.DataFrame, baseline: str) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Split points into (models of the baseline that make a line, all models measured against it)."""
    member = pl.col("family") == baseline
    own = ~pl.col("source").is_in(PUBLISHED)
    paper, again = (points.filter(pl.col("source") == source) for source in PUBLISHED)
    same = points.filter(own & pl.col("comparable"))
    if paper.height:
        yield paper.filter(member), pl.concat([paper, same])
    if again.height:
        yield again.filter(member), again
    if same.height and not paper.height:
        yield same.filter(member), same
    others = points.filter(own & ~pl.col("comparable"))
    keys = ["benchmark_version", "label_space"]
    for _, part in others.group_by(keys, maintain_order=True):
        yield part.filter(member), part


def _line(members: pl.DataFrame, measured: pl.DataFrame, baseline: str, scale: Scale) -> RobustnessLine | str:
    """The line through the members, or a sentence that says why there is none."""
    benchmark = str(measured["benchmark"][0])
    if members.height < FEWEST:
        return (
            f"No line on {benchmark}: effective robustness needs {FEWEST} models of the baseline family "
            f"{baseline!r} there, and there {'is' if members.height == 1 else 'are'} {members.height}."
        )
    try:
        fit = _fit(members, scale)
    except ValueError as error:
        return f"No line on {benchmark}: {error}"
    source = members["source"][0] if members["source"].n_unique() == 1 else "runs"
    return RobustnessLine(benchmark, source, tuple(members["model"]), fit)


def _fit(members: pl.DataFrame, scale: Scale) -> LineFit:
    return fit_line(
        members["common"].to_numpy(),
        members["counter"].to_numpy(),
        scale=scale,
        photos_common=_photos(members, "n_common"),
        photos_counter=_photos(members, "n_counter"),
    )


def _photos(points: pl.DataFrame, column: str) -> np.ndarray[Any, Any]:
    return points[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _clipped(line: RobustnessLine) -> list[str]:
    if not line.fit.clipped:
        return []
    sentence = (
        f"On {line.benchmark} {line.fit.clipped} of the {line.fit.n} models of the line have an accuracy of "
        "0 or 100 %, which has no place on this scale: it was moved by half a photo, or to 0.1 and 99.9 % "
        "where the number of photos is not known."
    )
    return [sentence]


def _far(line: RobustnessLine, members: pl.DataFrame, measured: pl.DataFrame) -> list[str]:
    """Tell of models so far from those of the line that it must be drawn on to reach them."""
    inside = to_scale(members["common"], line.fit.scale, _photos(members, "n_common"))
    places = to_scale(measured["common"], line.fit.scale, _photos(measured, "n_common"))
    room = _DRAWN_ON * float(np.ptp(inside))
    away = (places < inside.min() - room) | (places > inside.max() + room)
    if not away.any():
        return []
    named = ", ".join(measured["label"].filter(pl.Series(away)).unique(maintain_order=True))
    ends = members["common"].to_numpy()
    sentence = (
        f"The line on {line.benchmark} rests on common accuracies from {100 * ends.min():.1f} to "
        f"{100 * ends.max():.1f} %; it is drawn on for {named}."
    )
    return [sentence]


def _residuals(members: pl.DataFrame, measured: pl.DataFrame, fit: LineFit) -> list[dict[str, Any]]:
    inside = set(members["row"])
    rows = []
    for row in measured.iter_rows(named=True):
        line: LineFit | None = fit
        if row["row"] in inside:
            others = members.filter(pl.col("row") != row["row"])
            line = _without(others, fit.scale)
        rows.append(_row(row, line, member=row["row"] in inside))
    return rows


def _without(others: pl.DataFrame, scale: Scale) -> LineFit | None:
    """The line through the other members; None where two are left, or all alike."""
    if others.height < FEWEST:
        return None
    try:
        return _fit(others, scale)
    except ValueError:
        return None


def _row(point: dict[str, Any], line: LineFit | None, *, member: bool = False) -> dict[str, Any]:
    found = dict.fromkeys(("predicted", "residual", "low", "high", "p_value"))
    if line is not None:
        found |= deviation(point, line)._asdict()
    kept = ("row", "model", "label", "source", "family", "benchmark", "common", "counter")
    return {**{name: point[name] for name in kept}, **found, "member": member}
