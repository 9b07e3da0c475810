"""A comparison laid out as sections: a title, a sheet of cells, and the sentences that belong below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.comparison._comparison import Comparison
from counterground.comparison._points import titles
from counterground.comparison._published_points import PUBLISHED
from counterground.comparison._robustness import RobustnessLine
from counterground.comparison._scaling import EVERY, TERMS, WITHOUT, Answer, Scaling
from counterground.comparison.tables._lines import about_line
from counterground.metrics import SETTING
from counterground.results import NOTHING, TITLES, Cell, Column, Sheet, bounds, p_value, percent, setting_text

if TYPE_CHECKING:
    from counterground.comparison._scaling import Outcome


_OUTCOMES: tuple[tuple[Outcome, str], ...] = (
    ("drop", "Drop (points; less is better)"),
    ("effective robustness", "Effective robustness (points off the line; more is better)"),
)
_VERDICTS = {"yes": "yes", "no": "no, harms", "not told": "not told"}
_METRICS = {
    ("drop", None): "drop",
    ("accuracy", "common"): "accuracy, common",
    ("accuracy", "counter"): "accuracy, counter",
    ("accuracy", None): "accuracy",
}
MOST_PAIRS = 12
ABOUT_P = (
    "p is corrected (Holm) for all pairs of these models on the same quantity, shown or not, since models "
    "are picked after looking."
)
_MOST_DROPS = 8


@dataclass(frozen=True)
class Section:
    """One table; rows that are ``headings`` only title those below, ``bold`` ones stand out."""

    title: str
    sheet: Sheet
    sentences: tuple[str, ...] = ()
    headings: frozenset[int] = frozenset()
    bold: frozenset[int] = frozenset()


def comparison_sections(comparison: Comparison) -> list[Section]:
    """Lay out models benchmark by benchmark, paired tests, agreement, and the scaling answers."""
    sections = _models(comparison)
    if comparison.tests.height:
        sections.append(_tests(comparison.tests))
    if comparison.agreement["correlation"].drop_nulls().len():
        sections.append(_agreement(comparison.agreement))
    if comparison.scaling is not None:
        sections.append(_scaling(comparison.scaling))
    return sections


def _models(comparison: Comparison) -> list[Section]:
    """One section per benchmark and label space; runs on the paper's photos stand among its models."""
    models = comparison.models
    shown = models.filter(pl.col("source") != "reproduction")
    again = models.filter(pl.col("source") == "reproduction")
    same = shown.filter("comparable")
    groups = [same] if same.height else []
    others = shown.filter(~pl.col("comparable"))
    groups += [part for _, part in others.group_by("benchmark_version", "label_space", maintain_order=True)]
    named = titles(comparison.points)
    lines = {
        (line.benchmark_version, line.label_space): line
        for line in comparison.robustness.lines
        if line.source != "reproduction"
    }
    sections = []
    for group in groups:
        first = group.row(0, named=True)
        version, space = first["benchmark_version"], first["label_space"]
        # On the paper's photos one line serves all versions.
        place = (None, space) if first["comparable"] else (version, space)
        title = first["benchmark"] if first["comparable"] else named[version]
        paper = "paper" in group["source"]
        ordered = group.sort("residual", "drop", descending=[True, False], nulls_last=True)
        told = _Group(ordered, f"{title}, label space {space}", lines.get(place), again if paper else None)
        sections.append(_group(told, comparison.robustness.baseline))
    return sections


@dataclass(frozen=True)
class _Group:
    """Models in one table, their line, and the reproduction's rows where it is the paper's table."""

    models: pl.DataFrame
    title: str
    line: RobustnessLine | None
    again: pl.DataFrame | None


def _group(group: _Group, baseline: str) -> Section:
    models, line, again = group.models, group.line, group.again
    columns = [Column("Model", False), *(Column(title, True) for title in ("Common", "Counter", "Drop"))]
    columns += [Column("Drop 2025", True)] if again is not None else []
    columns += [Column("Off line", True), Column("95 %", True)] if line else []
    columns += [Column("Rank", True)]
    runs = models.filter(~pl.col("source").is_in(PUBLISHED))["source"].n_unique()
    later = {} if again is None else dict(again.select("model", "drop").iter_rows())
    rows, bold = [], set()
    for place, row in enumerate(models.iter_rows(named=True)):
        own = row["source"] not in PUBLISHED
        cells: list[Cell] = [(_name(row, several=runs > 1), "")]
        # More intervals would push the names off a terminal; `counterground scores` has them all.
        cells += [(percent(row[name]), "") for name in ("common", "counter")]
        cells.append((percent(row["drop"]), "" if again is not None else _interval(row, "drop")))
        if again is not None:
            cells.append((percent(later.get(row["model"])) if row["source"] == "paper" else "", ""))
        if line:
            cells.append((signed(row["residual"]), ""))
            cells.append((bounds(row["residual_low"], row["residual_high"]), ""))
        cells.append((_rank(row), ""))
        rows.append(cells)
        if own and again is not None:
            bold.add(place)
    title = f"{_counted(len(rows))} on {group.title}"
    sentences = [*_own_drops(models, again), *_about(group, baseline)]
    sheet = Sheet(1, columns, rows, f"{title}, percent. {' '.join(sentences)}")
    return Section(title, sheet, tuple(sentences), bold=frozenset(bold))


def _name(row: dict[str, Any], *, several: bool) -> str:
    """The paper's data set and backbone, with an asterisk for filtered data; a run's model as written."""
    if row["source"] in PUBLISHED:
        if row["family"] == "imagenet":
            return f"ImageNet {row['backbone']}"
        return f"{row['label']}*" if row["high_quality"] else str(row["label"])
    return f"{row['label']} ({row['source']})" if several else str(row["label"])


def _interval(row: dict[str, Any], name: str) -> str:
    return bounds(row[f"{name}_low"], row[f"{name}_high"])


def signed(value: float | None) -> str:
    """Write a fraction as percent with its sign; 0.0 has none."""
    text = percent(value)
    return text if value is None or text == "0.0" or text.startswith("−") else f"+{text}"


def _rank(row: dict[str, Any]) -> str:
    if row["rank"] is None:
        return NOTHING
    return f"{row['rank']} {row['rank_low']}–{row['rank_high']}"


def _own_drops(models: pl.DataFrame, again: pl.DataFrame | None) -> list[str]:
    """The drops of the runs' models with their intervals, where the table has no room for them."""
    own = models.filter(~pl.col("source").is_in(PUBLISHED))
    if again is None or own.is_empty():
        return []
    drops = [
        f"{row['label']} {percent(row['drop'])} {_interval(row, 'drop')}".rstrip()
        for row in own.head(_MOST_DROPS).iter_rows(named=True)
    ]
    more = f"; {own.height - _MOST_DROPS} more in --format csv" if own.height > _MOST_DROPS else ""
    return [f"Drops of the runs, with 95 % intervals: {'; '.join(drops)}{more}."]


def _about(group: _Group, baseline: str) -> list[str]:
    sentences = about_line(group.line, baseline, group.models) if group.line else []
    sentences.append("Rank by drop, with the ranks that cannot be ruled out (all pairs tested, Holm).")
    if group.again is not None:
        sentences.append(
            "Drop 2025: an independent reproduction. *: filtered data. The paper prints no intervals: the "
            "sampling error of its rows, in ranks and in intervals off the line, is binomial from the group "
            "sizes, an approximation."
        )
    return sentences


def _counted(models: int) -> str:
    return "1 model" if models == 1 else f"{models} models"


def _scaling(scaling: Scaling) -> Section:
    counts = {fit.subset: fit.joint.n for fit in scaling.fits}
    columns = [Column("Over the paper's CLIPs", False)]
    columns += [Column(f"{subset} ({counts[subset]})", True) for subset in (EVERY, WITHOUT)]
    rows: list[list[Cell]] = []
    headings = set()
    for outcome, title in _OUTCOMES:
        if not scaling.of(outcome):
            continue
        headings.add(len(rows))
        rows.append([(title, ""), ("", ""), ("", "")])
        pairs = zip(scaling.of(outcome, EVERY), scaling.of(outcome, WITHOUT), strict=True)
        rows += [
            [(every.question, every.change), *map(_answer, (every, without))] for every, without in pairs
        ]
    joint = scaling.fits[0].joint
    strength = ", ".join(
        f"{fit.joint.r_squared:.2f} ({fit.outcome}, {fit.joint.n})"
        for fit in scaling.fits
        if fit.joint.r_squared is not None
    )
    formula = (
        f"{joint.formula}, and the same for robustness: ordinary least squares, 95 % intervals from t; each "
        f"effect with the other two held. R² {strength}."
    )
    sentences = (formula, *_alone(scaling), *scaling.caveats)
    title = "Do size, more data and cleaner data help?"
    sheet = Sheet(1, columns, rows, f"{title} {' '.join(sentences)}")
    return Section(title, sheet, sentences, headings=frozenset(headings))


def _answer(answer: Answer) -> Cell:
    return f"{_VERDICTS[answer.verdict]}: {signed(answer.effect)}", bounds(answer.low, answer.high)


def _alone(scaling: Scaling) -> list[str]:
    """What each term says alone, and what effective robustness adds, in words."""
    found = scaling.of("drop", EVERY)
    single = "; ".join(
        f"{answer.change} {signed(answer.alone.value)} {bounds(answer.alone.low, answer.alone.high)}"
        for answer in found
    )
    sentences = [f"Alone, over all {found[0].n}, the drop changes by: {single}."]
    off_line = [a for a in scaling.answers if a.outcome == "effective robustness"]
    if off_line and len(off_line) == 2 * len(TERMS) and all(a.verdict == "not told" for a in off_line):
        sentences.append(
            "What helps the drop is not shown to help effective robustness: models that drop less are more "
            "accurate on common photos too, by about as much as the line says."
        )
    return sentences


def _tests(tests: pl.DataFrame) -> Section:
    varying = [name for name in SETTING if tests[name].n_unique() > 1]
    several = {row["model_a"] for row in tests.filter(pl.col("model_a") == pl.col("model_b")).to_dicts()}
    places = _places(tests)
    columns = [
        Column("Metric", False),
        *(Column(title, True) for title in ("Difference", "95 %", "p (Holm)")),
    ]
    rows: list[list[Cell]] = []
    headings = set()
    above = None
    for row in tests.filter(pl.col("difference").is_not_null()).iter_rows(named=True):
        heading = " minus ".join(_side(row, side, several=several) for side in "ab")
        heading += places[row["benchmark_version"]]
        heading += "".join(f", {TITLES[name].lower()} {setting_text(name, row[name])}" for name in varying)
        if heading != above:
            above = heading
            headings.add(len(rows))
            rows.append([(heading, ""), ("", ""), ("", ""), ("", "")])
        interval = bounds(row["low"], row["high"])
        p = p_value(row["p_holm"]) if row["p_holm"] is not None else ""
        metric = _METRICS[row["metric"], row["group"]]
        rows.append([(metric, ""), (signed(row["difference"]), ""), (interval, ""), (p, "")])
    title = "Paired differences on the same photos (percentage points)"
    return Section(title, Sheet(1, columns, rows, f"{title}. {ABOUT_P}"), (ABOUT_P,), frozenset(headings))


def _side(row: dict[str, Any], side: str, *, several: set[str]) -> str:
    """A model of a pair, with its runs where several runs have other results of it."""
    name = str(row[f"model_{side}"])
    return f"{name} ({row[f'source_{side}']})" if name in several else name


def _places(tests: pl.DataFrame) -> dict[str, str]:
    """What tells the benchmarks of tests apart, by version; nothing where there is one."""
    versions = dict(tests.select("benchmark_version", "benchmark").unique(maintain_order=True).iter_rows())
    if len(versions) == 1:
        return dict.fromkeys(versions, "")
    names = list(versions.values())
    return {
        version: f", on {name} (version {version[:8]})" if names.count(name) > 1 else f", on {name}"
        for version, name in versions.items()
    }


def _agreement(agreement: pl.DataFrame) -> Section:
    known = agreement.filter(pl.col("correlation").is_not_null())
    shown = _most_telling(known).sort("correlation", descending=True)
    columns = [
        Column("Models", False),
        Column("Spearman", True),
        Column("95 %", True),
        Column("Classes", True),
    ]
    sources = {*known["source_a"], *known["source_b"]} - set(PUBLISHED)
    rows: list[list[Cell]] = []
    for row in shown.iter_rows(named=True):
        pair = " and ".join(
            _short(row[f"model_{side}"], row[f"source_{side}"], several=len(sources) > 1) for side in "ab"
        )
        interval = "" if row["low"] is None else f"[{_two(row['low'])}, {_two(row['high'])}]"
        rows.append([(pair, ""), (_two(row["correlation"]), ""), (interval, ""), (str(row["classes"]), "")])
    title = "Do models lean on the backgrounds of the same classes?"
    left = known.height - shown.height
    sentences = ["Rank correlation of the drops class by class; 1 means the same order of classes."]
    if left:
        sentences.append(f"{left} more pairs are in --format json.")
    return Section(title, Sheet(1, columns, rows, f"{title} {' '.join(sentences)}"), tuple(sentences))


def _most_telling(known: pl.DataFrame) -> pl.DataFrame:
    """All pairs where they are few; else those of the runs first, then the paper's."""
    if known.height <= MOST_PAIRS:
        return known
    theirs = pl.col("source_a").is_in(PUBLISHED).cast(pl.Int8) + pl.col("source_b").is_in(PUBLISHED)
    return known.sort(theirs, maintain_order=True).head(MOST_PAIRS)


def _short(model: str, source: str, *, several: bool) -> str:
    if source in PUBLISHED:
        return short_name(model)
    return f"{model} ({source})" if several else model


def short_name(model: str) -> str:
    """The paper's name of a CLIP without the word: ``LAION2B ViT/B/32``."""
    return model.removeprefix("CLIP-").replace("-", " ", 1)


def _two(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
