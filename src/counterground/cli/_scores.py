"""``counterground scores``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--by", type=click.Choice(["class"]), help="One row per class.")
@click.option(
    "--format",
    "style",
    default="table",
    show_default=True,
    type=click.Choice(["table", "csv", "json", "markdown", "latex"]),
)
def scores(runs: tuple[Path, ...], by: str | None, style: str) -> None:
    """Show the scores of one or more RUN folders: percent in tables, fractions in csv and json."""
    import polars as pl

    from counterground.cli._show import print_text
    from counterground.inference import open_run
    from counterground.report import format_scores

    frame = pl.concat([open_run(run).scores for run in runs])
    print_text(format_scores(frame, style, by_class=by == "class"))
