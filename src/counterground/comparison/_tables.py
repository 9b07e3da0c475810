"""Models of a comparison, their tests and the agreement of their drops as tables, from plain frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from counterground.comparison._points import by_place, titles
from counterground.comparison._published import PUBLISHED
from counterground.comparison._robustness import EffectiveRobustness, RobustnessLine
from counterground.metrics import (
    BY_SIDE,
    COMPETING,
    DROP,
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
from counterground.text import NOTHING, counted, decimal, p_value, percent

MOST_PAIRS = 12
_FAMILY_NAMES = {
    "clip": "CLIPs",
    "imagenet": "ImageNet models",
    "lvlm": "vision-language models",
    "other": "other models",
}
_SIDES = {"": "model", "versus_": "versus"}


def models_tables(
    models: pl.DataFrame,
    named: Mapping[str | None, str],
    robustness: EffectiveRobustness,
    setting: PaperSetting | None,
    contrast: Contrast,
) -> list[Table]:
    """Return a table per benchmark and label space; runs on the paper's photos are among its models.

    Args:
        models: columns of ``Comparison.models``.
        named: what benchmarks are called, by version.
        robustness: the lines, and the family that they are fitted to.
        setting: which tables the paper's rows are from.
        contrast: what the models are compared on.
    """
    again = models.filter(source="reproduction")
    lines = {
        (line.benchmark_version, line.label_space): line
        for line in robustness.lines
        if line.source != "reproduction"
    }
    tables = []
    for group in by_place(models.filter(pl.col("source") != "reproduction")):
        first = group.row(0, named=True)
        version, space = first["benchmark_version"], first[COMPETING]
        # On the paper's photos one line serves all versions.
        line = lines.get((None, space) if first["comparable"] else (version, space))
        where = first["benchmark"] if first["comparable"] else named[version]
        title = f"{counted(group.height, 'model')} on {where}, label space {space}"
        about = [f"percent; {contrast}", *(_about_line(line, robustness.baseline, contrast) if line else [])]
        about.append(
            "rank: 1 is the smallest drop; of a range, none can be ruled out (all pairs tested, Holm)"
        )
        later: dict[str, float] | None = None
        if setting and "paper" in group["source"]:
            title += f", paper's {setting.tables}"
            if again.height:
                later = dict(again.select("model", "drop").iter_rows())
                about.append("Drop 2025: an independent reproduction")
            rows_of = f"the paper's rows are from its {setting.tables} ({setting.description})"
            about.append(f"{rows_of}, with binomial errors from the group sizes; *: filtered data")
        tables.append(_models_table(group, line, later, contrast, title=title, caption="; ".join(about)))
    return tables


def _models_table(
    models: pl.DataFrame,
    line: RobustnessLine | None,
    later: Mapping[str, float] | None,
    contrast: Contrast,
    *,
    title: str,
    caption: str,
) -> Table:
    """Return a table of models; ``later`` are the drops of the reproduction, beside the paper's."""
    models = models.sort("residual", "drop", descending=[True, False], nulls_last=True)
    several = models.filter(~pl.col("source").is_in(PUBLISHED))["source"].n_unique() > 1

    def drop(row: dict[str, Any]) -> Cell:
        # More intervals would push the names off a terminal; `counterground scores` has them all.
        found = Estimate.of(row, "drop", bounds="drop_")
        return Cell(found.text, "" if later is not None else found.interval)

    def again(row: dict[str, Any]) -> Cell:
        return Cell(percent((later or {}).get(row["model"])) if row["source"] == "paper" else "")

    def residual(row: dict[str, Any]) -> Estimate:
        return Estimate.of(row, "residual", bounds="residual_")

    left, right, difference = contrast_titles(contrast)
    cells: list[tuple[Column, Callable[[dict[str, Any]], Cell]]] = [
        (Column("Model"), lambda row: Cell(point_name(row, several=several))),
        (Column(left, True), lambda row: Cell(percent(row["common"]))),
        (Column(right, True), lambda row: Cell(percent(row["counter"]))),
        (Column(difference, True), drop),
    ]
    if later is not None:
        cells.append((Column("Drop 2025", True), again))
    if line:
        cells.append((Column("Above line", True), lambda row: Cell(residual(row).signed)))
        cells.append((Column("95 %", True, minor=True), lambda row: Cell(residual(row).interval)))
    cells.append((Column("Rank", True), _rank))
    listed = models.to_dicts()
    own = (place for place, row in enumerate(listed) if row["source"] not in PUBLISHED)
    rows = [[cell(row) for _, cell in cells] for row in listed]
    bold = frozenset(own if later is not None else ())
    return Table([column for column, _ in cells], rows, caption, title, bold=bold)


def point_name(row: dict[str, Any], *, several: bool) -> str:
    """The paper's data set and backbone, with an asterisk for filtered data; a run's model as written."""
    if row["source"] in PUBLISHED:
        if row["family"] == "imagenet":
            return f"ImageNet {row['backbone']}"
        return f"{row['label']}*" if row["high_quality"] else str(row["label"])
    return f"{row['label']} ({row['source']})" if several else str(row["label"])


def _rank(row: dict[str, Any]) -> Cell:
    known = row["rank"] is not None
    return Cell(f"{row['rank']} {row['rank_low']}–{row['rank_high']}" if known else NOTHING)


def _about_line(line: RobustnessLine, baseline: str, contrast: Contrast) -> list[str]:
    """Explain the column of distances from the line."""
    fit, right = line.fit, contrast.titles[1]
    strength = f", R² {fit.r_squared:.3f}" if fit.r_squared is not None else ""
    family = f"{fit.n} {_FAMILY_NAMES[baseline]}, {equation(fit, contrast)}{strength}"
    about = [f"above line: {right} accuracy minus that of the line through the {family}"]
    if line.with_errors is not None:
        slope = _with_ends(line.with_errors, "slope")
        about.append(f"with sampling errors in both accuracies its slope is {slope}")
    return about


def equation(fit: LineFit, contrast: Contrast = DROP) -> str:
    """Write a line with its 95 % intervals: ``probit(counter) = 0.6 [...] + 1.2 [...] × probit(common)``."""
    left, right = contrast.titles
    intercept, slope = _with_ends(fit, "intercept"), _with_ends(fit, "slope")
    term = f"({slope})" if slope.startswith("−") else slope
    return f"{fit.scale}({right}) = {intercept} + {term} × {fit.scale}({left})"


def _with_ends(fit: LineFit | LineWithErrors, name: str) -> str:
    value, low, high = (decimal(getattr(fit, f"{name}{end}"), 3) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def tests_table(tests: pl.DataFrame, contrast: Contrast) -> Table:
    """Return paired tests, a heading for each pair (columns of ``TESTS_SCHEMA``)."""
    known = tests.filter(pl.col("value").is_not_null())
    quantities = {ScoreKey("accuracy"): "balanced accuracy", contrast.difference_key: contrast.name}
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
    for row, pair in zip(known.iter_rows(named=True), _pairs_named(known), strict=True):
        if pair != above:
            above = pair
            headings.add(len(rows))
            rows.append(heading(pair, len(columns)))
        p = p_value(row["p_corrected"]) if row["p_corrected"] is not None else ""
        found = Estimate.of(row, bounds="corrected_")
        rows.append([Cell(quantities[ScoreKey.of(row)]), Cell(found.signed), Cell(found.interval), Cell(p)])
    families = " or ".join(map(str, sorted(tests["family"].drop_nulls().unique())))
    corrected = f"; p and intervals corrected for all {families} tests, shown or not" if families else ""
    about = f"percentage points{corrected}"
    title = "Paired differences on the same photos"
    return Table(columns, rows, about, title, headings=frozenset(headings))


def _pairs_named(tests: pl.DataFrame) -> list[str]:
    """Return what tables call the two models of each test.

    The benchmark and the settings in which tests differ follow the second model. A model with results from
    several runs on one benchmark is followed by the source of each.
    """
    rows, named = tests.to_dicts(), titles(tests)
    varying = [name for name in SETTING if len({_setting(row, name) for row in rows}) > 1]
    results = {
        (row["benchmark_version"], row[name], row[f"{prefix}source"])
        for row in rows
        for prefix, name in _SIDES.items()
    }
    sources = Counter(result[:2] for result in results)
    pairs = []
    for row in rows:
        first, second = (
            row[name] + f" ({row[f'{prefix}source']})" * (sources[row["benchmark_version"], row[name]] > 1)
            for prefix, name in _SIDES.items()
        )
        where = f", on {named[row['benchmark_version']]}" if len(named) > 1 else ""
        where += "".join(f", {TITLES[name].lower()} {_setting(row, name)}" for name in varying)
        pairs.append(f"{first} minus {second}{where}")
    return pairs


def _setting(row: dict[str, Any], name: str) -> str:
    """A setting of a pair, of both models if they differ; if one has none, the other's."""
    values = [row[f"{prefix}{name}"] for prefix in _SIDES] if name in BY_SIDE else [row[name]]
    known = dict.fromkeys(setting_text(value) for value in values if value is not None)
    return " / ".join(known) or setting_text(None)


def agreement_table(agreement: pl.DataFrame, contrast: Contrast = DROP) -> Table:
    """Return the rank correlations of drops by class (columns of ``AGREEMENT_OF_DROPS_SCHEMA``).

    Of more than 12 pairs, those of the runs come first, then the paper's.
    """
    known = agreement.filter(pl.col("correlation").is_not_null())
    theirs = pl.col("source").is_in(PUBLISHED).cast(pl.Int8) + pl.col("versus_source").is_in(PUBLISHED)
    shown = known.sort(theirs, maintain_order=True).head(MOST_PAIRS).sort("correlation", descending=True)
    columns = [
        Column("Models"),
        Column("Spearman", True),
        Column("95 %", True, minor=True),
        Column("Classes", True),
    ]
    several = len({*known["source"], *known["versus_source"]} - set(PUBLISHED)) > 1
    rows: list[list[Cell]] = []
    for row in shown.iter_rows(named=True):
        pair = " and ".join(
            short_name(row[name])
            if row[f"{prefix}source"] in PUBLISHED
            else row[name] + f" ({row[f'{prefix}source']})" * several
            for prefix, name in _SIDES.items()
        )
        interval = "" if row["low"] is None else f"[{decimal(row['low'])}, {decimal(row['high'])}]"
        rows.append(
            [Cell(pair), Cell(decimal(row["correlation"])), Cell(interval), Cell(str(row["classes"]))]
        )
    title = f"Do models have the largest {contrast.name} in the same classes?"
    about = ["1: the same order of classes"]
    if shown["low"].is_not_null().any():
        about.append("with an interval: on different halves of the clusters, where chance gives 0")
    if shown["low"].is_null().any():
        about.append("without one: models err on the same photos, so chance alone makes it positive")
    if left := known.height - shown.height:
        about.append(f"{left} more pairs in --format json")
    return Table(columns, rows, "; ".join(about), title)
