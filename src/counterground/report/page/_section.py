"""One benchmark on the page: everything its templates draw, from the runs made on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from counterground.report._style import FAMILY_NAMES
from counterground.report.page._classdrops import ClassDrops, class_facts, draw_class_drops
from counterground.report.page._classes import ClassPage
from counterground.report.page._comparisons import Comparisons, compare
from counterground.report.page._trends import fit_lines, point_of, residuals, run_points, trends
from counterground.report.page._verdict import Verdict, find_lead, judge
from counterground.report.page.explorer._explorer import Explorer, draw_explorer
from counterground.report.page.explorer._marks import Mark, mark
from counterground.report.page.explorer._points import Item, in_short
from counterground.results import Estimate, ModelScores, regroup

if TYPE_CHECKING:
    from counterground.results import Run


_PHOTO = ("path", "class_index", "class_name", "group", "background")


class Strip(NamedTuple):
    """A drop with its interval as a small picture: positions in percent of its width."""

    at: float
    span: tuple[float, float] | None
    zero: float


@dataclass(frozen=True)
class Row:
    """One model of the table: scores, marker, family, what it is, and its distance from the ImageNet line."""

    model: ModelScores
    mark: Mark
    family: str
    facts: str
    strip: Strip | None
    residual: Estimate | None

    @property
    def family_name(self) -> str:
        """The family in words."""
        return FAMILY_NAMES.get(self.family, FAMILY_NAMES["other"])


@dataclass(frozen=True)
class Section:
    """All runs on one version of one benchmark; rows come with the largest drop first."""

    number: int
    name: str
    version: str
    photos: int
    classes: int
    notes: list[str]
    warnings: list[str]
    verdict: Verdict
    rows: list[Row]
    settings: list[str]
    explorer: Explorer | None
    class_drops: ClassDrops | None
    comparisons: Comparisons
    class_page: ClassPage

    @property
    def drawn(self) -> list[tuple[ModelScores, Mark]]:
        """The models with their markers."""
        return [(row.model, row.mark) for row in self.rows]

    @property
    def same_photos(self) -> bool:
        """Whether all rows rest on as many photos and clusters, which then need no columns."""
        return len({(row.model.photos.n, row.model.photos.clusters) for row in self.rows}) == 1

    @property
    def has_residuals(self) -> bool:
        """Whether any model can be measured against the line of the ImageNet models."""
        return any(row.residual is not None for row in self.rows)


@dataclass(frozen=True)
class _Known:
    """A model with its place among the runs and its row of `model_points`."""

    model: ModelScores
    run: int
    point: dict[str, Any] | None
    residual: Estimate | None


def make_section(number: int, runs: Sequence[Run], class_page: Any) -> Section:
    """Gather everything the page says of runs on one benchmark.

    Args:
        number: place of the section on the page, from 1.
        runs: runs on the same version of a benchmark.
        class_page: function of the runs, their labelled models in the page's order and the lead.
    """
    benchmark = runs[0].info.benchmark
    by_run = label_models(runs)
    known, published, fitted = _known(runs, by_run)
    known.sort(key=lambda k: (k.point is None, -(k.model.get("drop").value or 0.0)))
    models = [k.model for k in known]
    lead = find_lead(models)
    compared = compare(runs, by_run, lead.label if lead else None)
    rows = _rows(known)
    items = [Item(k.point, row.model.label, row.mark) for k, row in zip(known, rows, strict=True) if k.point]
    photos = pl.concat([run.predictions.select(_PHOTO) for run in runs]).unique()
    drawn = [(row.model, row.mark) for row in rows]
    class_drops = draw_class_drops(drawn, class_facts(photos))
    return Section(
        number=number,
        name=benchmark.name,
        version=benchmark.version,
        photos=photos["path"].n_unique(),
        classes=photos["class_index"].n_unique(),
        notes=unique(note for run in runs for note in run.info.benchmark.notes),
        warnings=_warnings(runs),
        verdict=judge(models, compared),
        rows=rows,
        settings=unique(_setting(run) for run in runs),
        explorer=draw_explorer(items, published, trends(fitted)),
        class_drops=class_drops,
        comparisons=compared,
        class_page=class_page(runs, by_run, rows),
    )


def label_models(runs: Sequence[Run]) -> list[list[ModelScores]]:
    """The models of each run; the run's name is added where two runs hold the same model."""
    specs = [set(run.scores["model"]) for run in runs]
    names = _run_names(runs)
    found = []
    for position, run in enumerate(runs):
        shared = any(specs[position] & other for k, other in enumerate(specs) if k != position)
        found.append(regroup(run.scores, suffix=f" ({names[position]})" if shared else ""))
    return found


def unique(texts: Iterable[str]) -> list[str]:
    """The texts in order, each once."""
    return list(dict.fromkeys(texts))


def _known(
    runs: Sequence[Run], by_run: Sequence[Sequence[ModelScores]]
) -> tuple[list[_Known], pl.DataFrame, Any]:
    points, published = run_points(runs)
    fitted = fit_lines(points, published)
    points = points.with_row_index("place")
    distances = residuals(fitted, points)
    known = []
    for run, models in enumerate(by_run):
        for model in models:
            point = point_of(points, run, model)
            known.append(_Known(model, run, point, None if point is None else distances[point["place"]]))
    return known, published, fitted


def _rows(known: Sequence[_Known]) -> list[Row]:
    drops = [k.model.get("drop") for k in known]
    edges = [v for d in drops for v in (d.value, d.low, d.high) if v is not None]
    low, high = min([*edges, 0.0]), max([*edges, 0.0])
    rows = []
    for place, (k, drop) in enumerate(zip(known, drops, strict=True)):
        family = k.point["family"] if k.point else "other"
        strip = _strip(drop, low, high) if high > low else None
        rows.append(Row(k.model, mark(place, family), family, _facts(k.point), strip, k.residual))
    return rows


def _strip(drop: Estimate, low: float, high: float) -> Strip | None:
    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    if drop.value is None:
        return None
    span = None if drop.low is None or drop.high is None else (at(drop.low), at(drop.high))
    return Strip(at(drop.value), span, at(0.0))


def _facts(point: dict[str, Any] | None) -> str:
    if point is None:
        return ""
    told = []
    if point["parameters"]:
        told.append(f"{in_short(point['parameters'])} parameters")
    if point["pretrain_dataset"]:
        size = f" ({in_short(point['data_size'])})" if point["data_size"] else ""
        told.append(f"{point['pretrain_dataset']}{size}")
    return ", ".join(told)


def _run_names(runs: Sequence[Run]) -> list[str]:
    names = [run.path.name for run in runs]
    return [
        name if name and names.count(name) == 1 else f"run {position + 1}"
        for position, name in enumerate(names)
    ]


def _warnings(runs: Sequence[Run]) -> list[str]:
    found = []
    published = [run.info.as_published for run in runs]
    for run, name in zip(runs, _run_names(runs), strict=True):
        info = run.info
        if info.as_published:
            found.append(
                f"As published{'' if all(published) else f' ({name})'}: models were loaded the way the paper "
                "apparently loaded them, not the way their weights were trained. "
                "Do not read these figures as the models' own."
            )
        found += info.warnings
        for model in info.models:
            found += [f"{model.spec}: {warning}" for warning in model.description.get("warnings") or []]
    return unique(found)


def _setting(run: Run) -> str:
    info = run.info
    space = f"1 vs. {info.label_space.size} ({info.label_space.name})"
    if info.label_space.name == "confusable":
        # Its size counts the names the few that compete were chosen from.
        space = f"Confusable names ({info.label_space.source})"
    asked = f"{space}, names {info.names}, prompts {info.prompts}"
    return f"{asked}, loaded as published" if info.as_published else asked
