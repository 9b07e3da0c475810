"""``counterground curate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterground.cli._options import model_options

if TYPE_CHECKING:
    from rich.table import Table

    from counterground.construction.curate import CurateReport


@click.command()
@click.argument("pool", type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="MODEL",
    help="Also judge labels, ambiguity, clarity and likeness, by this CLIP or classifier.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another limit of a signal, e.g. hash_radius=4; repeatable. A wrong name lists them all.",
)
@click.option("--top", default=10, show_default=True, type=click.IntRange(min=0), help="Photos to list.")
@model_options
def curate(pool: Path, model: str | None, limits: tuple[str, ...], top: int, **running: Any) -> None:
    """Rank the photos of POOL by how doubtful they are, and say why; people decide, nothing is discarded.

    Feature noise (unreadable, tiny, blurred, badly exposed, flat, nearly empty) and duplicates (same file,
    close perceptual hash) need no model. Without --label-space, --model ranks each class among ImageNet's
    names and the pool's own, a classifier among its outputs.

    \b
    counterground curate my-pool
    counterground curate my-pool --model efficientnet-lite0
    """
    from counterground.cli._show import print_text
    from counterground.construction.curate import CurateSettings
    from counterground.construction.curate import curate as run_curation
    from counterground.inference import Settings
    from counterground.text import one_line

    settings = CurateSettings.with_limits(limits)
    report = run_curation(pool, settings, model=model, running=Settings(**running), show_progress=True)
    print_text(_counts(report))
    if report.flagged and top:
        print_text(_queue(report, top))
    for note in report.notes:
        click.echo(f"Note: {one_line(note)}")
    click.echo(
        f"{report.flagged:,} of {report.photos:,} photos have a reason to be looked at; "
        f"{report.measured:,} were decoded now, the others are known."
    )
    click.echo(f"Decide: counterground label {pool} --task review --order ranked --annotator YOUR-NAME")


def _counts(report: CurateReport) -> Table:
    from rich.table import Table

    table = Table("reason", "signal", title="Why photos are flagged")
    for heading in ("flagged", "of"):
        table.add_column(heading, justify="right")
    above = None
    for reason, signal, photos, flagged in report.counts.iter_rows():
        if reason != above:
            table.add_section()
        table.add_row("" if reason == above else reason, signal, f"{flagged:,}", f"{photos:,}")
        above = reason
    return table


def _queue(report: CurateReport, top: int) -> Table:
    from rich.table import Table

    from counterground.text import one_line

    table = Table("photo", "why", title="The most doubtful photos", show_lines=True)
    for column in table.columns:
        column.overflow = "fold"
    for row in report.queue.head(top).iter_rows(named=True):
        if row["score"] > 0:
            table.add_row(one_line(row["path"]), "\n".join(map(one_line, row["explanations"])))
    return table
