"""``counterground scores``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

import click

Style = Literal["table", "csv", "json", "markdown", "latex"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--by", type=click.Choice(["class"]), help="One row per class.")
@click.option(
    "--format",
    "style",
    default="table",
    show_default=True,
    type=click.Choice(get_args(Style)),
)
def scores(runs: tuple[Path, ...], by: str | None, style: Style) -> None:
    """Show the scores of one or more RUN folders: percent in tables, fractions in csv and json."""
    import polars as pl

    from counterground.cli._show import print_text
    from counterground.errors import UsageError
    from counterground.inference import open_run
    from counterground.report import format_scores

    opened = [open_run(run) for run in runs]
    named = pl.concat([run.predictions.select("class_index", "class_name") for run in opened]).unique()
    if by == "class" and named["class_index"].is_duplicated().any():
        raise UsageError("These runs have different classes; show them one at a time with --by class.")
    names = dict(named.iter_rows())
    frame = pl.concat([run.scores for run in opened])
    print_text(format_scores(frame, style, by_class=by == "class", class_names=names))
