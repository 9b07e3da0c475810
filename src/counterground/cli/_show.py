"""What the commands print: rich tables on a terminal, plain text in a pipe."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.table import Table

if TYPE_CHECKING:
    from counterground.benchmarks import BuiltInBenchmark
    from counterground.construction.discover import Discovery
    from counterground.models import ModelInfo
    from counterground.results import Run

_console = Console(highlight=False, markup=False, emoji=False)


def print_text(text: RenderableType) -> None:
    """Print text as it is (a pipe must get valid CSV), or a table fitted to the terminal."""
    if isinstance(text, str):
        print(text)
    elif _console.is_terminal:
        _console.print(text)
    else:
        with _console.capture() as capture:
            _console.print(text)
        print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def plain_text(text: RenderableType, *, width: int = 120) -> str:
    """Return text as it is, or a table as it stands on a terminal of ``width`` columns, for a file."""
    if isinstance(text, str):
        return text
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(text)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def show_run(run: Run) -> None:
    """Print the scores of a run, and what its reader must know."""
    from counterground.results import format_scores

    print_text(format_scores(run.scores, "table"))
    info = run.info
    _sentences(info.benchmark.notes, "Note")
    _sentences(info.all_warnings, "Warning")
    read = info.counts.photos - info.counts.unreadable
    _console.print(
        f"{read:,} of {info.counts.photos:,} photos, "
        f"{_counted(len(info.models), 'model')}, {info.seconds:,.1f} s. "
        f"Intervals are 95 %. Run: {run.path}"
    )


def show_discovery(discovery: Discovery) -> None:
    """Print the chosen pairs and the effect of choosing them."""
    table = Table("class", "common", "counter", title=f"Pairs chosen by {discovery.referee}")
    table.add_column("drop where chosen", justify="right")
    for row in discovery.pairs.iter_rows(named=True):
        table.add_row(row["class_name"], row["common"], row["counter"], f"{100 * row['drop']:.1f}")
    _console.print(table)
    _console.print(
        f"{len(discovery.pairs)} of {discovery.classes_seen} classes vary enough; "
        f"the benchmark holds {len(discovery.benchmark.photos):,} photos."
    )
    _sentences(discovery.benchmark.notes, "Note")


def show_models(models: Sequence[ModelInfo], *, as_json: bool) -> None:
    """Print models as a table, or as JSON."""
    if as_json:
        print_text(json.dumps([asdict(model) for model in models], indent=2))
        return
    table = Table("model", "kind", "parameters", "training data", "network")
    table.columns[2].justify = "right"
    table.columns[0].overflow = "fold"
    for model in models:
        size = "" if model.parameters is None else f"{model.parameters / 1e6:,.1f} M"
        needs = "needed" if model.needs_network else "no"
        table.add_row(model.spec, model.kind.replace("_", " "), size, model.training_data, needs)
    _console.print(table)
    _console.print(
        f"{len(models):,} models. A pattern narrows the list: counterground models 'timm:convnext*'"
    )


def show_benchmarks(benchmarks: Sequence[BuiltInBenchmark]) -> None:
    """Print the built-in benchmarks."""
    table = Table("name", "photos", "here", "what it is")
    table.columns[1].justify = "right"
    for info in benchmarks:
        table.add_row(info.name, f"{info.n_photos:,}", "yes" if info.is_ready() else "no", info.description)
    _console.print(table)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _sentences(sentences: Sequence[str], kind: str) -> None:
    for sentence in sentences:
        _console.print(f"{kind}: {sentence}")
