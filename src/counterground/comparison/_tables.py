"""Models of a comparison, their tests and the agreement of their drops as tables, from plain frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import polars as pl

from counterground.comparison._points import by_place, titles
from counterground.comparison._published import PUBLISHED
from counterground.comparison._robustness import RobustnessLine
from counterground.metrics import (
    BY_SIDE,
    COMPETING,
    DROP,
    GROUPS,
    SETTING,
    Contrast,
    Estimate,
    LineFit,
    LineWithErrors,
    ScoreKey,
)
from counterground.published import PaperSetting
from counterground.results import (
    TITLES,
    Cell,
    Column,
    Table,
    contrast_titles,
    heading,
    setting_text,
    short_name,
)
from counterground.text import NOTHING, counted, decimal, p_value, percent, signed

MOST_PAIRS = 12
_FAMILY_NAMES = {
    "clip": "CLIPs",
    "imagenet": "ImageNet models",
    "lvlm": "vision-language models",
    "other": "other models",
}
UNLIKELY = 0.05
ABOUT_P = (
    "p is Holm-corrected over all pairs of these models on all quantities, shown or not, since models "
    "are selected after seeing the results."
)
_MOST_DROPS = 8


def models_tables(
    models: pl.DataFrame,
    named: Mapping[str | None, str],
    lines: Sequence[RobustnessLine],
    baseline: str,
    *,
    setting: PaperSetting | None = None,
    contrast: Contrast = DROP,
) -> list[Table]:
    """Return a table per benchmark and label space; runs on the paper's photos are among its models.

    Args:
        models: columns of ``Comparison.models``.
        named: what benchmarks are called, by version.
        lines: those of effective robustness.
        baseline: the family that the lines are fitted to.
        setting: which tables the paper's rows are from.
        contrast: what the models are compared on.
    """
    shown = models.filter(pl.col("source") != "reproduction")
    again = models.filter(pl.col("source") == "reproduction")
    line_of = {
        (line.benchmark_version, line.label_space): line for line in lines if line.source != "reproduction"
    }
    tables = []
    for group in by_place(shown):
        first = group.row(0, named=True)
        version, space = first["benchmark_version"], first[COMPETING]
        # On the paper's photos one line serves all versions.
        place = (None, space) if first["comparable"] else (version, space)
        title = first["benchmark"] if first["comparable"] else named[version]
        paper = "paper" in group["source"]
        ordered = group.sort("residual", "drop", descending=[True, False], nulls_last=True)
        together = _Group(
            ordered,
            f"{title}, label space {space}",
            line_of.get(place),
            again if paper and again.height else None,
            setting if paper else None,
            contrast,
        )
        tables.append(_group(together, baseline))
    return tables


@dataclass(frozen=True)
class _Group:
    """Models in one table, their line, and the reproduction's rows if it is the paper's table."""

    models: pl.DataFrame
    title: str
    line: RobustnessLine | None
    again: pl.DataFrame | None
    paper: PaperSetting | None
    contrast: Contrast


def _group(group: _Group, baseline: str) -> Table:
    models, line, again = group.models, group.line, group.again
    columns = [Column("Model"), *(Column(title, True) for title in contrast_titles(group.contrast))]
    columns += [Column("Drop 2025", True)] if again is not None else []
    columns += [Column("Above line", True), Column("95 %", True, minor=True)] if line else []
    columns += [Column("Rank", True)]
    runs = models.filter(~pl.col("source").is_in(PUBLISHED))["source"].n_unique()
    later = {} if again is None else dict(again.select("model", "drop").iter_rows())
    rows, bold = [], set()
    for place, row in enumerate(models.iter_rows(named=True)):
        own = row["source"] not in PUBLISHED
        cells: list[Cell] = [Cell(point_name(row, several=runs > 1))]
        # More intervals would push the names off a terminal; `counterground scores` has them all.
        cells += [Cell(percent(row[name])) for name in GROUPS]
        drop = Estimate.of(row, "drop", bounds="drop_")
        cells.append(Cell(drop.text, "" if again is not None else drop.interval))
        if again is not None:
            cells.append(Cell(percent(later.get(row["model"])) if row["source"] == "paper" else ""))
        if line:
            residual = Estimate.of(row, "residual", bounds="residual_")
            cells += [Cell(residual.signed), Cell(residual.interval)]
        cells.append(Cell(_rank(row)))
        rows.append(cells)
        if own and again is not None:
            bold.add(place)
    tables = f", paper's {group.paper.tables}" if group.paper else ""
    title = f"{counted(len(rows), 'model')} on {group.title}{tables}"
    sentences = [*_own_drops(models, again, several=runs > 1), *_about(group, baseline)]
    caption = f"{title}, percent. {' '.join(sentences)}"
    return Table(columns, rows, caption, title, tuple(sentences), bold=frozenset(bold))


def point_name(row: dict[str, Any], *, several: bool) -> str:
    """The paper's data set and backbone, with an asterisk for filtered data; a run's model as written."""
    if row["source"] in PUBLISHED:
        if row["family"] == "imagenet":
            return f"ImageNet {row['backbone']}"
        return f"{row['label']}*" if row["high_quality"] else str(row["label"])
    return f"{row['label']} ({row['source']})" if several else str(row["label"])


def _rank(row: dict[str, Any]) -> str:
    if row["rank"] is None:
        return NOTHING
    return f"{row['rank']} {row['rank_low']}–{row['rank_high']}"


def _own_drops(models: pl.DataFrame, again: pl.DataFrame | None, *, several: bool) -> list[str]:
    """The drops of the runs' models with their intervals, if the table has no room for them."""
    own = models.filter(~pl.col("source").is_in(PUBLISHED))
    if again is None or own.is_empty():
        return []
    drops = [
        f"{point_name(row, several=several)} {drop.text} {drop.interval}".rstrip()
        for row in own.head(_MOST_DROPS).iter_rows(named=True)
        for drop in [Estimate.of(row, "drop", bounds="drop_")]
    ]
    more = f"; {own.height - _MOST_DROPS} more in --format csv" if own.height > _MOST_DROPS else ""
    return [f"Drops of the runs, with 95 % intervals: {'; '.join(drops)}{more}."]


def _about(group: _Group, baseline: str) -> list[str]:
    sentences = (
        about_line(group.line.fit, group.line.with_errors, baseline, group.models, group.contrast)
        if group.line
        else []
    )
    ranks = f"Rank by {group.contrast.name}, with the ranks that cannot be ruled out"
    sentences += [f"{group.contrast}.", f"{ranks} (all pairs tested, Holm)."]
    if group.again is not None:
        sentences.append("Drop 2025: an independent reproduction.")
    if group.paper is not None:
        is_lvlm = (pl.col("family") == "lvlm") & (pl.col("source") == "paper")
        lvlms = "" if group.models.filter(is_lvlm).is_empty() else "; vision-language models: Table 5"
        sentences.append(
            f"The paper's rows are from its {group.paper.tables} ({group.paper.description}{lvlms}). "
            "*: filtered data. The paper prints no intervals: the sampling error of its rows, in ranks and "
            "in intervals off the line, is binomial from the group sizes, an approximation. Its drops here "
            "are common minus counter; a few are printed otherwise."
        )
    return sentences


def tests_table(tests: pl.DataFrame, contrast: Contrast, number: int) -> Table:
    """Return paired tests, a heading for each pair (columns of ``TESTS_SCHEMA``), of ``number`` in all."""
    quantities, known = _quantities(contrast), tests.filter(pl.col("difference").is_not_null())
    columns = (
        Column("Metric"),
        Column("Difference", True),
        Column("95 %", True, minor=True),
        Column("p (Holm)", True),
    )
    rows: list[list[Cell]] = []
    headings = set()
    above = None
    for row, names in zip(known.iter_rows(named=True), _names_of_pairs(known), strict=True):
        pair = " minus ".join(names)
        if pair != above:
            above = pair
            headings.add(len(rows))
            rows.append(heading(pair, len(columns)))
        p = p_value(row["p_holm"]) if row["p_holm"] is not None else ""
        metric = quantities[ScoreKey.of(row)]
        found = Estimate.of(row, "difference", bounds="corrected_")
        rows.append([Cell(metric), Cell(found.signed), Cell(found.interval), Cell(p)])
    title, about = "Paired differences on the same photos (percentage points)", _about_p(tests, number)
    return Table(columns, rows, f"{title}. {about}", title, (about,), headings=frozenset(headings))


def _about_p(tests: pl.DataFrame, number: int) -> str:
    """Say over what p-values are corrected: tests on other photos, or among other names, are apart."""
    apart = (tests["family"] < number).any()
    return f"{ABOUT_P} Each benchmark and label space is corrected separately." if apart else ABOUT_P


def _quantities(contrast: Contrast) -> dict[ScoreKey, str]:
    named: dict[ScoreKey, str] = {
        key: f"accuracy, {title}" for key, title in zip(contrast.side_keys, contrast.titles, strict=True)
    }
    return {ScoreKey("accuracy"): "accuracy", contrast.difference_key: contrast.name, **named}


def _names_of_pairs(tests: pl.DataFrame) -> list[tuple[str, str]]:
    """Return what tables call the two models of each test.

    The benchmark and the settings in which tests differ follow the second model. A model that has several
    results on one benchmark in one setting is followed by the source of each.
    """
    rows, named = tests.to_dicts(), titles(tests)
    varying = [name for name in SETTING if len({_setting(row, name) for row in rows}) > 1]
    sources: dict[tuple[Any, ...], set[str]] = {}
    for row, side in product(rows, "ab"):
        sources.setdefault(_model_key(row, side), set()).add(row[f"source_{side}"])
    pairs = []
    for row in rows:
        first, second = (
            f"{row[f'model_{side}']} ({row[f'source_{side}']})"
            if len(sources[_model_key(row, side)]) > 1
            else row[f"model_{side}"]
            for side in "ab"
        )
        where = f", on {named[row['benchmark_version']]}" if len(named) > 1 else ""
        where += "".join(f", {TITLES[name].lower()} {_setting(row, name)}" for name in varying)
        pairs.append((first, f"{second}{where}"))
    return pairs


def _model_key(row: dict[str, Any], side: str) -> tuple[Any, ...]:
    """Return the benchmark, model and setting of one side of a test."""
    setting = (row[f"{name}_{side}" if name in BY_SIDE else name] for name in SETTING)
    return (row["benchmark_version"], row[f"model_{side}"], *setting)


def _setting(row: dict[str, Any], name: str) -> str:
    """A setting of a pair, of both models if they differ; if one has none, the other's."""
    values = [row[f"{name}_{side}"] for side in "ab"] if name in BY_SIDE else [row[name]]
    known = dict.fromkeys(setting_text(value) for value in values if value is not None)
    return " / ".join(known) or setting_text(None)


def agreement_table(agreement: pl.DataFrame, contrast: Contrast = DROP) -> Table:
    """Return the rank correlations of drops by class (columns of ``AGREEMENT_OF_DROPS_SCHEMA``)."""
    known = agreement.filter(pl.col("correlation").is_not_null())
    shown = _most_informative(known).sort("correlation", descending=True)
    columns = [
        Column("Models"),
        Column("Spearman", True),
        Column("95 %", True, minor=True),
        Column("Classes", True),
    ]
    sources = {*known["source_a"], *known["source_b"]} - set(PUBLISHED)
    rows: list[list[Cell]] = []
    for row in shown.iter_rows(named=True):
        pair = " and ".join(
            _short(row[f"model_{side}"], row[f"source_{side}"], several=len(sources) > 1) for side in "ab"
        )
        interval = "" if row["low"] is None else f"[{decimal(row['low'])}, {decimal(row['high'])}]"
        rows.append(
            [Cell(pair), Cell(decimal(row["correlation"])), Cell(interval), Cell(str(row["classes"]))]
        )
    title = f"Do models have the largest {contrast.name} in the same classes?"
    left = known.height - shown.height
    sentences = [
        f"Rank correlation of the {contrast.name}s class by class: 1 means the same order of classes.",
    ]
    if shown["low"].is_not_null().any():
        sentences.append(
            "With an interval: the two are measured on different halves of the clusters, and 0 is chance."
        )
    if shown["low"].is_null().any():
        sentences.append(
            "Without one: chance alone makes it positive, because models err on the same photos."
        )
    if left:
        sentences.append(f"{left} more pairs are in --format json.")
    return Table(columns, rows, f"{title} {' '.join(sentences)}", title, tuple(sentences))


def _most_informative(known: pl.DataFrame) -> pl.DataFrame:
    """All pairs if there are few; else those of the runs first, then the paper's."""
    if known.height <= MOST_PAIRS:
        return known
    theirs = pl.col("source_a").is_in(PUBLISHED).cast(pl.Int8) + pl.col("source_b").is_in(PUBLISHED)
    return known.sort(theirs, maintain_order=True).head(MOST_PAIRS)


def _short(model: str, source: str, *, several: bool) -> str:
    if source in PUBLISHED:
        return short_name(model)
    return f"{model} ({source})" if several else model


def equation(fit: LineFit, contrast: Contrast = DROP) -> str:
    """Write a line with its 95 % intervals: ``probit(counter) = 0.6 [...] + 1.2 [...] × probit(common)``."""
    left, right = contrast.titles
    intercept, slope = _with_ends(fit, "intercept"), _with_ends(fit, "slope")
    term = f"({slope})" if slope.startswith("−") else slope
    return f"{fit.scale}({right}) = {intercept} + {term} × {fit.scale}({left})"


def about_line(
    fit: LineFit,
    with_errors: LineWithErrors | None,
    baseline: str,
    models: pl.DataFrame,
    contrast: Contrast = DROP,
) -> list[str]:
    """Explain the column of distances from the line, and count the paper's models that differ from it.

    Args:
        fit: the line of a table.
        with_errors: the same with sampling errors in both accuracies, if it can be fitted.
        baseline: the family whose models it is fitted to.
        models: the rows of the table, columns of ``Comparison.models``.
        contrast: the contrast whose right side is plotted over its left.
    """
    left, right = contrast.titles
    strength = f", R² {fit.r_squared:.3f}" if fit.r_squared is not None else ""
    explained = (
        f"Above line: effective robustness, {right} accuracy minus what the line through the {fit.n} "
        f"{_FAMILY_NAMES[baseline]} gives at "
        f"the same {left} accuracy, {equation(fit, contrast)}{strength}. Each of these, and a run of the "
        "same weights, is compared with the line through the others. Its interval includes the "
        "uncertainty of the line and of the model's own accuracies."
    )
    sentences = [explained, *_both_slopes(fit, with_errors, models)]
    paper = models.filter((pl.col("source") == "paper") & pl.col("residual_low").is_not_null())
    whole, unlike = [], []
    for (family,), part in paper.group_by("family", maintain_order=True):
        noun = _FAMILY_NAMES[str(family)]
        below, above = _count(part, pl.col("residual_high") < 0, pl.col("residual_low") > 0)
        whole.append(f"{below} of {part.height} {noun} below, {above} above")
        if family != baseline:
            far = pl.col("p_value") < UNLIKELY
            below, above = _count(part, far & (pl.col("residual") < 0), far & (pl.col("residual") > 0))
            unlike.append(f"{below} {noun} below, {above} above")
    if whole:
        sentences.append(f"With the whole interval off the line: {'; '.join(whole)}.")
    if unlike:
        sentences.append(
            f"Farther from the line than another of the {_FAMILY_NAMES[baseline]} is likely to be (p < 0.05, "
            f"not corrected; each p is in csv and json): {'; '.join(unlike)}."
        )
    return sentences


def _both_slopes(fit: LineFit, with_errors: LineWithErrors | None, models: pl.DataFrame) -> list[str]:
    """The slope with errors in both accuracies, and what it changes for the paper's CLIPs."""
    if with_errors is None:
        return []
    sentence = (
        f"Slope by least squares {_with_ends(fit, 'slope')}; with sampling errors in both accuracies "
        f"{_with_ends(with_errors, 'slope')} (York et al. 2004, plus scatter of the models)"
    )
    clips = models.filter(source="paper", family="clip")
    if clips.height and not clips["residual"].null_count():
        further = float((clips["counter"].to_numpy() - with_errors.predict(clips["common"])).mean())
        mean = float(clips["residual"].to_numpy().mean())
        sentence += (
            f"; the {clips.height} CLIPs are {signed(mean)} points from the first line on average, "
            f"{signed(further)} from the second"
        )
    return [f"{sentence}."]


def _count(models: pl.DataFrame, below: pl.Expr, above: pl.Expr) -> tuple[int, int]:
    counts = models.select(below.sum().alias("below"), above.sum().alias("above")).row(0)
    return int(counts[0]), int(counts[1])


def _with_ends(fit: LineFit | LineWithErrors, name: str) -> str:
    value, low, high = (decimal(getattr(fit, f"{name}{end}"), 3) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"
