"""``counterground scores``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option, model_option, out_option
from counterground.text import one_line

if TYPE_CHECKING:
    import polars as pl

    from counterground.results import Run, ScoresView, TableView

    View = ScoresView | TableView

Style = Literal[
    "table", "csv", "json", "parquet", "markdown", "latex", "model-card", "eval-results", "bibtex"
]
_DOCUMENTS = ("model-card", "eval-results", "bibtex")
_OF_ONE_MODEL = {"model-card": "A model card", "eval-results": "A file of evaluation results"}
_ROWS = ("csv", "json", "parquet")


@click.command(
    cls=Command,
    examples="""
        counterground scores runs/first --by class
        counterground scores runs/a runs/b -m efficientnet-lite0 --format csv
        counterground scores runs/first --by background
        counterground scores runs/first --contrast drop
        counterground scores runs/first --format model-card -o model-card.md
    """,
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--by", metavar="NAME", help="One row per class, cell, background, or value of another attribute."
)
@click.option(
    "--contrast",
    metavar="NAME|TEXT",
    help="Show one contrast: a name, or LEFT - RIGHT within COLUMN, such as "
    "'place=water - place=land within class_name'.",
)
@click.option(
    "--effects",
    is_flag=True,
    help="Show what backgrounds cause, from a run of `counterground swap`: the drop = background + size and "
    "position + rest, each background, BG-Gap, and the cost of editing. Also works with --by class.",
)
@model_option("models", "Show only this model; repeatable.", multiple=True)
@format_option(
    get_args(Style),
    "Output format. For the Hugging Face hub: model-card (Markdown with a model-index) and eval-results "
    "(YAML for .eval_results/). bibtex: what to cite.",
)
@click.option(
    "--dataset",
    metavar="OWNER/NAME",
    help="For eval-results: the benchmark's data set on the Hugging Face hub.",
)
@out_option(
    "Write to a file instead of the screen.",
    file=True,
    required=False,
    type=click.Path(path_type=Path, dir_okay=False),
)
def scores(
    *,
    runs: tuple[Path, ...],
    by: str | None,
    contrast: str | None,
    effects: bool,
    models: tuple[str, ...],
    style: Style,
    dataset: str | None,
    out: Path | None,
) -> None:
    """Show the scores of one or more RUN folders: percent in tables, fractions in csv, json and parquet.

    With more than one RUN, csv, json and parquet have a column that names the run; tables have it if rows
    could be confused.
    """
    from counterground.errors import UsageError
    from counterground.results import open_runs, refuse_run_file, select_models

    _refuse_mixtures(style, by, contrast, dataset, effects=effects)
    if style == "parquet" and out is None:
        raise UsageError("Parquet is not text: add --out FILE.")
    opened = open_runs(runs)
    if out is not None:
        refuse_run_file("--out", out)
    if models:
        opened = list(select_models({run.path: run for run in opened}, models).values())
    # Programs always get a column that names the run; readers need it only if rows could be confused.
    named = (style in _ROWS and len(runs) > 1) or (len(opened) > 1 and _could_be_confused(opened))
    written: str | View | pl.DataFrame
    if effects:
        written = _effects(opened, style, by_class=by == "class", named=named)
    elif style in _DOCUMENTS:
        written = _document(opened, style, dataset or "")
    else:
        written = _table(opened, style, by, contrast, named=named)
    if style in _OF_ONE_MODEL and out is not None and len(_models(opened)) > 1:
        raise UsageError(
            f"{_OF_ONE_MODEL[style]} describes one model: add -m MODEL, or leave out --out to see them all."
        )
    _deliver(written, out)


def _refuse_mixtures(
    style: Style,
    by: str | None,
    contrast: str | None,
    dataset: str | None,
    *,
    effects: bool,
) -> None:
    """Refuse options that exclude each other."""
    from counterground.errors import UsageError

    if by and style in _DOCUMENTS:
        raise UsageError(f"{style} is not available by {by}: leave out --by.")
    if (style == "eval-results") != (dataset is not None):
        raise UsageError("--format eval-results and --dataset OWNER/NAME go together.")
    other = f"--format {style}" if style in _DOCUMENTS else f"--by {by}"
    if contrast and (style in _DOCUMENTS or by not in (None, "class")):
        raise UsageError(f"A contrast is shown over all classes or --by class: leave out {other}.")
    if effects and (style in _DOCUMENTS or contrast or by not in (None, "class")):
        other = "--contrast" if contrast else other
        raise UsageError(f"--effects is shown over all classes or --by class: leave out {other}.")


def _document(runs: Sequence[Run], style: str, dataset: str) -> str:
    from counterground.results import bibliography, eval_results, model_cards

    if style == "bibtex":
        return bibliography(runs)
    if style == "model-card":
        return "\n\n".join(model_cards(runs).values())
    files = eval_results(runs, dataset)
    headed = (f"# {one_line(name)}\n{text}" for name, text in files.items())
    return "\n".join(headed if len(files) > 1 else files.values()).rstrip("\n")


def _table(
    runs: Sequence[Run], style: Style, by: str | None, contrast: str | None, *, named: bool
) -> str | View | pl.DataFrame:
    from counterground.results import (
        BreakdownView,
        class_names,
        contrast_scores,
        format_scores,
        format_view,
        join_breakdowns,
        join_scores,
        score_rows,
    )

    by_class = by == "class"
    names = class_names(runs) if by_class else None
    if contrast is not None:
        found = contrast_scores(runs, contrast, named=named, by_class=by_class, class_names=names)
        return found.rows if style == "parquet" else format_view(found, style)
    if by is not None and not by_class:
        joined = join_breakdowns(runs, by, named=named)
        return joined if style == "parquet" else format_view(BreakdownView(joined), style)
    joined = join_scores(runs, named=named)
    if style == "parquet":
        return score_rows(joined, by_class, names)
    return format_scores(joined, style, by_class, names)


def _effects(runs: Sequence[Run], style: Style, *, by_class: bool, named: bool) -> str | View | pl.DataFrame:
    from counterground.results import effect_scores, format_view

    found = effect_scores(runs, named=named, by_class=by_class)
    return found.rows if style == "parquet" else format_view(found, style)


def _deliver(written: str | View | pl.DataFrame, out: Path | None) -> None:
    import polars as pl

    from counterground.cli.show import print_text
    from counterground.files import write_parquet, write_text
    from counterground.results import plain_text

    if out is None:
        assert not isinstance(written, pl.DataFrame)
        print_text(written)
        return
    if isinstance(written, pl.DataFrame):
        write_parquet(out, written)
    else:
        write_text(out, plain_text(written, width=120) + "\n")
    click.echo(f"Scores: {out}")


def _models(runs: Sequence[Run]) -> set[str]:
    return {model.name for run in runs for model in run.info.models}


def _could_be_confused(runs: Sequence[Run]) -> bool:
    """Whether the runs are on different benchmarks, or two hold the same model in the same setting."""
    import polars as pl

    from counterground.metrics import KEYS

    if len({run.info.benchmark.version for run in runs}) > 1:
        return True
    return bool(pl.concat([run.scores.select(KEYS).unique() for run in runs]).is_duplicated().any())
