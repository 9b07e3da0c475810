"""Effective robustness: how far a model's counter accuracy lies off the line of a baseline family."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.special import stdtr, stdtrit

from counterground.catalogue import Finding
from counterground.comparison._points import FAMILIES, titles
from counterground.comparison._published import NORMAL, PUBLISHED, Figure, standard_error
from counterground.errors import UsageError, did_you_mean
from counterground.metrics import (
    ALPHA,
    COMPETING,
    DROP,
    FEWEST,
    GROUPS,
    SIDES,
    Answers,
    Contrast,
    Estimate,
    InfluenceEstimate,
    LineFit,
    LineWithErrors,
    Scale,
    fit_line,
    fit_line_with_errors,
    from_scale,
    holm,
    scale_density,
    to_scale,
)
from counterground.text import p_equals

Floats = np.ndarray[Any, np.dtype[np.float64]]
_NO_ERROR = 1e-24
_NO_SCATTER = 1e-9  # on the scale of the line
_SIDES: tuple[Figure, ...] = ("common", "counter")
_EXTRAPOLATED = 0.25  # of the range of the line's models
_NOISE = 0.1  # of the variance between models
# Which weights a point belongs to: the paper's name for those it used, or what the run says.
_WEIGHTS = pl.coalesce("paper_model", "weights", "model")
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


class Deviation(NamedTuple):
    """Counter accuracy by the line and the model's excess over it (fractions), 95 % interval and p-value."""

    predicted: float
    residual: float
    low: float | None
    high: float | None
    p_value: float | None


def deviation(point: dict[str, Any], line: LineFit, unshared: float = 1.0) -> Deviation:
    """Measure a point against a line that it is not part of.

    On the scale the distance is ``g(counter) - intercept - slope * g(common)``. Its interval adds, in
    quadrature, the uncertainty of the line at this common accuracy (Student's t) and the point's own sampling
    error. For a run, this comes from the ends of its counter and common intervals on the scale, with the
    correlation that the interval of the drop implies (MOVER, Zou and Donner 2008). For a row of the paper or
    its reproduction, it comes from the standard errors that its rank is based on, converted to the scale by
    the slope of g. If the sampling error is not known, there is no interval. The limits are then converted to
    counter accuracy. Accuracies of 0 and 1 count as moved onto the scale (``to_scale``), so residual and
    limits are at the same height.

    Models on the same photos err alike, and if the line moves with the point, the distance stays the same.
    ``unshared`` is the share of the point's own sampling variance that moves the distance
    (``SharedPhotos.unshared``), 1 if nothing is known about other models' errors.

    ``p_value`` compares the distance with the scatter of the baseline's models and the uncertainty of the
    line: the externally studentised residual if the line leaves the point out.
    It is None if the baseline's models show no scatter, as if all are at 0 %: that is no evidence that a
    further model would be on their line.
    """
    place, height = _at(point, "common", line), _at(point, "counter", line)
    middle, error = float(line.at(place)), float(line.standard_error(place))
    distance = height - middle
    counter, predicted = (float(from_scale(where, line.scale)) for where in (height, middle))
    limits: tuple[float | None, float | None] = (None, None)
    if own := _own(point, line, place, height):
        # The distance is this much lower or higher; the accuracy that the line should have, the opposite.
        down, up = np.hypot(line.critical * error, np.sqrt(unshared) * np.array(own))
        ends = [float(from_scale(middle + shift, line.scale)) for shift in (down, -up)]
        limits = counter - ends[0], counter - ends[1]
    spread = float(np.hypot(error, line.residual_sd))
    p_value = None
    if line.residual_sd > _NO_SCATTER:
        p_value = float(2 * stdtr(line.n - 2, -abs(distance) / spread))
    return Deviation(predicted, counter - predicted, *limits, p_value)


def error_on_scale(point: dict[str, Any], figure: Figure, scale: Scale) -> float:
    """Return the standard error of an accuracy as a probit or logit, NaN if nothing is known about it."""
    place = to_scale(point[figure], scale, point[f"n_{figure}"])
    return float(standard_error(point, figure) / scale_density(place, scale))


def _at(point: dict[str, Any], group: str, line: LineFit, name: str | None = None) -> float:
    return float(to_scale(point[name or group], line.scale, point[f"n_{group}"]))


def _own(point: dict[str, Any], line: LineFit, place: float, height: float) -> tuple[float, float] | None:
    """Return how far sampling may have moved the distance, down and up, on the scale; None if not known."""
    if point["source"] in PUBLISHED:
        common, counter = (error_on_scale(point, group, line.scale) for group in _SIDES)
        half = NORMAL * float(np.hypot(counter, line.slope * common))
        return half, half
    ends = [point[f"{group}_{end}"] for group in GROUPS for end in ("low", "high")]
    if any(end is None for end in ends):
        return None
    below_common, above_common, below, above = (
        abs(_at(point, group, line, f"{group}_{end}") - at)
        for group, at in (("common", place), ("counter", height))
        for end in ("low", "high")
    )
    sides = (below_common, above_common) if line.slope >= 0 else (above_common, below_common)
    down, up = (abs(line.slope) * side for side in sides)
    r = float(np.sign(line.slope)) * _correlation(point)
    # The distance is low where counter is low and common is high.
    lower = below**2 + up**2 - 2 * r * below * up
    higher = above**2 + down**2 - 2 * r * above * down
    return float(np.sqrt(max(0.0, lower))), float(np.sqrt(max(0.0, higher)))


def _correlation(point: dict[str, Any]) -> float:
    """Correlation of the sampling errors of common and counter, from the width of the drop's interval."""
    names = ("common", "counter", "drop")
    if any(point[f"{name}_{end}"] is None for name in names for end in ("low", "high")):
        return 0.0
    common, counter, drop = (point[f"{name}_high"] - point[f"{name}_low"] for name in names)
    if common <= 0 or counter <= 0:
        return 0.0
    return float(np.clip((common**2 + counter**2 - drop**2) / (2 * common * counter), -1, 1))


def numbers_of_photos(points: pl.DataFrame, column: str) -> np.ndarray[Any, Any]:
    """Return counts of photos as floats, NaN if unknown."""
    return points[column].cast(pl.Float64).to_numpy()


def _doubts(line: RobustnessLine, members: pl.DataFrame, measured: pl.DataFrame) -> Iterator[Finding]:
    """Say for whom a line is extrapolated, and whether sampling blurs the accuracies it is fitted to."""
    scale = line.fit.scale
    inside, places = (
        to_scale(points["common"], scale, numbers_of_photos(points, "n_common"))
        for points in (members, measured)
    )
    room = _EXTRAPOLATED * float(np.ptp(inside))
    away = (places < inside.min() - room) | (places > inside.max() + room)
    if away.any():
        models = tuple(measured["label"].filter(pl.Series(away)).unique(maintain_order=True))
        low, high = float(members["common"].to_numpy().min()), float(members["common"].to_numpy().max())
        yield Finding("line_far", line.title, {"models": models, "lowest": low, "highest": high})
    errors = np.array([error_on_scale(row, "common", scale) for row in members.iter_rows(named=True)])
    share = float(np.nanmean(errors**2) / inside.var(ddof=1)) if not np.isnan(errors).all() else 0.0
    if share > _NOISE:
        yield Finding("line_noise", line.title, {"share": share})


@dataclass(frozen=True)
class RobustnessLine:
    """The line of one benchmark and label space: which models it is fitted to, and where they come from.

    ``benchmark_version`` is None for the paper's photos, whatever their version; ``title`` is the benchmark's
    name with what distinguishes it from others here. ``fit`` is by least squares, and distances are measured
    from it; ``with_errors`` is the line with sampling errors in both accuracies, None if it cannot be fitted.
    """

    benchmark: str
    benchmark_version: str | None
    label_space: str | None
    title: str
    source: str
    models: tuple[str, ...]
    fit: LineFit
    with_errors: LineWithErrors | None = None


@dataclass(frozen=True)
class EffectiveRobustness:
    """The lines of a baseline family and each model's distance from its own.

    ``residuals`` has the columns of ``RESIDUALS_SCHEMA`` in the order of the points: ``predicted`` is the
    counter accuracy by the line, ``residual`` the model's excess over it (fraction), with a 95 % interval;
    null if there is no line. A member of the baseline, and a run of a member's weights, is compared with the
    line through the other members. ``p_value``: could a further model of the baseline family lie as far off?
    ``lines``: one per benchmark, version, label space and source.
    """

    baseline: str
    scale: Scale
    lines: tuple[RobustnessLine, ...]
    residuals: pl.DataFrame
    findings: tuple[Finding, ...]

    @property
    def fit(self) -> LineFit | None:
        """The first line: the paper's if its rows are among the points; None if there is none."""
        return self.lines[0].fit if self.lines else None


def effective_robustness(
    points: pl.DataFrame,
    *,
    baseline: str = "imagenet",
    scale: Scale = "probit",
    contrast: Contrast = DROP,
    answers: Sequence[Answers | None] | None = None,
) -> EffectiveRobustness:
    """Fit counter on common accuracy over a baseline family and measure every model against it (section 4).

    Models measured on the paper's photos are compared with the line through the paper's models if its rows
    are among the points, otherwise with one through their own kind; the reproduction's are compared with its
    own. On every other benchmark and label space, the line goes through the runs' models of the baseline
    family, if there are three.

    Args:
        points: what ``model_points`` returns.
        baseline: ``imagenet``, ``clip``, ``lvlm`` or ``other``.
        scale: ``probit`` or ``logit``.
        contrast: contrast whose sides are ``common`` and ``counter`` of the points.
        answers: what the model of each point answered (``Run.answers``), None if that is not known. If the
            line goes through models on the same photos as the measured one, its interval then leaves out
            errors that they share; without ``answers``, it counts them as its own and is too wide.

    Raises:
        UsageError: an unknown family or scale.
    """
    if baseline not in FAMILIES:
        hint = did_you_mean(baseline, FAMILIES)
        raise UsageError(f"There is no family {baseline!r}; choose one of {', '.join(FAMILIES)}.{hint}")
    if scale not in ("probit", "logit"):
        raise UsageError(f"The scale is probit or logit, not {scale!r}.")
    known = [None] * points.height if answers is None else answers
    lines: list[RobustnessLine] = []
    findings: list[Finding] = []
    found: list[dict[str, Any]] = []
    for population in _populations(points.with_row_index("row"), baseline):
        line, shared = _line(population, baseline, scale), None
        if isinstance(line, str):
            findings.append(Finding("no_line", population.title, {"reason": line}))
        else:
            lines.append(line)
            findings += _doubts(line, population.members, population.measured)
            shared = shared_photos(population.members, population.measured, known, scale, contrast)
        found += _residuals(population, None if isinstance(line, str) else line.fit, shared)
    ordered = sorted(found, key=lambda row: row["row"])
    residuals = pl.DataFrame(
        {name: [row[name] for row in ordered] for name in RESIDUALS_SCHEMA}, schema=RESIDUALS_SCHEMA
    )
    return EffectiveRobustness(baseline, scale, tuple(lines), residuals, tuple(findings))


def changes_over_line(
    points: pl.DataFrame,
    answers: Sequence[Answers | None],
    line: RobustnessLine,
    against: str,
    contrast: Contrast,
) -> list[Finding]:
    """Return how much farther from the paper's line models are than the one they are tested against.

    Both saw the same photos, so errors that they share cancel (delta method); the line, fitted to other
    photos, has an error of its own, most of which cancels, too. p-values are corrected (Holm).
    """
    rows = zip(points.iter_rows(named=True), answers, strict=True)
    measured = [(row, of) for row, of in rows if of is not None and row["comparable"]]
    bases = [of for row, of in measured if row["model"] == against]
    if line.source != "paper" or len(bases) != 1:
        return []
    found = []
    for row, of in measured:
        if row["model"] != against and of.photos.fingerprint == bases[0].photos.fingerprint:
            found.append((row["label"], _change_over_line(of, bases[0], line.fit, contrast)))
    corrected = holm([estimate.p_value for _, estimate in found])
    return [
        Finding.of("over_line", label, estimate, versus=against, p=p_equals(p), tests=len(found))
        for (label, estimate), p in zip(found, corrected, strict=True)
    ]


def _change_over_line(own: Answers, base: Answers, line: LineFit, contrast: Contrast) -> Estimate:
    sides = [of.estimate(side, contrast) for of in (own, base) for side in SIDES]
    estimates = [replace(side, scatter=None) for side in sides if side is not None]
    values = np.array([each.value for each in estimates])
    place = to_scale(values[::2], line.scale, [each.n for each in estimates[::2]])
    height = line.at(place)
    gain = scale_density(height, line.scale)
    slope = line.slope * gain / scale_density(place, line.scale)
    change = np.diff((values[1::2] - from_scale(height, line.scale))[::-1])[0]
    weights = np.array([[-slope[0], 1, slope[1], -1]])
    sampled = InfluenceEstimate.stacked(estimates).combined(weights).at(0)
    away = gain * (place - line.centre)
    fitted = (gain[0] - gain[1]) ** 2 / line.n + (away[0] - away[1]) ** 2 / line.spread
    parts = np.array([sampled.variance, line.residual_sd**2 * fitted])
    error, freedom = float(np.sqrt(parts.sum())), (min(each.df for each in estimates), line.n - 2)
    df = parts.sum() ** 2 / max(float((parts**2 / freedom).sum()), 1e-300)  # Welch and Satterthwaite
    reach = float(-stdtrit(df, ALPHA / 2)) * error
    p_value = float(2 * stdtr(df, -abs(change) / error)) if error > 0 else None
    return Estimate(float(change), change - reach, change + reach, sampled.n, p_value=p_value)


class _Population(NamedTuple):
    """Models measured against one line, and those of the baseline that it is fitted to, each once."""

    version: str | None
    label_space: str | None
    title: str
    members: pl.DataFrame
    measured: pl.DataFrame


def _populations(points: pl.DataFrame, baseline: str) -> Iterator[_Population]:
    """Split points into populations: the paper's photos, the reproduction, and each place of the runs."""

    def members(models: pl.DataFrame) -> pl.DataFrame:
        """Return the first result of each model of the baseline, however often it was evaluated."""
        return models.filter(family=baseline).filter(_WEIGHTS.is_first_distinct())

    own = ~pl.col("source").is_in(PUBLISHED)
    paper, again = (points.filter(source=source) for source in PUBLISHED)
    same, others = (points.filter(own, comparable=on_paper) for on_paper in (True, False))
    base = paper if paper.height else same
    for line, measured, which in ((base, pl.concat([paper, same]), ""), (again, again, " (reproduction)")):
        if measured.height:
            title = f"{measured['benchmark'][0]}{which}"
            yield _Population(None, measured[COMPETING][0], title, members(line), measured)
    named = titles(points)
    for keys, part in others.group_by("benchmark_version", COMPETING, maintain_order=True):
        version, space = (None if key is None else str(key) for key in keys)
        alike = others.filter(pl.col("benchmark_version").eq_missing(pl.lit(version)))
        which = f", label space {space}" if alike[COMPETING].n_unique() > 1 else ""
        yield _Population(version, space, f"{named[version]}{which}", members(part), part)


def _line(population: _Population, baseline: str, scale: Scale) -> RobustnessLine | str:
    """The line through the members, or why there is none."""
    members = population.members
    if members.height < FEWEST:
        return f"it needs {FEWEST} models of the family {baseline!r}, and there are {members.height}"
    try:
        fit = _fit(members, scale)
    except ValueError as error:
        return str(error).rstrip(".")
    return RobustnessLine(
        str(population.measured["benchmark"][0]),
        population.version,
        population.label_space,
        population.title,
        members["source"][0] if members["source"].n_unique() == 1 else "runs",
        tuple(members["model"]),
        fit,
        _fit_with_errors(members, scale),
    )


def _fit(members: pl.DataFrame, scale: Scale) -> LineFit:
    common, counter = (members[group].to_numpy() for group in GROUPS)
    of_common, of_counter = (numbers_of_photos(members, f"n_{group}") for group in GROUPS)
    return fit_line(common, counter, scale=scale, photos_common=of_common, photos_counter=of_counter)


def _fit_with_errors(members: pl.DataFrame, scale: Scale) -> LineWithErrors | None:
    """The line with sampling errors in both accuracies; None if these are unknown or too large."""
    rows = members.to_dicts()
    x, y = (to_scale(members[group], scale, numbers_of_photos(members, f"n_{group}")) for group in GROUPS)
    common, counter = ([error_on_scale(row, group, scale) for row in rows] for group in _SIDES)
    # Common and counter photos are different photos; in a run they may share clusters.
    correlation = [0.0 if row["source"] in PUBLISHED else _correlation(row) for row in rows]
    try:
        return fit_line_with_errors(x, y, common, counter, correlation, scale=scale)
    except ValueError:
        return None


def _residuals(
    population: _Population, fit: LineFit | None, shared: SharedPhotos | None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``RESIDUALS_SCHEMA``, each with its ``row``; ``fit`` is None if there is no line."""
    members = population.members.with_columns(weights=_WEIGHTS)
    for row in population.measured.with_columns(weights=_WEIGHTS).iter_rows(named=True):
        found = dict.fromkeys(Deviation._fields)
        others = members.filter(pl.col("weights") != row["weights"])
        line = fit if fit is None or others.height == members.height else _without(others, fit.scale)
        if line is not None:
            unshared = 1.0
            if shared is not None and row["row"] in shared.places:
                unshared = shared.unshared(row["row"], others["row"].to_list(), line)
            found |= deviation(row, line, unshared)._asdict()
        yield row | found | {"member": fit is not None and row["row"] in members["row"]}


def _without(others: pl.DataFrame, scale: Scale) -> LineFit | None:
    """The line through the other members; None if two are left, or all are alike."""
    try:
        return _fit(others, scale) if others.height >= FEWEST else None
    except ValueError:
        return None


@dataclass(frozen=True)
class SharedPhotos:
    """Models that saw the same photos, and how the photos moved their accuracies.

    Attributes:
        places: position of each point among the models, by its row.
        common: ``[k]`` probits or logits of the common accuracies.
        counter: ``[k]``, the same for the counter accuracies.
        errors: what sampling did to ``common``, then to ``counter``: ``[2 k]`` comparable estimates.
    """

    places: Mapping[int, int]
    common: Floats
    counter: Floats
    errors: InfluenceEstimate

    def unshared(self, row: int, members: Sequence[int], line: LineFit) -> float:
        """Return the share of a model's sampling variance that moves its distance from a line.

        What a photo does to the distance is what it does to the model minus what it does to the line, that
        is, to its members, each with its leverage (delta method). Part of that variance, what photos do to
        members one by one, is in their scatter about the line and so in the line's standard error. It is
        subtracted here. With independent models of equal errors, 1 is left.

        Args:
            row: row of the model, which is not a member.
            members: rows of the models of the line.
            line: the line through them.
        """
        own, others = self.places[row], [self.places[member] for member in members]
        away, off = self.common[others] - line.centre, self.counter[others] - line.at(self.common[others])
        reach = float(self.common[own] - line.centre) / line.spread
        # Rows weight the errors of common, then of counter; these are of counter - slope * common.
        k = len(self.common)
        heights = np.hstack([-line.slope * np.eye(k), np.eye(k)])
        moved = (1 / line.n + reach * away) @ heights[others]
        moved[others] += reach * off
        hat = 1 / line.n + np.outer(away, away) / line.spread
        residuals = heights[others] - hat @ heights[others]
        rows = np.vstack([heights[own] - moved, heights[own], residuals])
        distance, alone, *scatter = self.errors.combined(rows).variance.tolist()
        if alone <= _NO_ERROR:  # right, or wrong, on all photos: nothing is known about their effect
            return 1.0
        leverage = 1 / line.n + reach**2 * line.spread
        return float(max(0.0, distance - leverage * sum(scatter) / (line.n - 2)) / alone)


def shared_photos(
    members: pl.DataFrame,
    measured: pl.DataFrame,
    answers: Sequence[Answers | None],
    scale: Scale,
    contrast: Contrast = DROP,
) -> SharedPhotos | None:
    """Return how sampling moved those ``measured`` models that saw the photos of all ``members``.

    Args:
        members: points of the models of a line, with their ``row``.
        measured: the same for the models measured against it.
        answers: answers by row, None if the photos are not known.
        scale: scale of the line.
        contrast: contrast whose sides are ``common`` and ``counter``.

    Returns:
        None if the members did not all see the same photos.
    """
    seen = {None if (of := answers[row]) is None else of.photos.fingerprint for row in members["row"]}
    if len(seen) != 1 or seen == {None}:
        return None
    same = [(of := answers[row]) is not None and of.photos.fingerprint in seen for row in measured["row"]]
    points = measured.filter(pl.Series(same, dtype=pl.Boolean))
    models = [of for row in points["row"] if (of := answers[row]) is not None]
    places = [to_scale(points[group], scale, points[f"n_{group}"]) for group in GROUPS]
    errors = [of for side in SIDES for model in models if (of := model.estimate(side, contrast))]
    if len(errors) != 2 * len(models):
        return None
    turned = np.diag(1 / scale_density(np.concatenate(places), scale))
    # Scatter over classes is for other classes, which these intervals do not cover.
    errors = [replace(each, scatter=None) for each in errors]
    stacked = InfluenceEstimate.stacked(errors).compressed().combined(turned)
    common, counter = places
    return SharedPhotos({row: place for place, row in enumerate(points["row"])}, common, counter, stacked)
