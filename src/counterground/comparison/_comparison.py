"""The full comparison of runs with each other and with the paper."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from typing import Any

import polars as pl

from counterground.comparison._agreement import drop_agreement
from counterground.comparison._comparability import comparability_warnings
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
from counterground.comparison._published import PAPER_CONTRAST, PUBLISHED
from counterground.comparison._ranks import RANKS_SCHEMA, paired_drops, rank_models
from counterground.comparison._robustness import EffectiveRobustness, effective_robustness
from counterground.comparison._tables import (
    agreement_table,
    models_tables,
    point_name,
    tests_table,
)
from counterground.errors import UsageError
from counterground.metrics import (
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
from counterground.results import (
    AnyRuns,
    Run,
    Table,
    block,
    find_model,
    html_paragraphs,
    one_contrast,
    open_runs,
    plain_text,
    rich_table,
    unfolding,
)
from counterground.text import count, counted, percent

TESTS_SCHEMA: dict[str, Any] = {
    "benchmark": pl.String,
    "benchmark_version": pl.String,
    **COMPARISON_SCHEMA,
    "source_a": pl.String,
    "source_b": pl.String,
}
"""Columns of ``Comparison.tests``: those of ``metrics.compare_models``, the benchmark and its version."""

_SENTENCES = 4
_MODELS = 12  # rows of a table in a REPL


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models of runs, of the paper and of its reproduction side by side; all numbers are fractions.

    ``points`` and ``robustness`` are what ``model_points`` and ``effective_robustness`` return. ``ranks`` has
    the columns of ``RANKS_SCHEMA``, with ``row`` the place among ``points``; the reproduction and models near
    chance are not ranked. ``every_test`` are paired tests (columns of
    ``TESTS_SCHEMA``) within each version of a benchmark, over which p-values are corrected; ``tests`` are
    those to be shown. ``agreement`` is what ``drop_agreement`` returns, ``warnings`` say what is not
    comparable. ``place_of`` finds the row of a run's model. ``setting`` says which tables the paper's rows
    are from, None without the paper. For a ``contrast`` other than the drop,
    ``common`` and ``counter`` of the points are its sides and ``drop`` its value; the tests name the contrast
    as metric and the side as group.
    """

    points: pl.DataFrame
    robustness: EffectiveRobustness
    ranks: pl.DataFrame
    every_test: pl.DataFrame
    tests: pl.DataFrame
    agreement: pl.DataFrame
    warnings: tuple[str, ...]
    places: Mapping[tuple[Any, ...], int]
    sources: Mapping[tuple[Any, ...], str]
    setting: PaperSetting | None
    contrast: Contrast = DROP

    def place_of(self, run: Run, setting: Mapping[str, Any]) -> int | None:
        """Return which row of ``models`` is a model of a run; None if there is none, as without a drop.

        Args:
            run: one of the compared runs.
            setting: the model and its setting, the columns of ``metrics.KEYS``.
        """
        return self.places.get(place_key(run, setting))

    def results_of(self, run: Run, setting: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Return the source and setting under which ``tests`` may list a model of a run, its own first.

        There are several if several runs hold the same result, as of a classifier, which reads neither the
        names nor the prompts that differ.
        """
        own, place = place_key(run, setting), self.place_of(run, setting)
        same = [key for key, of in self.places.items() if place is not None and of == place and key != own]
        return [
            (self.sources[key], dict(zip(KEYS, key[1:], strict=True)))
            for key in (own, *same)
            if key in self.sources
        ]

    @property
    def models(self) -> pl.DataFrame:
        """One row per model, in the order of the points: point, distance from the line, rank.

        ``p_holm`` corrects the p-values of the paper's models over all of their family; null for others.
        """
        residuals = self.robustness.residuals.select(
            "predicted", "residual", "low", "high", "p_value", "member"
        )
        renamed = residuals.rename({"low": "residual_low", "high": "residual_high", "member": "baseline"})
        ranks = self.ranks.select("row", "rank", "rank_low", "rank_high", "of")
        joined = pl.concat([self.points, renamed], how="horizontal").with_row_index("row")
        joined = joined.with_columns(_holm_by_family(joined))
        return joined.join(ranks, on="row", how="left", maintain_order="left").drop("row")

    @property
    def _number_of_tests(self) -> int:
        return int(self.every_test["p_value"].count())

    @property
    def tables(self) -> list[Table]:
        """Models benchmark by benchmark, tests, agreement."""
        tables = self._models_tables(self.models)
        if self.tests.height:
            tables.append(tests_table(self.tests, self.contrast, self._number_of_tests))
        if self.agreement["correlation"].drop_nulls().len():
            tables.append(agreement_table(self.agreement, self.contrast))
        return tables

    def _models_tables(self, models: pl.DataFrame) -> list[Table]:
        lines, baseline, named = self.robustness.lines, self.robustness.baseline, titles(self.points)
        return models_tables(models, named, lines, baseline, setting=self.setting, contrast=self.contrast)

    def __repr__(self) -> str:
        """Models with their rank, as on a terminal; ``counterground compare`` shows all tables."""
        width = shutil.get_terminal_size((100, 24)).columns
        models = self.models.filter(pl.col("source") != "reproduction")
        tables = self._models_tables(models)
        shown = [plain_text(rich_table(table.rows_from(0, _MODELS), width), width=width) for table in tables]
        left = sum(max(0, len(table.rows) - _MODELS) for table in tables)
        more = [f"and {counted(left, 'more model')}"] if left else []
        warnings = [f"{counted(len(self.warnings), 'warning')}: see .warnings"] if self.warnings else []
        return "\n".join([_numbers_of_models(self.models), *shown, *more, *warnings])

    def _repr_html_(self) -> str:
        """All tables, and all warnings."""
        warnings = [f"Warning: {sentence}" for sentence in self.warnings]
        return block(
            f"<p><b>{escape(_numbers_of_models(self.models))}</b></p>",
            *(unfolding(table, "row") for table in self.tables),
            html_paragraphs(warnings, _SENTENCES, "warning", fine=True),
        )


def _holm_by_family(models: pl.DataFrame) -> pl.Series:
    """Correct the p-values of the paper's models over all models of one family."""
    found: dict[int, float | None] = {}
    outside = models.filter((pl.col("source") == "paper") & ~pl.col("baseline"))
    for _, family in outside.group_by("family", maintain_order=True):
        found |= dict(zip(family["row"], holm(family["p_value"].to_list()), strict=True))
    return pl.Series("p_holm", [found.get(row) for row in range(models.height)], dtype=pl.Float64)


def _numbers_of_models(models: pl.DataFrame) -> str:
    number = models["source"].value_counts(sort=True)
    of = {"paper": "of the paper", "reproduction": "of its 2025 reproduction"}
    numbers = [f"{count(n)} {of.get(source, f'of {source}')}" for source, n in number.iter_rows()]
    return f"Models: {', '.join(numbers) or 'none'}"


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
    against = _tested_against(listed, against)
    chosen = setting or _setting(listed)
    compared = _contrast(listed, contrast, published=published)
    named = dict(zip(run_names(listed), listed, strict=True))
    gathered = gather(listed, published=published, reproduction=published, setting=chosen, contrast=compared)
    points, runs_of_points, places = gathered
    robustness = effective_robustness(
        points, baseline=baseline, scale=scale, contrast=compared, answers=gathered.answers
    )
    every_test, sources, obstacles = _tests(named, against, compared)
    shown = every_test if against is None else tests_against(every_test, against)
    paper = SETTINGS[chosen] if published else None
    warnings = [*comparability_warnings(named, paper)]
    if not published:
        obstacles += _little_to_compare(listed if contrast is None else (), points, shown, compared)
    shown_in = {folder for folder, *_ in places}
    lacking = [name for name, run in named.items() if run.path.resolve() not in shown_in]
    obstacles += runs_left_out(lacking, len(named), compared)
    warnings += [*obstacles, *_near_chance(points, compared), *robustness.warnings]
    return Comparison(
        points,
        robustness,
        _ranks(points, runs_of_points, compared),
        every_test,
        shown,
        # The paper prints drops by class only for its first setting.
        drop_agreement(named, published=published and chosen == "one-prompt", contrast=compared),
        tuple(dict.fromkeys(warnings)),
        places,
        sources,
        paper,
        compared,
    )


def _tested_against(runs: Sequence[Run], against: str | None) -> str | None:
    """Return the name of the model that all others are tested against."""
    if against is None:
        return None
    if not runs:
        raise UsageError(
            f"Tests against {against!r} need photos, which the paper's rows do not have: give a RUN."
        )
    return find_model(runs, against)


def _contrast(runs: Sequence[Run], contrast: str | Contrast | None, *, published: bool) -> Contrast:
    if contrast is not None:
        if not runs:
            raise UsageError(
                "A contrast is computed from photos, which the paper's rows do not have: give a RUN."
            )
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


def _little_to_compare(
    runs: Sequence[Run], points: pl.DataFrame, tests: pl.DataFrame, contrast: Contrast
) -> list[str]:
    """Say what to do if there is little to compare."""
    if any(contrast not in run.design.contrasts for run in runs):
        named = "; ".join(f"{run.path}: {run.design.contrasts[0].name}" for run in runs)
        sentence = (
            f"These runs have no contrast in common ({named}): compare them one at a time, or write out one "
            "with --contrast."
        )
        return [sentence]
    if points.is_empty():
        return [f"No model of these runs has photos on both sides of {contrast}."]
    if tests.is_empty() and points.height == 1:
        return ["There is only one model: add another RUN to compare it."]
    return []


def runs_left_out(names: Sequence[str], of: int, contrast: Contrast) -> list[str]:
    """Name the runs whose models are left out, if there are others ``of`` the runs."""
    if len(names) in (0, of):
        return []
    return [f"No {contrast.name} can be computed from {', '.join(names)}, whose models are left out."]


def _near_chance(points: pl.DataFrame, contrast: Contrast) -> list[str]:
    on = contrast.titles[0]
    runs = points.filter(~pl.col("source").is_in(PUBLISHED))["source"].n_unique()
    return [
        f"{point_name(row, several=runs > 1)} is not clearly above chance, {percent(row['common'])} % on "
        f"{on} photos: a small {contrast.name} says nothing, so the model is not ranked."
        for row in points.filter("near_chance").iter_rows(named=True)
    ]


def _tests(
    runs: Mapping[str, Run], against: str | None, contrast: Contrast
) -> tuple[pl.DataFrame, dict[tuple[Any, ...], str], list[str]]:
    """Paired tests on each benchmark version, label space and clusters, sources, why tests are missing."""
    sources: dict[tuple[Any, ...], str] = {}
    groups: dict[tuple[str, str, tuple[str, ...]], dict[str, Run]] = {}
    versions = {run.info.benchmark.version: run.info.benchmark.name for run in runs.values()}
    named = titles_of(versions.items())
    for name, run in runs.items():
        key = (run.info.benchmark.version, competing_names(run, runs.values()), run.design.clusters)
        groups.setdefault(key, {})[name] = run
    frames, obstacles = [], []
    for (version, names, clusters), group in groups.items():
        benchmark = versions[version]
        title = named[version]
        if any(each[:2] == (version, names) and each[2] != clusters for each in groups):
            obstacles.append(
                f"On {title} {', '.join(group)}: clusters are named by {' and '.join(clusters)}; there are "
                "no tests against runs whose design names others. Evaluate all with the same design."
            )
        if sum(each[0] == version for each in groups) > 1:
            title += f" in {', '.join(group)}"
        untested: list[str] = []
        try:
            models, held = _compared(group)
            sources |= held
            untested = _untested(models, against, title)
            first = next(iter(group.values()))
            table = compare_answers(models, contrast, first.design.picked_from(contrast, first.photos))
            untested += _on_other_photos(models, title)
            if not all(run.shows(contrast) for run in group.values()):
                table = table.filter(pl.col("metric") == "accuracy", pl.col("column").is_null())
        except ValueError as error:
            if not untested and (len(runs) > 1 or any(len(run.info.models) > 1 for run in group.values())):
                untested = [f"No paired tests on {title}: {error}"]
        else:
            place = (pl.lit(benchmark).alias("benchmark"), pl.lit(version).alias("benchmark_version"))
            frames.append(table.select(*place, pl.all()))
        obstacles += untested
    tests = pl.concat(frames) if frames else pl.DataFrame(schema=TESTS_SCHEMA)
    return tests, sources, obstacles


def _by_photos(models: Sequence[Compared]) -> list[list[Compared]]:
    parts: dict[bytes, list[Compared]] = {}
    for model in models:
        parts.setdefault(model.answers.photos.fingerprint, []).append(model)
    return list(parts.values())


def _on_other_photos(models: Sequence[Compared], title: str) -> list[str]:
    """Say that models which saw different photos of one benchmark are not tested against each other."""
    sources = [
        " and ".join(dict.fromkeys(str(model.source) for model in part)) for part in _by_photos(models)
    ]
    if len(sources) == 1:
        return []
    listed = "; ".join(sources)
    return [f"On {title} there are no tests between runs that saw different photos ({listed})."]


def _untested(models: Sequence[Compared], against: str | None, title: str) -> list[str]:
    """Say that ``against`` is not there, or which models are not tested for how they were evaluated."""
    if against is not None and against not in {model.name for model in models}:
        return [f"No paired tests on {title}: There are no predictions of {against!r} there."]
    settings: dict[str, list[tuple[Any, ...]]] = {}
    for model in models:
        settings.setdefault(model.name, []).append(model.setting)
    apart = [
        (a, b)
        for a, b in combinations(settings, 2)
        if against in (None, a, b)
        and not any(comparable(one, other) for one in settings[a] for other in settings[b])
    ]
    if not apart:
        return []
    (a, b), number = apart[0], len(apart)
    sentence = (
        f"On {title} {counted(number, 'pair')} of models {'is' if number == 1 else 'are'} not tested, such "
        f"as {a} and {b}: tests need the same names, prompts, loading and protocol, also for a model that "
        "reads no names. Evaluate them in one run, or with the same options."
    )
    return [sentence]


def _compared(runs: Mapping[str, Run]) -> tuple[list[Compared], dict[tuple[Any, ...], str]]:
    """The models of runs on the same photos, with ``source``: the names of the runs that hold them.

    The second value is the source of each result of each run (``place_key``).

    Identical results of several runs appear once. Differing results of one model (another precision, other
    weights under the same name) are separate results.
    """
    found: dict[tuple[Any, ...], tuple[Answers, list[str]]] = {}
    classifiers = {each.name for run in runs.values() for each in run.info.models if not each.reads_names}
    for name, run in runs.items():
        weights: dict[str, str] = {record.name: record.fingerprint for record in run.info.models}
        for key, answers in run.answers.items():
            kept = (key, weights.get(str(key[0])), answers_key(answers))
            found.setdefault(kept, (answers, []))[1].append(name)
    sources = {
        place_key(runs[name], dict(zip(KEYS, key, strict=True))): ", ".join(names)
        for (key, *_), (_, names) in found.items()
        for name in names
    }
    models = [
        Compared(str(key[0]), key[1:], answers, ", ".join(names), key[0] not in classifiers)
        for (key, *_), (answers, names) in found.items()
    ]
    # Source by source, as the tables list them.
    order = list(dict.fromkeys(model.source for model in models))
    return sorted(models, key=lambda model: order.index(model.source)), sources


def _ranks(points: pl.DataFrame, runs_of_points: Sequence[Run | None], contrast: Contrast) -> pl.DataFrame:
    """Rank the models of each benchmark version and label space among themselves; not those near chance."""
    ranked = (pl.col("source") != "reproduction") & ~pl.col("near_chance")
    frames = []
    for group in by_place(points.with_row_index("row").filter(ranked)):
        paired = paired_drops(group, [runs_of_points[row] for row in group["row"]], contrast)
        frames.append(rank_models(group, paired=paired).with_columns(row=group["row"]))
    return pl.concat(frames) if frames else pl.DataFrame(schema=RANKS_SCHEMA)
