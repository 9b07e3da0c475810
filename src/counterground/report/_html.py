"""The report: one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from counterground.atomic import write_text
from counterground.errors import UsageError
from counterground.report._classdrops import ClassDrops, class_facts, draw_class_drops
from counterground.report._comparisons import Comparisons, compare
from counterground.report._marks import Mark, mark
from counterground.report._page import render_page
from counterground.report._paper import PaperPoint, paper_points
from counterground.report._provenance import RunFacts, run_facts
from counterground.report._scatter import Scatter, draw_scatter
from counterground.report._summary import MEASURES, ModelScores, headline, regroup

if TYPE_CHECKING:
    from counterground.inference import Run

_WIDE, _NARROW = 680, 350
_PHOTO = ("path", "class_index", "class_name", "group", "background")


class DiscoverySummary(Protocol):
    """What the report says of a discovery; `counterground.build.Discovery` is one.

    ``cells`` has columns class_index, class_name, background, half (``chooses`` or ``reports``), n and
    accuracy, low, high (fractions); ``pairs`` has class_index, common and counter.
    """

    @property
    def referee(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def pairs(self) -> pl.DataFrame: ...
    @property
    def cells(self) -> pl.DataFrame: ...


@dataclass(frozen=True)
class _Section:
    """All runs on one version of one benchmark."""

    name: str
    version: str
    photos: int
    classes: int
    notes: list[str]
    warnings: list[str]
    headlines: list[tuple[Mark, str]]
    models: list[tuple[ModelScores, Mark]]
    scatters: list[Scatter]
    comparable: bool
    settings: list[str]
    class_drops: ClassDrops | None
    comparisons: Comparisons


def write_report(runs: Sequence[Run], out: Path, *, discovery: DiscoverySummary | None = None) -> Path:
    """Write one self-contained HTML file about ``runs`` and return its path.

    The page holds no script and loads nothing (its content security policy forbids both). Runs on the same
    benchmark version share tables and charts; others get sections of their own.

    Args:
        runs: what `evaluate` returned or `open_run` read.
        out: the file, or an existing folder (the file is then ``report.html`` in it).
        discovery: how the benchmark's pairs were chosen, where they were discovered here.

    Raises:
        UsageError: no runs.
        CounterGroundError: the file cannot be written.
    """
    if not runs:
        raise UsageError("There is nothing to report: give at least one run.")
    path = Path(out)
    path = path / "report.html" if path.is_dir() else path
    paper = paper_points()
    sections = [_section(together, paper) for together in _by_benchmark(runs)]
    facts = [run_facts(run) for run in runs]
    write_text(path, _render(sections, facts, discovery))
    return path


def _by_benchmark(runs: Sequence[Run]) -> list[list[Run]]:
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.info.benchmark.name, run.info.benchmark.version), []).append(run)
    return list(groups.values())


def _section(runs: Sequence[Run], paper: Sequence[PaperPoint]) -> _Section:
    benchmark = runs[0].info.benchmark
    by_run = _models(runs)
    models = [(model, mark(position)) for position, model in enumerate(chain.from_iterable(by_run))]
    photos = pl.concat([run.predictions.select(_PHOTO) for run in runs]).unique()
    plots = [
        draw_scatter(models, paper, width=w, css=css) for w, css in ((_WIDE, "wide"), (_NARROW, "narrow"))
    ]
    return _Section(
        name=benchmark.name,
        version=benchmark.version,
        photos=photos["path"].n_unique(),
        classes=photos["class_index"].n_unique(),
        notes=_unique(note for run in runs for note in run.info.benchmark.notes),
        warnings=_warnings(runs),
        headlines=[(drawn, headline(model)) for model, drawn in models],
        models=models,
        scatters=[plot for plot in plots if plot is not None],
        comparable=benchmark.name.lower() == "counteranimal",
        settings=_unique(_setting(run) for run in runs),
        class_drops=draw_class_drops(models, class_facts(photos)),
        comparisons=compare(runs, by_run),
    )


def _models(runs: Sequence[Run]) -> list[list[ModelScores]]:
    """The rows of each run; the run's name is added where two runs hold the same model."""
    specs = [set(run.scores["model"]) for run in runs]
    names = _run_names(runs)
    found = []
    for position, run in enumerate(runs):
        shared = any(specs[position] & other for k, other in enumerate(specs) if k != position)
        found.append(regroup(run.scores, suffix=f" ({names[position]})" if shared else ""))
    return found


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
    return _unique(found)


def _setting(run: Run) -> str:
    info = run.info
    space = f"1 vs. {info.label_space.size} ({info.label_space.name})"
    if info.label_space.name == "confusable":
        # Its size counts the names the few that compete were chosen from.
        space = f"Confusable names ({info.label_space.source})"
    asked = f"{space}, names {info.names}, prompts {info.prompts}"
    if not info.as_published:
        return asked
    protocols = " and ".join(
        f"“{protocol}”" for protocol in run.scores["protocol"].drop_nulls().unique().sort()
    )
    return f"{asked}, protocol {protocols}"


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _render(
    sections: Sequence[_Section], facts: Sequence[RunFacts], discovery: DiscoverySummary | None
) -> str:
    names = _unique(section.name for section in sections)
    return render_page(
        "report.html.j2",
        title=" and ".join(names),
        sections=sections,
        runs=facts,
        discovery=_discovered(discovery),
        measures=MEASURES,
    )


def _discovered(discovery: DiscoverySummary | None) -> dict[str, object] | None:
    if discovery is None:
        return None
    groups = {
        (row["class_index"], row[group]): group
        for row in discovery.pairs.iter_rows(named=True)
        for group in ("common", "counter")
    }
    kept = set(discovery.pairs["class_index"])
    cells = [
        {**row, "group": groups.get((row["class_index"], row["background"]))}
        for row in discovery.cells.iter_rows(named=True)
        if row["class_index"] in kept
    ]
    return {"referee": discovery.referee, "sentence": discovery.sentence, "kept": len(kept), "cells": cells}
