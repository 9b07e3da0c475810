"""The report: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import polars as pl

from counterground.comparison import Comparison, full_comparison
from counterground.errors import UsageError
from counterground.files import write_text
from counterground.findings import Words
from counterground.metrics import DROP, GROUPS, KEYS, Contrast, Design
from counterground.photos import Benchmark
from counterground.reporting.class_facts import ClassFacts
from counterground.reporting.page._classes import COLUMNS, ClassPage, informative_photos, make_class_page
from counterground.reporting.page._gallery import PER_CELL, Gallery, make_gallery
from counterground.reporting.page._section import Row, Section, make_section, unique
from counterground.reporting.photo_sources import PhotoSource, built_in_benchmarks, photo_sources
from counterground.reporting.shell import (
    as_data,
    as_script,
    page_path,
    page_policy,
    page_script,
    render_page,
)
from counterground.reporting.sides import on_sides
from counterground.reporting.style import FAMILY_NAMES
from counterground.results import (
    MITIGATION_FILE,
    AnyRuns,
    BenchmarkRecord,
    ModelScores,
    Run,
    Table,
    mean_drop,
    one_contrast,
    open_runs,
    read_mitigation,
    run_facts,
    select_models,
)

PHOTO_BUDGET = 15.0
_SCRIPTS = tuple(f"report/scripts/{name}.js" for name in ("tables", "classes"))


class DiscoverySummary(Protocol):
    """What the report reads from a discovery; `counterground.construction.Discovery` is one.

    ``cells`` has columns class_index, class_name, background, half (``chooses`` or ``reports``; for a swap
    ``first`` or ``second``), n and accuracy, low, high (fractions); ``pairs`` has class_index, common,
    counter and the half that chose; ``evidence`` compares the result with chance. ``choose`` is ``best`` or
    ``shrunken``; ``benchmark`` is None if none was written.
    """

    @property
    def benchmark(self) -> Benchmark | None: ...
    @property
    def referee(self) -> str: ...
    @property
    def choose(self) -> str: ...
    @property
    def sentence(self) -> str: ...
    @property
    def pairs(self) -> pl.DataFrame: ...
    @property
    def cells(self) -> pl.DataFrame: ...
    @property
    def evidence(self) -> Table: ...


@dataclass(frozen=True)
class _Photos:
    """Where photos come from, and how many megabytes each section may use (None: show no photos)."""

    sources: dict[str, PhotoSource]
    budget: float | None


class _Group(NamedTuple):
    """The runs of one section: those on one version of a benchmark, and those that show causes and cures."""

    runs: list[Run]
    swapped: list[Run]
    mitigated: list[Run]


def write_report(
    runs: AnyRuns,
    out: Path,
    *,
    discovery: DiscoverySummary | None = None,
    benchmarks: Sequence[Benchmark] = (),
    photos: bool = True,
    photo_budget: float = PHOTO_BUDGET,
    contrast: str | Contrast | None = None,
    warn: Callable[[str], object] | None = None,
) -> Path:
    """Write one self-contained HTML file about ``runs`` and return its path.

    The page loads nothing and runs only the scripts that its content security policy names by their hashes.
    Without scripts it is still a page of tables and pictures. Runs on the same benchmark version share
    tables and charts; others get their own sections. In the section of its photos, a run on composites shows
    what the background causes, and a run of `counterground mitigate` what would make the drop smaller. Tests,
    lines and distances from them come from the comparison: the page computes none.

    Small copies of the most informative photos are put into the page. They are looked up by content in
    ``benchmarks`` and in that of ``discovery``, then in the built-in benchmarks of the runs. What is missing
    or has changed is listed and left out.

    Args:
        runs: runs or their folders.
        out: the file, or an existing folder (the file is then ``report.html`` in it).
        discovery: how the benchmark's pairs were chosen, if they were discovered here.
        benchmarks: opened benchmarks that hold the photos of the runs.
        photos: whether to show photos; without them, nothing about single photos is shown either.
        photo_budget: megabytes (10^6 bytes of the page) that photos may take.
        contrast: what the page is about: a contrast, its name or an expression; by default the first one of
            each benchmark.
        warn: called with one line for each benchmark whose photos the page should show and cannot.

    Raises:
        UsageError: no runs, a run given twice, a file that does not end in .html, a budget that is not
            positive, a contrast that the runs do not have, or a discovery of other pairs than those of the
            runs.
        CounterGroundError: a run cannot be read, or the file cannot be written.
    """
    opened = open_runs(runs)
    if not opened:
        raise UsageError("There is nothing to report: give at least one run.")
    path = page_path(Path(out), "report.html")
    _check_discovery(opened, discovery)
    together = _groups(opened)
    compared = _compared([run for group in together for run in group.runs], contrast)
    at_hand = _photos(opened, discovery, benchmarks) if photos else {}
    available = _Photos(at_hand, photo_budget / len(together) if photos else None)
    sections = [
        make_section(
            number,
            group.runs,
            of_run,
            partial(_class_page, available, words=Words(of_run.contrast)),
            swapped=group.swapped,
            mitigated=group.mitigated,
        )
        for number, group in enumerate(together, start=1)
        for of_run in [compared[group.runs[0].design.contrasts[0]]]
    ]
    of = [
        section.number
        for group, section in zip(together, sections, strict=True)
        if discovery is not None
        and any(_is_of(run, discovery) for run in (*group.runs, *group.swapped, *group.mitigated))
    ]
    write_text(path, _render(sections, opened, list(compared.values()), discovery, of))
    if warn is not None:
        for group, section in zip(together, sections, strict=True):
            gallery = section.class_page.gallery
            if gallery.absent and not gallery.of_composites:  # which nobody could find
                warn(f"{group.runs[0].info.benchmark.name}: {gallery.absent}")
    return path


def _compared(runs: Sequence[Run], contrast: str | Contrast | None) -> dict[Contrast, Comparison]:
    """Return the comparison that each run belongs to, by the first contrast of its benchmark."""
    own: dict[Contrast, list[Run]] = {}
    for run in runs:
        own.setdefault(run.design.contrasts[0], []).append(run)
    if contrast is not None:
        chosen = one_contrast(runs, contrast)
        return dict.fromkeys(own, full_comparison(runs, published=chosen == DROP, contrast=chosen))
    return {
        first: full_comparison(group, published=first == DROP, contrast=None if first == DROP else first)
        for first, group in own.items()
    }


def _check_discovery(runs: Sequence[Run], discovery: DiscoverySummary | None) -> None:
    """Refuse a discovery whose pairs are not those of any run: the page would describe another choice.

    Raises:
        UsageError: no run was made on its benchmark, or on photos that are in the same groups there.
    """
    benchmark = None if discovery is None else discovery.benchmark
    if discovery is None or benchmark is None or any(_has_pairs_of(run, benchmark) for run in runs):
        return
    raise UsageError(
        f"None of these runs was made on the pairs of this discovery ({benchmark.name}, chosen by "
        f"{discovery.referee}): give the discovery of the benchmark that was evaluated."
    )


def _is_of(run: Run, discovery: DiscoverySummary) -> bool:
    """Whether a run is on the pairs of a discovery; on any, if it does not have its benchmark."""
    return discovery.benchmark is None or _has_pairs_of(run, discovery.benchmark)


def _has_pairs_of(run: Run, benchmark: Benchmark) -> bool:
    """Whether a run is on a benchmark, or every photo that both have is in the same group in both."""
    if run.info.source.version == benchmark.version:
        return True
    same = ["photo_id", "group"]
    pairs = benchmark.photos.select(same)
    shared = run.photos.select(same).filter(pl.col("photo_id").is_in(pairs["photo_id"].implode()))
    return shared.height > 0 and shared.drop_nulls("group").join(pairs, on=same, how="anti").is_empty()


def _photos(
    runs: Sequence[Run], discovery: DiscoverySummary | None, benchmarks: Sequence[Benchmark]
) -> dict[str, PhotoSource]:
    discovered = [discovery.benchmark] if discovery is not None and discovery.benchmark is not None else []
    named = photo_sources([*benchmarks, *discovered])
    lacking = [run for run in runs if not run.photos["photo_id"].is_in(list(named)).all()]
    return photo_sources(built_in_benchmarks(lacking)) | named


def _groups(runs: Sequence[Run]) -> list[_Group]:
    """Return the runs by section: one for each version and design of a benchmark.

    Runs on composites and mitigations belong to the section of their photos, else to that of another version
    of the same benchmark, else to the only one. If there is none, a mitigated run makes one with the
    unmitigated model, and composites make their own.
    """
    groups: list[_Group] = []
    plain, swapped, mitigated = _kinds(runs)
    for run in plain:
        _join(groups, run).runs.append(run)
    for run in mitigated:
        home = _home(groups, run.info.benchmark)
        if home is None:
            home = _join(groups, run)
            own = read_mitigation(run.path).model
            home.runs.append(select_models({run.path: run}, [own])[run.path])
        home.mitigated.append(run)
    for run in swapped:
        assert run.info.intervention is not None
        home = _home(groups, run.info.intervention.source)
        if home is None:
            home = _join(groups, run)
            home.runs.append(run)
        home.swapped.append(run)
    return groups


def _kinds(runs: Sequence[Run]) -> tuple[list[Run], list[Run], list[Run]]:
    """Return the runs on unchanged photos, those on composites, and those of mitigations."""
    kinds: tuple[list[Run], list[Run], list[Run]] = ([], [], [])
    for run in runs:
        is_swapped, is_mitigated = run.info.intervention is not None, (run.path / MITIGATION_FILE).is_file()
        kinds[1 if is_swapped else 2 if is_mitigated else 0].append(run)
    return kinds


def _join(groups: list[_Group], run: Run) -> _Group:
    """Return the group of runs on exactly the photos of a run, of one design; add one if there is none."""
    of = _version(run.info.benchmark)
    found = next((each for each in groups if _version(each.runs[0].info.benchmark) == of), None)
    if found is None:
        groups.append(found := _Group([], [], []))
    return found


def _home(groups: Sequence[_Group], source: BenchmarkRecord) -> _Group | None:
    """Return the group about these photos, else about another version of them, else the only one."""
    known = [(each, each.runs[0].info) for each in groups]
    same = [each for each, info in known if _version(info.benchmark) == _version(source)]
    named = [each for each, info in known if info.benchmark.name == source.name]
    only = [each for each, info in known if info.intervention is None]
    return next(iter([*same, *named, *(only if len(only) == 1 else [])]), None)


def _version(benchmark: BenchmarkRecord) -> tuple[str, str, Design]:
    """What runs must have in common to share tables and charts; the design decides cells and clusters."""
    return benchmark.name, benchmark.version, benchmark.scored


def _class_page(
    photos: _Photos,
    runs: Sequence[Run],
    by_run: Sequence[Sequence[ModelScores]],
    rows: Sequence[Row],
    facts: Mapping[int, ClassFacts],
    *,
    lead: str | None,
    words: Words,
) -> ClassPage:
    predictions = _LabelledRows(runs, by_run, words.contrast)
    chosen = informative_photos(predictions, PER_CELL)
    gallery = replace(
        Gallery(requested=False)
        if photos.budget is None
        else make_gallery(chosen, photos.sources, photos.budget),
        of_composites=runs[0].info.intervention is not None,
    )
    models = [row.model for row in rows]
    drops = {index: mean_drop(models, index, words.contrast) for index in facts}
    order = sorted(facts, key=lambda i: (drops[i] is None, -(drops[i] or 0.0), facts[i].name))
    lead = lead or next((model.label for model in models if words.knows(model)), None)
    return make_class_page(
        predictions,
        chosen,
        [(row.model, row.mark.css) for row in rows],
        [(index, facts[index]) for index in order],
        gallery=gallery,
        lead=lead,
        per_cell=PER_CELL,
        words=words,
    )


@dataclass(frozen=True)
class _LabelledRows:
    """The predictions of each model on the page, under its label, with one model in memory at a time.

    ``group`` is the side of the contrast that a photo is on.
    """

    runs: Sequence[Run]
    models: Sequence[Sequence[ModelScores]]
    contrast: Contrast

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for run, own in zip(self.runs, self.models, strict=True):
            labels = {tuple(getattr(model.setting, key) for key in KEYS): model.label for model in own}
            needed = tuple(dict.fromkeys((*COLUMNS, *self.contrast.of_classes().columns)))
            for key, rows in run.by_setting(needed) if own else ():
                if key in labels:
                    yield on_sides(rows, self.contrast).with_columns(model=pl.lit(labels[key]))


def _render(
    sections: Sequence[Section],
    runs: Sequence[Run],
    comparisons: Sequence[Comparison],
    discovery: DiscoverySummary | None,
    of: Sequence[int],
) -> str:
    names = unique(section.name for section in sections)
    scripts = [page_script(name) for name in _SCRIPTS]
    return render_page(
        "report/page.html.j2",
        title=" and ".join(names),
        policy=page_policy(scripts),
        scripts=[as_script(script) for script in scripts],
        as_data=as_data,
        sections=sections,
        runs=[run_facts(run) for run in runs],
        discovery=_discovered(discovery),
        discovered=[section for section in sections if section.number in of],
        measured=_measured(sections),
        baseline=FAMILY_NAMES[comparisons[0].robustness.baseline],
        comparability=unique(warning for comparison in comparisons for warning in comparison.warnings),
    )


def _measured(sections: Sequence[Section]) -> str:
    """Say what the page is about; that models rely on the background is for composites to show."""
    if all(section.words.is_effect for section in sections):
        return "how much models rely on the background"
    words = sections[0].words
    if any(section.words != words for section in sections):
        return "accuracy on two kinds of photos"
    sides = "common and counter backgrounds" if words.is_drop else f"{words.left} and {words.right}"
    return f"accuracy on {sides}"


def _discovered(discovery: DiscoverySummary | None) -> dict[str, object] | None:
    if discovery is None:
        return None
    swap = discovery.pairs["half"].is_in(["first", "second"]).any()
    chooser = (
        {"first": "second", "second": "first"} if swap else dict.fromkeys(("chooses", "reports"), "chooses")
    )
    groups = {
        (row["class_index"], row["half"], row[group]): group
        for row in discovery.pairs.iter_rows(named=True)
        for group in GROUPS
    }
    kept = set(discovery.pairs["class_index"])
    cells = [
        {**row, "group": groups.get((row["class_index"], chooser[row["half"]], row["background"]))}
        for row in discovery.cells.iter_rows(named=True)
        if row["class_index"] in kept
    ]
    return {
        "referee": discovery.referee,
        "sentence": discovery.sentence,
        "evidence": discovery.evidence,
        "kept": len(kept),
        "cells": cells,
        "swap": swap,
        "noise_aside": discovery.choose == "shrunken",
        "written": discovery.benchmark is not None,
    }
