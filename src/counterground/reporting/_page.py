"""The report: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from counterground.comparison import Comparison, full_comparison
from counterground.errors import UsageError
from counterground.files import write_text
from counterground.metrics import DROP, Contrast, Design
from counterground.photos import Benchmark
from counterground.reporting._section import Section, make_section, unique
from counterground.reporting.shell import (
    FAMILY_NAMES,
    as_data,
    as_script,
    page_path,
    page_policy,
    page_script,
    render_page,
)
from counterground.reporting.shown_photos import PhotoSource, built_in_benchmarks, photo_sources
from counterground.results import (
    MITIGATION_FILE,
    AnyRuns,
    BenchmarkRecord,
    Run,
    one_contrast,
    open_runs,
    read_mitigation,
    run_facts,
    select_models,
)

if TYPE_CHECKING:
    from counterground.discovery import Discovery

PHOTO_BUDGET = 15.0
_SCRIPTS = tuple(f"report/scripts/{name}.js" for name in ("tables", "classes"))


class _Group(NamedTuple):
    """The runs of one section: those on one version of a benchmark, and those that show causes and cures."""

    runs: list[Run]
    swapped: list[Run]
    mitigated: list[Run]

    @property
    def every(self) -> list[Run]:
        """All of them."""
        return [*self.runs, *self.swapped, *self.mitigated]


def write_report(
    runs: AnyRuns,
    out: Path,
    *,
    discovery: Discovery | None = None,
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
    together = _groups(opened)
    of = [discovery is not None and _is_of(group, discovery) for group in together]
    if discovery is not None and not any(of):
        raise UsageError(
            f"None of these runs was made on the pairs that {discovery.referee} chose: give the discovery of "
            "the benchmark that was evaluated."
        )
    compared = _compared([run for group in together for run in group.runs], contrast)
    sources = _photos(opened, discovery, benchmarks) if photos else {}
    budget = photo_budget / len(together) if photos else None
    sections = [
        make_section(
            number,
            group.runs,
            of_run,
            sources=sources,
            budget=budget,
            swapped=group.swapped,
            mitigated=group.mitigated,
        )
        for number, group in enumerate(together, start=1)
        for of_run in [compared[group.runs[0].design.contrasts[0]]]
    ]
    discovered = [section for section, is_of in zip(sections, of, strict=True) if is_of]
    write_text(path, _render(sections, opened, list(compared.values()), discovery, discovered))
    for section in sections:
        gallery = section.class_page.gallery
        if warn is not None and gallery.absent and not gallery.of_composites:  # which nobody could find
            warn(f"{section.name}: {gallery.absent}")
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


def _is_of(group: _Group, discovery: Discovery) -> bool:
    """Whether any run is on the benchmark of a discovery, or has each photo that both have in the same group.

    So is every run of a discovery that wrote no benchmark.
    """
    benchmark, same = discovery.benchmark, ["photo_id", "group"]
    if benchmark is None or any(run.info.source.version == benchmark.version for run in group.every):
        return True
    pairs = benchmark.photos.select(same)
    shared = [run.photos.select(same).join(pairs, on="photo_id", how="semi") for run in group.every]
    return any(
        len(of_run) and of_run.drop_nulls("group").join(pairs, on=same, how="anti").is_empty()
        for of_run in shared
    )


def _photos(
    runs: Sequence[Run], discovery: Discovery | None, benchmarks: Sequence[Benchmark]
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
    swapped = [run for run in runs if run.info.intervention is not None]
    rest = [run for run in runs if run.info.intervention is None]
    plain, mitigated = (
        [run for run in rest if (run.path / MITIGATION_FILE).is_file() == is_mitigated]
        for is_mitigated in (False, True)
    )
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


def _render(
    sections: Sequence[Section],
    runs: Sequence[Run],
    comparisons: Sequence[Comparison],
    discovery: Discovery | None,
    discovered: Sequence[Section],
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
        discovery=discovery,
        discovered=discovered,
        baseline=FAMILY_NAMES[comparisons[0].robustness.baseline],
        comparability=unique(each.text for comparison in comparisons for each in comparison.findings),
    )
