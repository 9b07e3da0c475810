"""``counterground scores``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

if TYPE_CHECKING:
    import polars as pl

    from counterground.inference import Run

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
    """Show the scores of one or more RUN folders: percent in tables, fractions in csv and json.

    With more than one RUN, csv and json name the run of each row in a column of its own; tables do where the
    rows could be confused.
    """
    from counterground.cli._show import print_text
    from counterground.inference import open_run
    from counterground.report import format_scores

    opened = {folder: open_run(folder) for folder in runs}
    names = _class_names(opened.values()) if by == "class" else None
    named = len(runs) > 1 and (style in ("csv", "json") or _could_be_confused(opened))
    print_text(format_scores(_joined(opened, named=named), style, by_class=by == "class", class_names=names))


def _joined(runs: Mapping[Path, Run], *, named: bool) -> pl.DataFrame:
    import polars as pl

    frames = [run.scores for run in runs.values()]
    if named:
        frames = [
            frame.select(pl.lit(str(folder)).alias("run"), pl.all())
            for folder, frame in zip(runs, frames, strict=True)
        ]
    return pl.concat(frames)


def _could_be_confused(runs: Mapping[Path, Run]) -> bool:
    """Whether the runs saw different benchmarks, or two hold the same model in the same setting."""
    import polars as pl

    if len({run.info.benchmark.version for run in runs.values()}) > 1:
        return True
    keys = ["model", "names", "prompts", "protocol", "label_space"]
    return bool(pl.concat([run.scores.select(keys).unique() for run in runs.values()]).is_duplicated().any())


def _class_names(runs: Iterable[Run]) -> dict[int, str]:
    import polars as pl

    from counterground.errors import UsageError

    named = pl.concat([run.predictions.select("class_index", "class_name") for run in runs]).unique()
    if named["class_index"].is_duplicated().any():
        raise UsageError("These runs have different classes; show them one at a time with --by class.")
    return dict(named.iter_rows())
