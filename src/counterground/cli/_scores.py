"""``counterground scores``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option, model_option, out_option

if TYPE_CHECKING:
    import polars as pl

    from counterground.results import Run, TableView

Style = Literal["table", "csv", "json", "parquet", "markdown", "latex", "bibtex"]
_ROWS = ("csv", "json", "parquet")


@click.command(
    cls=Command,
    examples="""
        counterground scores runs/first --by class
        counterground scores runs/a runs/b -m efficientnet-lite0 --format csv
        counterground scores runs/first --by background
        counterground scores runs/first --contrast drop
        counterground scores runs/first --format latex -o scores.tex
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
@click.option("--wide", is_flag=True, help="Show all columns, however wide the terminal is.")
@model_option("models", "Show only this model; repeatable.", multiple=True)
@format_option(
    get_args(Style),
    "Output format. bibtex: what to cite.",
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
    wide: bool,
    models: tuple[str, ...],
    style: Style,
    out: Path | None,
) -> None:
    """Show the scores of one or more RUN folders: percent in tables, fractions in csv, json and parquet.

    With more than one RUN, csv, json and parquet have a column that names the run; tables have it if rows
    could be confused.
    """
    from counterground.errors import UsageError
    from counterground.findings import judged_scores
    from counterground.results import bibliography, open_runs, refuse_run_file, select_models

    if style == "bibtex" and (by or contrast or effects):
        raise UsageError("--format bibtex is of the whole run: leave out --by, --contrast and --effects.")
    if style == "parquet" and out is None:
        raise UsageError("Parquet is not text: add --out FILE.")
    opened = open_runs(runs)
    if out is not None:
        refuse_run_file("--out", out)
    if models:
        opened = list(select_models({run.path: run for run in opened}, models).values())
    # Programs always get a column that names the run; readers need it only if rows could be confused.
    named = (style in _ROWS and len(runs) > 1) or (len(opened) > 1 and _could_be_confused(opened))
    written: str | TableView | pl.DataFrame
    if style == "bibtex":
        written = bibliography(opened)
    else:
        view = judged_scores(opened, by=by, contrast=contrast, effects=effects, named=named)
        written = view.rows if style == "parquet" else view if style == "table" else view.write(style)
    _deliver(written, out, wide=wide)


def _deliver(written: str | TableView | pl.DataFrame, out: Path | None, *, wide: bool) -> None:
    import polars as pl

    from counterground.cli.show import print_text
    from counterground.files import write_parquet, write_text
    from counterground.results import plain_text

    if out is None:
        assert not isinstance(written, pl.DataFrame)
        print_text(written, wide=wide)
        return
    if isinstance(written, pl.DataFrame):
        write_parquet(out, written)
    else:
        write_text(out, plain_text(written, width=120) + "\n")
    click.echo(f"Scores: {out}")


def _could_be_confused(runs: Sequence[Run]) -> bool:
    """Whether the runs are on different benchmarks, or two hold the same model in the same setting."""
    import polars as pl

    from counterground.metrics import KEYS

    if len({run.info.benchmark.version for run in runs}) > 1:
        return True
    return bool(pl.concat([run.estimates().select(KEYS).unique() for run in runs]).is_duplicated().any())
