"""The full comparison of runs with each other and with the paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import polars as pl

from counterground.catalogue import Finding, ordered
from counterground.comparison._agreement import drop_agreement
from counterground.comparison._comparability import comparability
from counterground.comparison._points import (
    answers_key,
    by_place,
    competing_names,
    gather,
    place_key,
    run_names,
    titles,
    titles_of,
)
from counterground.comparison._published import PAPER_CONTRAST
from counterground.comparison._ranks import RANKS_SCHEMA, paired_drops, rank_models
from counterground.comparison._robustness import (
    EffectiveRobustness,
    changes_over_line,
    effective_robustness,
)
from counterground.comparison._tables import (
    agreement_table,
    models_tables,
    tests_table,
)
from counterground.errors import UsageError
from counterground.metrics import (
    BY_SIDE,
    COMPARISON_SCHEMA,
    DROP,
    KEYS,
    Answers,
    Compared,
    Contrast,
    Scale,
    comparable,
    compare_answers,
    holm,
    tests_against,
)
from counterground.published import SETTINGS, PaperSetting, SettingName
from counterground.results import AnyRuns, Run, Table, TableView, find_model, one_contrast, open_runs

TESTS_SCHEMA: dict[str, Any] = {
    "benchmark": pl.String,
    "benchmark_version": pl.String,
    **COMPARISON_SCHEMA,
    "source": pl.String,
    "versus_source": pl.String,
}
"""Columns of ``Comparison.tests``: those of ``metrics.compare_models``, the benchmark and its version."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(TableView):
    """Models of runs, of the paper and of its reproduction side by side; all numbers are fractions.

    ``points`` and ``robustness`` are what ``model_points`` and ``effective_robustness`` return. ``ranks`` has
    the columns of ``RANKS_SCHEMA``, with ``row`` the place among ``points``; the reproduction and models near
    chance are not ranked. ``every_test`` are paired tests (columns of ``TESTS_SCHEMA``) within each version
    of a benchmark, over which p-values are corrected; ``tests`` are those to be shown. ``agreement`` is what
    ``drop_agreement`` returns, ``findings`` say what is not comparable. ``places`` are those of models of
    runs among the points (`place_key`), ``sources`` the first run of each source of a test. ``setting`` says
    which tables the paper's rows are from, None without the paper. For a ``contrast`` other than the drop,
    ``common`` and ``counter`` of the points are its sides and ``drop`` its value; the tests name the contrast
    as metric and the side as group.
    """

    points: pl.DataFrame
    robustness: EffectiveRobustness
    ranks: pl.DataFrame
    every_test: pl.DataFrame
    tests: pl.DataFrame
    agreement: pl.DataFrame
    findings: tuple[Finding, ...]
    places: Mapping[tuple[Any, ...], int]
    sources: Mapping[str, Run]
    setting: PaperSetting | None
    contrast: Contrast = DROP

    def place_of(self, test: Mapping[str, Any], prefix: str = "") -> int | None:
        """Return the place among the points of a model of a test; the other one's with ``versus_``."""
        named = {"model": "versus"} | {name: f"versus_{name}" for name in BY_SIDE} if prefix else {}
        setting = {name: test[named.get(name, name)] for name in KEYS}
        return self.places.get(place_key(self.sources[test[f"{prefix}source"]], setting))

    @property
    def models(self) -> pl.DataFrame:
        """One row per model, in the order of the points: point, distance from the line, rank.

        ``p_corrected`` corrects the p-values of the paper's models over all of their family; null for others.
        """
        residuals = self.robustness.residuals.select(
            "predicted", "residual", "low", "high", "p_value", "member"
        )
        renamed = residuals.rename({"low": "residual_low", "high": "residual_high", "member": "baseline"})
        ranks = self.ranks.select("row", "rank", "rank_low", "rank_high", "of")
        joined = pl.concat([self.points, renamed], how="horizontal").with_row_index("row")
        joined = joined.with_columns(_holm_by_family(joined))
        return joined.join(ranks, on="row", how="left", maintain_order="left").drop("row")

    rows = models
    """For csv: the models."""

    @property
    def tables(self) -> list[Table]:
        """Models benchmark by benchmark, tests, agreement."""
        tables = models_tables(self.models, titles(self.points), self.robustness, self.setting, self.contrast)
        if self.tests.height:
            tables.append(tests_table(self.tests, self.contrast))
        if self.agreement["correlation"].drop_nulls().len():
            tables.append(agreement_table(self.agreement, self.contrast))
        return tables

    @property
    def record(self) -> dict[str, Any]:
        """Everything, for JSON; numbers are fractions."""
        return {
            "baseline": self.robustness.baseline,
            "scale": self.robustness.scale,
            "contrast": str(self.contrast),
            "setting": None if self.setting is None else self.setting.name,
            "lines": [asdict(line) for line in self.robustness.lines],
            "models": self.models.to_dicts(),
            "tests": self.tests.to_dicts(),
            "agreement": self.agreement.to_dicts(),
            "findings": [each.to_json() for each in self.findings],
        }


def _holm_by_family(models: pl.DataFrame) -> pl.Series:
    """Correct the p-values of the paper's models over all models of one family."""
    found: dict[int, float | None] = {}
    outside = models.filter((pl.col("source") == "paper") & ~pl.col("baseline"))
    for _, family in outside.group_by("family", maintain_order=True):
        found |= dict(zip(family["row"], holm(family["p_value"].to_list()), strict=True))
    return pl.Series("p_corrected", [found.get(row) for row in range(models.height)], dtype=pl.Float64)


def full_comparison(
    runs: AnyRuns = (),
    *,
    published: bool = True,
    against: str | None = None,
    baseline: str = "imagenet",
    scale: Scale = "probit",
    setting: SettingName | None = None,
    contrast: str | Contrast | None = None,
) -> Comparison:
    """Compare runs with each other and, with ``published``, with the paper and its 2025 reproduction.

    Runs on different photos are shown together with a warning; models are tested, ranked and fitted only on
    the same photos. ``against`` selects which tests are shown; ranks and corrected p-values are based on all
    pairs.

    Args:
        runs: runs or their folders.
        published: whether to include the paper's models and the reproduction.
        against: test every model only against this one.
        baseline: family whose models the line is fitted to.
        scale: ``probit`` or ``logit``.
        setting: which tables of the paper to compare with (``published.SETTINGS``); by default those of 1 vs.
            20 if every run lets the 20 confusable names compete, otherwise those of one prompt.
        contrast: what is compared: a contrast, its name or an expression; by default the first one of the
            first run's design that the designs of all runs have, or, with the paper, the drop.

    Raises:
        UsageError: nothing to compare, a run given twice, ``against`` is not a model of the runs, an unknown
            family, scale, setting or contrast, a setting without the paper, or a contrast other than the drop
            with it.
        CounterGroundError: a run cannot be read.
    """
    listed = open_runs(runs)
    if not listed and not published:
        raise UsageError(
            "There is nothing to compare: give a RUN folder, or --published for the paper's models."
        )
    if setting is not None and not published:
        raise UsageError("A setting chooses tables of the paper: add --published (published=True).")
    if not listed and (against or contrast) is not None:
        raise UsageError(
            "Tests and contrasts are of photos, which the paper's rows do not have: give a RUN folder."
        )
    against = against and find_model(listed, against)
    chosen = setting or _setting(listed)
    compared = _contrast(listed, contrast, published=published)
    named = dict(zip(run_names(listed), listed, strict=True))
    gathered = gather(listed, published=published, reproduction=published, setting=chosen, contrast=compared)
    points, runs_of_points, places = gathered
    robustness = effective_robustness(
        points, baseline=baseline, scale=scale, contrast=compared, answers=gathered.answers
    )
    every_test, sources, untested = _tests(named, against, compared)
    paper = SETTINGS[chosen] if published else None
    shown_in = {folder for folder, *_ in places}
    lacking = ", ".join(name for name, run in named.items() if run.path.resolve() not in shown_in)
    findings = [*comparability(named, paper), *untested, *robustness.findings]
    if against and robustness.lines:
        findings += changes_over_line(points, gathered.answers, robustness.lines[0], against, compared)
    if lacking:
        own = {run.design.contrasts[0].name for run in listed}
        reason = f"no photos on both sides of {compared}"
        if contrast is None and len(own) > 1:
            reason = "the runs have no contrast in common, so name one with --contrast"
        findings.append(Finding("left_out", lacking, {"place": "the comparison", "reason": reason}))
    guessing = points.filter("near_chance")["label"].unique(maintain_order=True)
    if len(guessing):
        about = {"models": tuple(guessing), "left": compared.titles[0].lower(), "noun": compared.name}
        findings.append(Finding("near_chance", "", about))
    return Comparison(
        points,
        robustness,
        _ranks(points, runs_of_points, compared),
        every_test,
        every_test if against is None else tests_against(every_test, against),
        # The paper prints drops by class only for its first setting.
        drop_agreement(named, published=published and chosen == "one-prompt", contrast=compared),
        tuple(ordered(findings)),
        places,
        sources,
        paper,
        compared,
    )


def _contrast(runs: Sequence[Run], contrast: str | Contrast | None, *, published: bool) -> Contrast:
    if contrast is not None:
        found = one_contrast(runs, contrast)
        if published and found != PAPER_CONTRAST:
            raise UsageError(f"The paper has the drop only: compare {found.name} without --published.")
        return found
    if published or not runs:
        return DROP
    shared = (each for each in runs[0].design.contrasts if all(each in run.design.contrasts for run in runs))
    return next(shared, DROP)


def _setting(runs: Sequence[Run]) -> SettingName:
    spaces = {run.info.candidates.name for run in runs}
    return "1-vs-20" if spaces == {"confusable"} else "one-prompt"


def _tests(
    runs: Mapping[str, Run], against: str | None, contrast: Contrast
) -> tuple[pl.DataFrame, dict[str, Run], list[Finding]]:
    """Paired tests on each benchmark version, label space and clusters, sources, why tests are missing."""
    sources: dict[str, Run] = {}
    groups: dict[tuple[str, str, tuple[str, ...]], dict[str, Run]] = {}
    named = titles_of({run.info.benchmark.version: run.info.benchmark.name for run in runs.values()}.items())
    for name, run in runs.items():
        key = (run.info.benchmark.version, competing_names(run, runs.values()), run.design.clusters)
        groups.setdefault(key, {})[name] = run
    frames: list[pl.DataFrame] = []
    untested: list[Finding] = []
    for (version, names, clusters), group in groups.items():
        first = next(iter(group.values()))

        def tell(others: Iterable[str], reason: str, subject: str = named[version]) -> None:
            untested.append(Finding("not_tested", subject, {"others": tuple(others), "reason": reason}))

        if any(each[:2] == (version, names) and each[2] != clusters for each in groups):
            tell(group, f"clusters are named by {' and '.join(clusters)}, in other runs by other columns")
        models, held = _compared(group)
        sources |= held
        parts: dict[bytes, dict[str, None]] = {}
        for model in models:
            parts.setdefault(model.answers.photos.fingerprint, {})[str(model.source)] = None
        if len(parts) > 1:
            tell((" and ".join(part) for part in parts.values()), "they saw different photos")
        if apart := _apart(models, against):
            tell(apart, "names, prompts, loading or protocol differ")
        try:
            table = compare_answers(models, contrast, first.design.picked_from(contrast, first.photos))
        except ValueError as error:
            if len(models) > 1 and not untested:
                tell([model.name for model in models], str(error).rstrip("."))
            continue
        if not all(run.shows(contrast) for run in group.values()):
            table = table.filter(pl.col("metric") == "accuracy", pl.col("column").is_null())
        place = [pl.lit(first.info.benchmark.name).alias("benchmark")]
        place.append(pl.lit(version).alias("benchmark_version"))
        frames.append(table.select(*place, pl.all()).select(TESTS_SCHEMA.keys()))
    return pl.concat(frames) if frames else pl.DataFrame(schema=TESTS_SCHEMA), sources, untested


def _apart(models: Sequence[Compared], against: str | None) -> list[str]:
    """Return the pairs of models that are not tested for how they were evaluated."""
    settings: dict[str, list[tuple[Any, ...]]] = {}
    for model in models:
        settings.setdefault(model.name, []).append(model.setting)
    return [
        f"{a} and {b}"
        for a, b in combinations(settings, 2)
        if against in (None, a, b)
        and not any(comparable(one, other) for one in settings[a] for other in settings[b])
    ]


def _compared(runs: Mapping[str, Run]) -> tuple[list[Compared], dict[str, Run]]:
    """The models of runs on the same photos, with ``source``: the names of the runs that hold them.

    The second value is the first run of each source. Identical results of several runs appear once. Differing
    results of one model (another precision, other weights under the same name) are separate results.
    """
    found: dict[tuple[Any, ...], tuple[Answers, list[str]]] = {}
    classifiers = {each.name for run in runs.values() for each in run.info.models if not each.reads_names}
    for name, run in runs.items():
        weights: dict[str, str] = {record.name: record.fingerprint for record in run.info.models}
        for key, answers in run.answers.items():
            kept = (key, weights.get(str(key[0])), answers_key(answers))
            found.setdefault(kept, (answers, []))[1].append(name)
    models = [
        Compared(str(key[0]), key[1:], answers, ", ".join(names), key[0] not in classifiers)
        for (key, *_), (answers, names) in found.items()
    ]
    # Source by source, as the tables list them.
    order = list(dict.fromkeys(model.source for model in models))
    sources = {", ".join(names): runs[names[0]] for _, names in found.values()}
    return sorted(models, key=lambda model: order.index(model.source)), sources


def _ranks(points: pl.DataFrame, runs_of_points: Sequence[Run | None], contrast: Contrast) -> pl.DataFrame:
    """Rank the models of each benchmark version and label space among themselves; not those near chance."""
    ranked = (pl.col("source") != "reproduction") & ~pl.col("near_chance")
    frames = []
    for group in by_place(points.with_row_index("row").filter(ranked)):
        paired = paired_drops(group, [runs_of_points[row] for row in group["row"]], contrast)
        frames.append(rank_models(group, paired=paired).with_columns(row=group["row"]))
    return pl.concat(frames) if frames else pl.DataFrame(schema=RANKS_SCHEMA)
