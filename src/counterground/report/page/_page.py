"""The report: one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from counterground.errors import UsageError
from counterground.files import write_text
from counterground.photos import Benchmark
from counterground.report._shell import as_data, as_script, page_policy, page_script, render_page, vega_script
from counterground.report.page._album import PER_CELL, Album, make_album
from counterground.report.page._classdrops import class_facts
from counterground.report.page._classes import ClassPage, make_class_page
from counterground.report.page._comparisons import labelled_predictions
from counterground.report.page._photos import PhotoSource, built_in_benchmarks, photo_sources
from counterground.report.page._section import Row, Section, make_section, unique
from counterground.report.page._telling import telling_photos
from counterground.results import ModelScores, mean_drop, measures, run_facts

if TYPE_CHECKING:
    from counterground.results import Run


PHOTO_BUDGET = 15.0
_SCRIPTS = ("tables.js", "explorer.js", "classes.js")


class DiscoverySummary(Protocol):
    """What the report says of a discovery; `counterground.construction.Discovery` is one.

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
class _Photos:
    """Where photos come from, and how many megabytes each benchmark may use; None: no photo is shown."""

    sources: dict[str, PhotoSource]
    budget: float | None


def write_report(
    runs: Sequence[Run],
    out: Path,
    *,
    discovery: DiscoverySummary | None = None,
    benchmarks: Sequence[Benchmark] = (),
    photos: bool = True,
    photo_budget: float = PHOTO_BUDGET,
) -> Path:
    """Write one self-contained HTML file about ``runs`` and return its path.

    The page loads nothing and runs only the scripts that its content security policy names by their hashes.
    Without scripts it is still a page of tables and pictures. Runs on the same benchmark version share
    tables and charts; others get sections of their own.

    Small copies of the photos that tell most are put into the page. They are looked for, by content, in
    ``benchmarks``, in that of ``discovery`` and in the built-in ones; what is missing or has changed is told
    and left out.

    Args:
        runs: what `evaluate` returned or `open_run` read.
        out: the file, or an existing folder (the file is then ``report.html`` in it).
        discovery: how the benchmark's pairs were chosen, where they were discovered here.
        benchmarks: opened benchmarks that hold the photos of the runs.
        photos: False leaves all photos out, and what would be said of single photos with them.
        photo_budget: megabytes (10^6 bytes of the page) that photos may take.

    Raises:
        UsageError: no runs, a file that does not end in .html, or a budget that is not positive.
        CounterGroundError: the file cannot be written.
    """
    if not runs:
        raise UsageError("There is nothing to report: give at least one run.")
    path = Path(out)
    path = path / "report.html" if path.is_dir() else path
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path} is no name of a page: give one that ends in .html, or an existing folder.")
    together = _by_benchmark(runs)
    at_hand = _photos(runs, discovery, benchmarks) if photos else {}
    album = _Photos(at_hand, photo_budget / len(together) if photos else None)
    sections = [
        make_section(number, group, partial(_class_page, album))
        for number, group in enumerate(together, start=1)
    ]
    write_text(path, _render(sections, runs, discovery))
    return path


def _photos(
    runs: Sequence[Run], discovery: DiscoverySummary | None, benchmarks: Sequence[Benchmark]
) -> dict[str, PhotoSource]:
    discovered = getattr(discovery, "benchmark", None)
    found = [*benchmarks, *([discovered] if isinstance(discovered, Benchmark) else [])]
    return photo_sources(found or built_in_benchmarks(runs))


def _by_benchmark(runs: Sequence[Run]) -> list[list[Run]]:
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.info.benchmark.name, run.info.benchmark.version), []).append(run)
    return list(groups.values())


def _class_page(
    photos: _Photos, runs: Sequence[Run], by_run: Sequence[Sequence[ModelScores]], rows: Sequence[Row]
) -> ClassPage:
    predictions = labelled_predictions(runs, by_run)
    chosen = telling_photos(predictions, PER_CELL)
    album = (
        Album(wanted=False) if photos.budget is None else make_album(chosen, photos.sources, photos.budget)
    )
    facts = class_facts(predictions)
    models = [row.model for row in rows]
    drops = {index: mean_drop(models, index) for index in facts}
    order = sorted(facts, key=lambda i: (drops[i] is None, -(drops[i] or 0.0), facts[i].name))
    lead = next((model.label for model in models if model.has_groups), None)
    return make_class_page(
        predictions,
        chosen,
        [(row.model, row.mark.css) for row in rows],
        [(index, facts[index]) for index in order],
        album=album,
        lead=lead,
        per_cell=PER_CELL,
    )


def _render(sections: Sequence[Section], runs: Sequence[Run], discovery: DiscoverySummary | None) -> str:
    names = unique(section.name for section in sections)
    charts = any(section.explorer is not None for section in sections)
    scripts = [vega_script()] if charts else []
    scripts += [page_script(name) for name in _SCRIPTS]
    return render_page(
        "report.html.j2",
        title=" and ".join(names),
        policy=page_policy(scripts),
        scripts=[as_script(script) for script in scripts],
        as_data=as_data,
        sections=sections,
        runs=[run_facts(run) for run in runs],
        discovery=_discovered(discovery),
        measures=measures(),
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
