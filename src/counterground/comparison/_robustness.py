"""Effective robustness: how far a model's counter accuracy lies off the line of a baseline family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from counterground.comparison._deviation import deviation
from counterground.comparison._line_warnings import line_warnings, photos
from counterground.comparison._points import titles
from counterground.comparison._published_points import PUBLISHED
from counterground.comparison._run_points import FAMILIES
from counterground.errors import UsageError, did_you_mean
from counterground.metrics import FEWEST, LineFit, Scale, fit_line

# Which weights a point is of: the paper's name for those it used, or the specification.
_WEIGHTS = pl.coalesce("paper_model", "model")
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
    """The line of one benchmark and label space: through which models it goes, and from where.

    ``benchmark_version`` is None for the paper's photos, of whichever version; ``title`` is the benchmark's
    name with what tells it apart from others here.
    """

    benchmark: str
    benchmark_version: str | None
    label_space: str | None
    title: str
    source: str
    models: tuple[str, ...]
    fit: LineFit


@dataclass(frozen=True)
class EffectiveRobustness:
    """The lines of a baseline family and each model's distance from its own.

    ``residuals`` has the columns of ``RESIDUALS_SCHEMA`` in the order of the points: ``predicted`` is the
    counter accuracy by the line, ``residual`` what the model has more, with a 95 % interval; null where there
    is no line. A member of the baseline, and a run of a member's weights, is compared with the line through
    the other members. ``p_value``: could a further model of the baseline family lie as far off? ``lines``:
    one per benchmark, version, label space and source.
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
    lines, warnings, found = [], [], []
    for population in _populations(points.with_row_index("row"), baseline):
        line = _line(population, baseline, scale)
        if isinstance(line, str):
            warnings.append(line)
            found += [_row(row, None) for row in population.measured.iter_rows(named=True)]
            continue
        lines.append(line)
        warnings += line_warnings(line.title, population.members, population.measured, scale)
        found += _residuals(population, line.fit)
    ordered = sorted(found, key=lambda row: row["row"])
    residuals = pl.DataFrame(
        {name: [row[name] for row in ordered] for name in RESIDUALS_SCHEMA}, schema=RESIDUALS_SCHEMA
    )
    return EffectiveRobustness(baseline, scale, tuple(lines), residuals, tuple(warnings))


@dataclass(frozen=True)
class _Population:
    """Models measured against one line, and those of the baseline that make it."""

    version: str | None
    label_space: str | None
    title: str
    members: pl.DataFrame
    measured: pl.DataFrame


def _populations(points: pl.DataFrame, baseline: str) -> Iterator[_Population]:
    """Split points into populations: the paper's photos, the reproduction, and each place of the runs."""
    member = pl.col("family") == baseline
    own = ~pl.col("source").is_in(PUBLISHED)
    paper, again = (points.filter(pl.col("source") == source) for source in PUBLISHED)
    same = points.filter(own & pl.col("comparable"))
    base = paper if paper.height else same
    for line, measured, told in ((base, pl.concat([paper, same]), ""), (again, again, " (reproduction)")):
        if measured.height:
            names = str(measured["label_space"][0]).partition("@")[0]
            title = f"{measured['benchmark'][0]}{told}"
            yield _Population(None, names, title, line.filter(member), measured)
    named = titles(points)
    others = points.filter(own & ~pl.col("comparable"))
    for keys, part in others.group_by("benchmark_version", "label_space", maintain_order=True):
        version, space = (None if key is None else str(key) for key in keys)
        alike = others.filter(pl.col("benchmark_version").eq_missing(pl.lit(version)))
        told = f", label space {space}" if alike["label_space"].n_unique() > 1 else ""
        yield _Population(version, space, f"{named[version]}{told}", part.filter(member), part)


def _line(population: _Population, baseline: str, scale: Scale) -> RobustnessLine | str:
    """The line through the members, or a sentence that says why there is none."""
    members = population.members
    if members.height < FEWEST:
        return (
            f"No line on {population.title}: effective robustness needs {FEWEST} models of the baseline "
            f"family {baseline!r} there, and there {'is' if members.height == 1 else 'are'} {members.height}."
        )
    try:
        fit = _fit(members, scale)
    except ValueError as error:
        return f"No line on {population.title}: {error}"
    return RobustnessLine(
        str(population.measured["benchmark"][0]),
        population.version,
        population.label_space,
        population.title,
        members["source"][0] if members["source"].n_unique() == 1 else "runs",
        tuple(members["model"]),
        fit,
    )


def _fit(members: pl.DataFrame, scale: Scale) -> LineFit:
    return fit_line(
        members["common"].to_numpy(),
        members["counter"].to_numpy(),
        scale=scale,
        photos_common=photos(members, "n_common"),
        photos_counter=photos(members, "n_counter"),
    )


def _residuals(population: _Population, fit: LineFit) -> list[dict[str, Any]]:
    members = population.members.with_columns(weights=_WEIGHTS)
    inside = set(members["row"])
    rows = []
    for row in population.measured.with_columns(weights=_WEIGHTS).iter_rows(named=True):
        others = members.filter(pl.col("weights") != row["weights"])
        line = fit if others.height == members.height else _without(others, fit.scale)
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
