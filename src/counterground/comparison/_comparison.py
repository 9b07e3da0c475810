"""Everything that can be said of some runs and of the paper beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from counterground.comparison._agreement import drop_agreement
from counterground.comparison._fairness import unfairness
from counterground.comparison._points import model_points, run_names
from counterground.comparison._published_points import Setup
from counterground.comparison._ranks import RANKS_SCHEMA, rank_models
from counterground.comparison._robustness import EffectiveRobustness, effective_robustness
from counterground.comparison._scaling import Scaling, scaling
from counterground.errors import UsageError
from counterground.inference import Run, why_not_comparable
from counterground.metrics import COMPARISON_SCHEMA, Scale, compare_models

TESTS_SCHEMA: dict[str, Any] = {"benchmark": pl.String, **COMPARISON_SCHEMA}
"""Columns of ``Comparison.tests``: those of ``metrics.compare_models`` and the benchmark."""

_SETTING = ("names", "prompts", "protocol", "label_space")


@dataclass(frozen=True)
class Comparison:
    """Models of runs, of the paper and of its reproduction beside each other; all numbers are fractions.

    ``points`` and ``robustness`` are what ``model_points`` and ``effective_robustness`` return. ``ranks`` has
    the columns of ``RANKS_SCHEMA``, ``row`` being the place among ``points``; the reproduction is not ranked.
    ``scaling`` is None without the paper. ``tests`` are paired tests (columns of ``TESTS_SCHEMA``) within
    each benchmark, ``agreement`` is what ``drop_agreement`` returns, ``warnings`` say what is unfair.
    """

    points: pl.DataFrame
    robustness: EffectiveRobustness
    ranks: pl.DataFrame
    scaling: Scaling | None
    tests: pl.DataFrame
    agreement: pl.DataFrame
    warnings: tuple[str, ...]

    @property
    def models(self) -> pl.DataFrame:
        """One row per model, in the order of the points: point, distance from the line, rank."""
        residuals = self.robustness.residuals.select(
            "predicted", "residual", "low", "high", "p_value", "member"
        )
        renamed = residuals.rename({"low": "residual_low", "high": "residual_high", "member": "baseline"})
        ranks = self.ranks.select("row", "rank", "rank_low", "rank_high", "of")
        joined = pl.concat([self.points, renamed], how="horizontal").with_row_index("row")
        return joined.join(ranks, on="row", how="left", maintain_order="left").drop("row")

    def _repr_html_(self) -> str:
        from counterground.report import comparison_html

        return comparison_html(self)


def full_comparison(
    runs: Run | Sequence[Run] = (),
    *,
    published: bool = True,
    against: str | None = None,
    baseline: str = "imagenet",
    scale: Scale = "probit",
) -> Comparison:
    """Compare runs with each other and, with ``published``, with the paper and its 2025 reproduction.

    Runs on different photos stand beside each other with a warning; tested, ranked and fitted are models on
    the same photos only. Where every run lets the 20 confusable names compete, the paper's 1 vs. 20 rows
    stand beside them, otherwise those of 1 vs. 1000.

    Args:
        runs: one or several.
        published: put the paper's models and the reproduction beside them.
        against: test every model against this one only.
        baseline: the family through whose models the line goes.
        scale: ``probit`` or ``logit``.

    Raises:
        UsageError: nothing to compare, ``against`` is no model of the runs, or an unknown family or scale.
    """
    listed = [runs] if isinstance(runs, Run) else list(runs)
    if not listed and not published:
        raise UsageError(
            "There is nothing to compare: give a RUN folder, or --published for the paper's models."
        )
    if against is not None and not listed:
        raise UsageError(
            f"Testing against {against!r} takes photos, which the paper's rows have not: give a RUN."
        )
    setup = _setup(listed)
    named = dict(zip(run_names(listed), listed, strict=True))
    points = model_points(listed, published=published, reproduction=published, setup=setup)
    robustness = effective_robustness(points, baseline=baseline, scale=scale)
    tests, obstacles = _tests(named, against, needed=not published)
    return Comparison(
        points,
        robustness,
        _ranks(points, tests),
        scaling(points, robustness) if published else None,
        tests,
        drop_agreement(named, published=published),
        (*unfairness(named, published=published), *obstacles, *robustness.warnings),
    )


def _setup(runs: Sequence[Run]) -> Setup:
    spaces = {run.info.label_space.name.partition("@")[0] for run in runs}
    return "1v20" if spaces == {"confusable"} else "1v1000"


def _tests(runs: Mapping[str, Run], against: str | None, *, needed: bool) -> tuple[pl.DataFrame, list[str]]:
    """Paired tests within each benchmark, Holm-corrected there, and why there are none elsewhere."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs.values():
        space = run.info.label_space
        groups.setdefault((run.info.benchmark.version, f"{space.name} {space.version}"), []).append(run)
    frames, obstacles = [], []
    for group in groups.values():
        name = group[0].info.benchmark.name
        try:
            table = compare_models(pl.concat([run.predictions for run in group]), against=against)
        except ValueError as error:
            obstacles.append(f"No paired tests on {name}: {error}")
            continue
        frames.append(table.select(pl.lit(name).alias("benchmark"), pl.all()))
    if frames:
        return pl.concat(frames), obstacles if len(groups) > 1 else []
    if needed or against is not None:
        raise UsageError(why_not_comparable(list(runs.values())) or obstacles[0].partition(": ")[2])
    return pl.DataFrame(schema=TESTS_SCHEMA), obstacles if len(runs) > 1 else []


def _ranks(points: pl.DataFrame, tests: pl.DataFrame) -> pl.DataFrame:
    """Rank the models of each benchmark and label space among themselves."""
    indexed = points.with_row_index("row").filter(pl.col("source") != "reproduction")
    same = indexed.filter("comparable")
    groups = [same] if same.height else []
    others = indexed.filter(~pl.col("comparable"))
    groups += [part for _, part in others.group_by("benchmark_version", "label_space", maintain_order=True)]
    frames = []
    for group in groups:
        ranked = rank_models(group.drop("row"), paired=_paired(group, tests))
        frames.append(ranked.with_columns(row=group["row"]))
    return pl.concat(frames) if frames else pl.DataFrame(schema=RANKS_SCHEMA)


def _paired(group: pl.DataFrame, tests: pl.DataFrame) -> dict[tuple[int, int], float | None]:
    """The p-values of the drop by places in the group, found by model and setting."""
    places = {
        (row["benchmark"], row["model"], *(row[name] for name in _SETTING)): place
        for place, row in enumerate(group.iter_rows(named=True))
        if row["source"] not in ("paper", "reproduction")
    }
    found = {}
    for row in tests.filter(pl.col("metric") == "drop").iter_rows(named=True):
        sides = [_side(row, part) for part in (0, 1)]
        keys = [
            (row["benchmark"], row[model], *side)
            for model, side in zip(("model_a", "model_b"), sides, strict=True)
        ]
        if all(key in places for key in keys):
            first, second = sorted(places[key] for key in keys)
            found[first, second] = row["p_value"]
    return found


def _side(row: dict[str, Any], part: int) -> list[str | None]:
    """The setting of one of two models: a test across kinds names both, as in ``a / b``."""
    settings = []
    for name in _SETTING:
        halves = str(row[name]).split(" / ") if row[name] is not None else [None]
        settings.append(halves[part] if len(halves) == 2 else row[name])
    return settings
