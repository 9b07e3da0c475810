"""Export a benchmark: select, lay out, copy and describe its photos; the folder appears in one rename."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from counterground._version import __version__
from counterground.arguments import checked, texts
from counterground.benchmarks import open_apart
from counterground.construction.exports._card import write_attribution, write_card, write_left_out
from counterground.construction.exports._copying import Tick
from counterground.construction.exports._facts import CardFacts, known_facts
from counterground.construction.exports._folder import check_replaceable, new_folder, read_mark, write_mark
from counterground.construction.exports._format import ExportFormat, Statement
from counterground.construction.exports._layout import Contents
from counterground.construction.exports._selection import Selection, Terms, select_photos
from counterground.construction.exports.formats import (
    COUNTERANIMAL,
    CROISSANT,
    FIFTYONE,
    HUGGINGFACE,
    PARQUET,
    WEBDATASET,
)
from counterground.errors import UsageError, did_you_mean
from counterground.photos import Benchmark
from counterground.plugins import Registry
from counterground.progress import progress_bar

_FORMATS = Registry(
    "counterground.exports",
    ExportFormat,
    {each.name: each for each in (COUNTERANIMAL, CROISSANT, FIFTYONE, HUGGINGFACE, PARQUET, WEBDATASET)},
)
FORMATS = tuple(_FORMATS.built_in)


@dataclass(frozen=True, eq=False)
class ExportReport:
    """What was exported.

    Attributes:
        folders: folders by format.
        photos: number of photos exported.
        left_out: photos left out: path, class_name, background, group, licence, reason.
        notes: sentences for whoever exports.
    """

    folders: dict[str, Path]
    photos: int
    left_out: pl.DataFrame
    notes: tuple[str, ...]


@checked
def export(
    benchmark: Benchmark | Path | str,
    out: Path | str,
    *,
    formats: str | Sequence[str],
    shared: bool = True,
    all_licences: bool = False,
    licence_for_unknown: str | None = None,
    attribution_for_unknown: str | None = None,
    card: CardFacts | None = None,
    overwrite: bool = False,
    show_progress: bool = False,
) -> ExportReport:
    """Write a benchmark as one or more folders that stand alone, each with a data card and all credits.

    The folder appears in one rename. Each photo is compared with its hash while it is copied.

    Args:
        benchmark: a built-in name, a folder, a manifest, a pool, or an opened benchmark.
        out: the folder; a new one, an empty one, or an earlier export of the same.
        formats: some of ``FORMATS``, or of those other packages add; one is written to ``out``, several to
            ``out/<format>``.
        shared: export for others: photos whose licence is unknown or forbids sharing are left out.
        all_licences: keep photos of all licences in a shared export, on your own responsibility.
        licence_for_unknown: licence ("cc-by") for photos that state none: for photos of your own.
        attribution_for_unknown: credit line for those that have none.
        card: what the data card says beyond the photos; what it leaves empty is what the pool knows about how
            it was made.
        overwrite: replace another export in ``out``.
        show_progress: show a bar on standard error.

    Raises:
        UsageError: a format or licence is unknown, the benchmark has questions, is of composites or has a
            column whose name a format uses itself, or ``out`` holds something else, or the benchmark itself.
        CounterGroundError: no photo may be shared; a file is missing or changed; ``out`` cannot be written.
    """
    benchmark = open_apart(benchmark, out, show_progress=show_progress)
    facts = known_facts(benchmark, card)
    chosen = _known_formats(texts("formats", formats))
    benchmark.check_files("export")
    if benchmark.has_questions:
        raise UsageError(f"{benchmark.name} has questions with options, which no export format carries yet.")
    out = _target(benchmark, Path(out))
    terms = Terms(shared, all_licences, licence_for_unknown, attribution_for_unknown)
    selection = select_photos(benchmark, terms)
    contents = {each.name: each.lay_out(selection.benchmark) for each in chosen}
    total = len(selection.benchmark) * len(chosen)
    folders = {each.name: out / each.name if len(chosen) > 1 else out for each in chosen}
    if not overwrite:
        _check_same(out, folders, contents, shared)
    with progress_bar("Exporting", total=total, shown=show_progress) as bar, new_folder(out) as draft:
        for each in chosen:
            held = contents[each.name]
            statement = Statement(each, facts, shared, (*selection.notes, *held.notes))
            folder = draft / folders[each.name].relative_to(out)
            _write(held, selection, statement, folder, tick=bar.advance)
        if len(chosen) > 1:
            write_mark(draft, {"made_by": f"counterground {__version__}", "formats": list(contents)})
    notes = dict.fromkeys([*selection.notes, *(note for held in contents.values() for note in held.notes)])
    return ExportReport(folders, len(selection.benchmark), selection.left_out, tuple(notes))


def _known_formats(names: Sequence[str]) -> list[ExportFormat]:
    known = _FORMATS.names()
    if not names:
        raise UsageError(f"Name at least one format: {', '.join(known)}.")
    chosen = []
    for name in dict.fromkeys(names):
        if (found := _FORMATS.find(name)) is None:
            raise UsageError(f"Unknown format {name!r}: use {', '.join(known)}.{did_you_mean(name, known)}")
        chosen.append(found)
    return chosen


def _target(benchmark: Benchmark, out: Path) -> Path:
    """Return where ``out`` is, through a link, after checking that it may be written."""
    target = out.resolve() if out.is_symlink() else out.absolute()
    if benchmark.root.resolve().is_relative_to(target.resolve()):
        raise UsageError(f"{out} holds the benchmark to be exported: choose another folder.")
    check_replaceable(target)
    return target


def _check_same(
    out: Path, folders: Mapping[str, Path], contents: Mapping[str, Contents], shared: bool
) -> None:
    """Refuse to replace the export of other photos, of other formats, or for other readers."""
    earlier = read_mark(out)
    if earlier is None:
        return
    same = set(earlier.get("formats", folders)) == set(folders)
    for name, folder in folders.items():
        mark = read_mark(folder) or {}
        asked = (name, shared, contents[name].benchmark.version)
        same = same and (mark.get("format"), mark.get("shared"), mark.get("version")) == asked
    if not same:
        raise UsageError(f"{out} holds another export. Choose another --out, or replace it with --overwrite.")


def _write(
    contents: Contents,
    selection: Selection,
    statement: Statement,
    folder: Path,
    *,
    tick: Tick,
) -> None:
    folder.mkdir(exist_ok=True)
    benchmark, form = contents.benchmark, statement.format
    form.write(contents, folder, tick)
    head = form.card_head(benchmark, statement, folder) if form.card_head else ""
    write_attribution(benchmark, folder)
    write_left_out(selection.left_out, folder)
    write_card(benchmark, statement, folder, head)
    if form.finish:
        form.finish(benchmark, statement, folder)
    record = {
        "made_by": f"counterground {__version__}",
        "format": form.name,
        "shared": statement.shared,
        "photos": len(benchmark),
        "left_out": len(selection.left_out),
        "version": benchmark.version,
    }
    write_mark(folder, record)
