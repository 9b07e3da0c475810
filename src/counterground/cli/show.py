"""Printing of results: tables on a terminal, plain text in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import cache
from shlex import quote
from typing import TYPE_CHECKING

from counterground.cli.help import is_quiet
from counterground.text import counted, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType

    from counterground.benchmarks import BuiltInBenchmark
    from counterground.discovery import Discovery
    from counterground.inference import CacheEntry
    from counterground.mitigation import Mitigated
    from counterground.models import ModelInfo
    from counterground.results import Run, TableView

_MOST_BACKGROUNDS = 60  # rows of a table after a run
_MOST_PAIRS = 12  # rows of a table after a discovery
_MANY = 500  # models


def print_text(text: RenderableType) -> None:
    """Print text as it is (a pipe must get valid CSV), or a table fitted to the terminal."""
    if isinstance(text, str):
        print(text)
    elif _console().is_terminal:
        _console().print(text, crop=False)
    else:
        with _console().capture() as capture:
            _console().print(text, crop=False)
        print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numeric: Sequence[str] = (),
    title: str = "",
    grouped: bool = False,
) -> None:
    """Print a table of texts.

    Args:
        columns: column titles.
        rows: one text per column; untrusted text is made harmless.
        numeric: right-aligned columns.
        title: text above the table.
        grouped: whether rows with the same first cell form a group that shows this cell once.
    """
    from counterground.results import Cell, Column, Table, rich_table

    table = Table(
        [Column(name, name in numeric) for name in columns],
        [[Cell("\n".join(map(one_line, value.split("\n")))) for value in row] for row in rows],
        title=title,
        heads=1 if grouped else sum(name not in numeric for name in columns),
        grouped=grouped,
    )
    print_text(rich_table(table, _console().width))


def print_notes(notes: Sequence[str]) -> None:
    """Print notes, one after the other, wrapped to the terminal; nothing with ``--quiet``."""
    if not is_quiet():
        _print_sentences(notes, "Note")


def print_view(view: TableView, style: str) -> None:
    """Print a result in a format; its findings and notes are on stderr beside csv, which has no place."""
    print_text(view if style == "table" else view.write(style))
    if style == "csv":
        for remark in view.remarks:
            print(remark, file=sys.stderr)


def _print_sentences(sentences: Sequence[str], kind: str) -> None:
    for sentence in sentences:
        _console().print(f"{kind}: {one_line(sentence)}")


def show_run(run: Run) -> None:
    """Print the scores of a run, with its notes and warnings."""
    from counterground.findings import judged_scores
    from counterground.metrics import breakdowns
    from counterground.results import has_unpaired_backgrounds, scores_of

    print_text(judged_scores([run]))
    if has_unpaired_backgrounds(run):
        breakdown = scores_of([run], by="background")
        if len(breakdown.rows) <= _MOST_BACKGROUNDS:
            print_text(breakdown)
    if named := breakdowns(run.photos):
        _console().print(
            f"Accuracy by {' or '.join(named)}: counterground scores {quote(str(run.path))} --by {named[0]}"
        )
    _print_about(run)


def _print_about(run: Run) -> None:
    info = run.info
    print_notes(info.benchmark.notes)
    _print_sentences(info.all_warnings, "Warning")
    read = info.counts.photos - info.counts.unreadable
    _console().print(
        f"{read:,} of {counted(info.counts.photos, 'photo')}, {counted(len(info.models), 'model')}, "
        f"{info.seconds:,.1f} s. Intervals are 95 %. Run: {run.path}"
    )


def show_swap(run: Run) -> None:
    """Print what backgrounds cause in a run on composites, with its notes and warnings."""
    from counterground.findings import judged_scores

    print_text(judged_scores([run], effects=True))
    _print_about(run)


def show_discovery(discovery: Discovery) -> None:
    """Print the chosen pairs, the evidence, and the effect of choosing them; one line if there is nothing."""
    from counterground.results import rich_table

    if discovery.benchmark is None:
        can_be = " To write one anyway: --write-anyway." if len(discovery.pairs) else ""
        print_text(one_line(discovery.sentence + can_be))
        return
    largest = discovery.pairs.sort("drop", descending=True, maintain_order=True).head(_MOST_PAIRS)
    left = len(discovery.pairs) - len(largest)
    print_text(rich_table((replace(discovery, pairs=largest) if left else discovery).table, _console().width))
    if left:
        _console().print(f"... and {left} more pairs with smaller drops, in pairs.parquet and the report")
    print_text(rich_table(discovery.evidence, _console().width))
    _console().print(discovery.summary)
    _console().print(one_line(discovery.sentence))
    print_notes([note for note in discovery.benchmark.notes if note not in discovery.sentence])


def show_mitigated(mitigated: Mitigated, out: Path) -> None:
    """Print the effect of each method, the methods left out and why, and where the files are."""
    record = mitigated.record
    print_text(record)
    alike: dict[str, list[str]] = {}
    for name, reason in record.left_out.items():
        alike.setdefault(reason, []).append(name)
    left_out = [f"Left out ({', '.join(names)}): {reason}" for reason, names in alike.items()]
    warnings = [text for text in mitigated.run.info.warnings if text not in record.notes]
    print_notes(left_out)
    _print_sentences(warnings, "Warning")
    _console().print(f"Run: {out} (mitigation.json; heads/*.safetensors are fitted on all photos)")


def show_methods() -> None:
    """Print the methods that mitigate a model."""
    from counterground.mitigation import list_mitigations

    rows = [
        (
            method.name,
            ", ".join(sorted(method.needs)) or "-",
            {"none": "no", "fit": "to fit", "choose": "to choose"}[method.group_labels],
            f"{method.title}; {method.source}",
        )
        for method in list_mitigations(warn=print_warning)
    ]
    print_table(("method", "needs", "labels used", "what it does"), rows)


def print_warning(sentence: str) -> None:
    """Print a warning."""
    _print_sentences([sentence], "Warning")


def show_models(models: Sequence[ModelInfo], *, as_json: bool) -> None:
    """Print models as a table, or as JSON."""
    if as_json:
        print_text(json.dumps([asdict(model) for model in models], indent=2))
        return
    if len(models) > _MANY:  # a table of them takes seconds
        print_text("\n".join(one_line(model.spec) for model in models))
        print_text(
            f"{counted(len(models), 'model')}. A pattern says more: counterground models 'timm:convnext*'"
        )
        return
    rows = [
        (
            model.spec,
            model.kind.replace("_", " "),
            "" if model.parameters is None else f"{model.parameters / 1e6:,.1f} M",
            model.training_data or "",
            "needed" if model.needs_network else "no",
        )
        for model in models
    ]
    columns = ("model", "kind", "parameters", "training data", "network")
    print_table(columns, rows, numeric=["parameters"])
    _console().print(
        f"{counted(len(models), 'model')}. A pattern narrows the list: counterground models 'timm:convnext*'"
    )


def show_benchmarks(benchmarks: Sequence[BuiltInBenchmark], *, as_json: bool) -> None:
    """Print the built-in benchmarks as a table, or as JSON."""
    if as_json:
        facts = [
            {
                "name": info.name,
                "photos": info.n_photos or None,
                "here": info.is_ready(),
                "description": info.description,
                "options": info.options,
                "licence": info.licence or None,
                "homepage": info.homepage or None,
            }
            for info in benchmarks
        ]
        print_text(json.dumps(facts, indent=2))
        return
    rows = [
        (
            info.name,
            f"{info.n_photos:,}" if info.n_photos else "",
            "yes" if info.is_ready() else "no",
            info.description,
        )
        for info in benchmarks
    ]
    print_table(("name", "photos", "here", "what it is"), rows, numeric=["photos"])


def show_cache(root: Path, entries: Sequence[CacheEntry], *, as_json: bool) -> None:
    """Print what the cache holds as a table, or as JSON."""
    from rich.filesize import decimal

    size = sum(entry.size for entry in entries)
    if as_json:
        facts = [
            {
                "part": entry.part,
                "path": str(entry.path),
                "about": entry.about,
                "files": entry.files,
                "bytes": entry.size,
                "photos": entry.photos,
                "last_used": datetime.fromtimestamp(entry.last_used, UTC).isoformat(timespec="seconds"),
            }
            for entry in entries
        ]
        print_text(json.dumps({"cache": str(root), "bytes": size, "entries": facts}, indent=2))
        return
    if entries:
        show_cache_rows(entries)
    _console().print(f"Cache: {root}, {decimal(size)}")


def show_cache_rows(entries: Sequence[CacheEntry]) -> None:
    """Print a row for each model in each part of the cache, and one for all other entries of a part."""
    from rich.filesize import decimal

    rows: dict[tuple[str, str], list[CacheEntry]] = {}
    for entry in entries:
        about = entry.about
        batches = f", batches of {about['batch_size']}" if "batch_size" in about else ""
        what = f"{about.get('model')}, {about.get('device')}{batches}" if about else ""
        rows.setdefault((entry.part, what), []).append(entry)
    cells = []
    for (part, what), alike in rows.items():
        photos = [entry.photos for entry in alike if entry.photos is not None]
        last = datetime.fromtimestamp(max(entry.last_used for entry in alike), UTC).date()
        size, files = sum(entry.size for entry in alike), sum(entry.files for entry in alike)
        known = f"{sum(photos):,}" if photos else ""
        cells.append((part, what, known, f"{files:,}", decimal(size), f"{last}"))
    columns = ("part", "model", "photos", "files", "size", "last used")
    print_table(columns, cells, numeric=["photos", "files", "size"])


@cache
def _console() -> Console:
    from rich.console import Console

    class Screen(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - Rich would exit with 1, and a reader that left (`| head`) is no failure

    return Screen(highlight=False, markup=False, emoji=False)
