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
    return Table(columns, rows, "; ".join(_about(group, baseline)), title, bold=frozenset(bold))


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


def _about(group: _Group, baseline: str) -> list[str]:
    """Say what the columns are: units, the line, ranks, and where the paper's rows are from."""
    about = [f"percent; {group.contrast}"]
    if group.line is not None:
        about += about_line(group.line.fit, group.line.with_errors, baseline, group.models, group.contrast)
    about.append("rank: those that cannot be ruled out (all pairs tested, Holm)")
    if group.again is not None:
        about.append("Drop 2025: an independent reproduction")
    if group.paper is not None:
        rows = f"the paper's rows are from its {group.paper.tables} ({group.paper.description})"
        about.append(f"{rows}, with binomial errors from the group sizes; *: filtered data")
    return about


def tests_table(tests: pl.DataFrame, contrast: Contrast) -> Table:
    """Return paired tests, a heading for each pair (columns of ``TESTS_SCHEMA``)."""
    known = tests.filter(pl.col("value").is_not_null())
    quantities = {ScoreKey("accuracy"): "accuracy", contrast.difference_key: contrast.name}
    quantities |= {
        key: f"accuracy, {side}" for key, side in zip(contrast.side_keys, contrast.titles, strict=True)
    }
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
        p = p_value(row["p_corrected"]) if row["p_corrected"] is not None else ""
        found = Estimate.of(row, bounds="corrected_")
        rows.append([Cell(quantities[ScoreKey.of(row)]), Cell(found.signed), Cell(found.interval), Cell(p)])
    families = " or ".join(map(str, sorted(tests["family"].drop_nulls().unique())))
    about = f"percentage points; p and intervals corrected for all {families or 0} tests, shown or not"
    title = "Paired differences on the same photos"
    return Table(columns, rows, about, title, headings=frozenset(headings))


def _names_of_pairs(tests: pl.DataFrame) -> list[tuple[str, str]]:
    """Return what tables call the two models of each test.

    The benchmark and the settings in which tests differ follow the second model. A model that has several
    results on one benchmark in one setting is followed by the source of each.
    """
    rows, named = tests.to_dicts(), titles(tests)
    varying = [name for name in SETTING if len({_setting(row, name) for row in rows}) > 1]
    sources: dict[tuple[Any, ...], set[str]] = {}
    for row, prefix in product(rows, _SIDES):
        sources.setdefault(_model_key(row, prefix), set()).add(row[f"{prefix}source"])
    pairs = []
    for row in rows:
        first, second = (
            f"{row[name]} ({row[f'{prefix}source']})"
            if len(sources[_model_key(row, prefix)]) > 1
            else row[name]
            for prefix, name in _SIDES.items()
        )
        where = f", on {named[row['benchmark_version']]}" if len(named) > 1 else ""
        where += "".join(f", {TITLES[name].lower()} {_setting(row, name)}" for name in varying)
        pairs.append((first, f"{second}{where}"))
    return pairs


_SIDES = {"": "model", "versus_": "versus"}


def _model_key(row: dict[str, Any], prefix: str) -> tuple[Any, ...]:
    """Return the benchmark, model and setting of one side of a test."""
    setting = (row[f"{prefix}{name}" if name in BY_SIDE else name] for name in SETTING)
    return (row["benchmark_version"], row[_SIDES[prefix]], *setting)


def _setting(row: dict[str, Any], name: str) -> str:
    """A setting of a pair, of both models if they differ; if one has none, the other's."""
    values = [row[f"{prefix}{name}"] for prefix in _SIDES] if name in BY_SIDE else [row[name]]
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
    sources = {*known["source"], *known["versus_source"]} - set(PUBLISHED)
    rows: list[list[Cell]] = []
    for row in shown.iter_rows(named=True):
        pair = " and ".join(
            _short(row[name], row[f"{prefix}source"], several=len(sources) > 1)
            for prefix, name in _SIDES.items()
        )
        interval = "" if row["low"] is None else f"[{decimal(row['low'])}, {decimal(row['high'])}]"
        rows.append(
            [Cell(pair), Cell(decimal(row["correlation"])), Cell(interval), Cell(str(row["classes"]))]
        )
    title = f"Do models have the largest {contrast.name} in the same classes?"
    left = known.height - shown.height
    about = ["1: the same order of classes"]
    if shown["low"].is_not_null().any():
        about.append("with an interval: on different halves of the clusters, where chance gives 0")
    if shown["low"].is_null().any():
        about.append("without one: models err on the same photos, so chance alone makes it positive")
    about += [f"{left} more pairs in --format json"] * bool(left)
    return Table(columns, rows, "; ".join(about), title)


def _most_informative(known: pl.DataFrame) -> pl.DataFrame:
    """All pairs if there are few; else those of the runs first, then the paper's."""
    if known.height <= MOST_PAIRS:
        return known
    theirs = pl.col("source").is_in(PUBLISHED).cast(pl.Int8) + pl.col("versus_source").is_in(PUBLISHED)
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
    right = contrast.titles[1]
    strength = f", R² {fit.r_squared:.3f}" if fit.r_squared is not None else ""
    family = f"{fit.n} {_FAMILY_NAMES[baseline]}, {equation(fit, contrast)}{strength}"
    about = [f"above line: {right} accuracy minus that of the line through the {family}"]
    if with_errors is not None:
        about.append(
            f"with sampling errors in both accuracies its slope is {_with_ends(with_errors, 'slope')}"
        )
        clips = models.filter(source="paper", family="clip")
        if clips.height and not clips["residual"].null_count():
            further = float((clips["counter"].to_numpy() - with_errors.predict(clips["common"])).mean())
            mean = float(clips["residual"].to_numpy().mean())
            about.append(
                f"the {clips.height} CLIPs are {signed(mean)} points above the first line, {signed(further)} "
                "above the second on average"
            )
    paper = models.filter((pl.col("source") == "paper") & pl.col("residual_low").is_not_null())
    for (family,), part in paper.group_by("family", maintain_order=True):
        noun = f"{part.height} {_FAMILY_NAMES[str(family)]}"
        below, above = _count(part, pl.col("residual_high") < 0, pl.col("residual_low") > 0)
        about.append(f"whole interval off the line: {below} of {noun} below, {above} above")
        if family != baseline:
            far = pl.col("p_value") < UNLIKELY
            below, above = _count(part, far & (pl.col("residual") < 0), far & (pl.col("residual") > 0))
            about.append(f"farther off than one of its own is likely to be: {below} below, {above} above")
    return about


def _count(models: pl.DataFrame, below: pl.Expr, above: pl.Expr) -> tuple[int, int]:
    counts = models.select(below.sum().alias("below"), above.sum().alias("above")).row(0)
    return int(counts[0]), int(counts[1])


def _with_ends(fit: LineFit | LineWithErrors, name: str) -> str:
    value, low, high = (decimal(getattr(fit, f"{name}{end}"), 3) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"
