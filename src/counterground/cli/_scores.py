"""``counterground scores``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

if TYPE_CHECKING:
    import polars as pl

    from counterground.results import BackgroundsView, Run, ScoresView

Style = Literal["table", "csv", "json", "parquet", "markdown", "latex", "model-card", "bibtex"]
_DOCUMENTS = ("model-card", "bibtex")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--by", type=click.Choice(["class", "background"]), help="One row per class or background.")
@click.option("-m", "--model", "models", multiple=True, metavar="MODEL", help="Only this model; repeatable.")
@click.option(
    "--format",
    "style",
    default="table",
    show_default=True,
    type=click.Choice(get_args(Style)),
    help="Output format; model-card is Markdown with the hub's model-index, bibtex lists what to cite.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file instead of the screen.")
def scores(
    runs: tuple[Path, ...], by: str | None, models: tuple[str, ...], style: Style, out: Path | None
) -> None:
    """Show the scores of one or more RUN folders: percent in tables, fractions in csv, json and parquet.

    With more than one RUN, csv, json and parquet have a column that names the run; tables have it if rows
    could be confused.
    """
    from counterground.errors import UsageError
    from counterground.results import open_run, select_models

    if by and style in _DOCUMENTS:
        raise UsageError(f"{style} is not available by {by}: leave out --by.")
    if style == "parquet" and out is None:
        raise UsageError("Parquet is not text: add --out FILE.")
    opened = {folder: open_run(folder) for folder in runs}
    if models:
        opened = select_models(opened, models)
    written = _document(opened, style) if style in _DOCUMENTS else _table(opened, style, by)
    if style == "model-card" and out is not None and len(_models(opened)) > 1:
        raise UsageError(
            "A model card describes one model: add -m MODEL, or leave out --out to see them all."
        )
    _deliver(written, out)


def _document(runs: Mapping[Path, Run], style: str) -> str:
    from counterground.results import bibliography, model_cards

    opened = list(runs.values())
    return bibliography(opened) if style == "bibtex" else "\n\n".join(model_cards(opened).values())


def _table(
    runs: Mapping[Path, Run], style: Style, by: str | None
) -> str | ScoresView | BackgroundsView | pl.DataFrame:
    from counterground.errors import UsageError
    from counterground.results import (
        class_names,
        format_backgrounds,
        format_scores,
        join_backgrounds,
        join_scores,
        score_rows,
    )

    by_class = by == "class"
    names = class_names(list(runs.values())) if by_class else None
    rows = style in ("csv", "json", "parquet")
    named = len(runs) > 1 and (rows or _could_be_confused(runs))
    if by == "background":
        joined = join_backgrounds(list(runs.values()), named=named)
        if joined.is_empty():
            raise UsageError("No photo of these runs has a background: leave out --by background.")
        return joined if style == "parquet" else format_backgrounds(joined, style)
    joined = join_scores(list(runs.values()), named=named)
    if style == "parquet":
        return score_rows(joined, by_class, names)
    return format_scores(joined, style, by_class, names)


def _deliver(written: str | ScoresView | BackgroundsView | pl.DataFrame, out: Path | None) -> None:
    import polars as pl

    from counterground.cli._show import print_text
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


def _models(runs: Mapping[Path, Run]) -> set[str]:
    return {model.name for run in runs.values() for model in run.info.models}


def _could_be_confused(runs: Mapping[Path, Run]) -> bool:
    """Whether the runs saw different benchmarks, or two hold the same model in the same setting."""
    import polars as pl

    from counterground.metrics import KEYS

    if len({run.info.benchmark.version for run in runs.values()}) > 1:
        return True
    return bool(pl.concat([run.scores.select(KEYS).unique() for run in runs.values()]).is_duplicated().any())
