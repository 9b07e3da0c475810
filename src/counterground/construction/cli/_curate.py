"""``counterground data curate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import model_option, refuse_given, running_options
from counterground.cli.show import print_notes, print_table
from counterground.text import counted, one_line

if TYPE_CHECKING:
    from counterground.construction.curation import CurateReport


@click.command(
    cls=Command,
    examples="""
        counterground data curate my-pool
        counterground data curate my-pool -m efficientnet-lite0 --threshold hash_radius=4
    """,
)
@click.argument("pool", type=click.Path(path_type=Path))
@model_option(
    "model", "Also check labels, ambiguity, clarity and near duplicates with this CLIP model or classifier."
)
@click.option(
    "--threshold",
    "limits",
    multiple=True,
    metavar="NAME=VALUE",
    help="Override a threshold, such as hash_radius=4; repeatable. A wrong name lists them all.",
)
@click.option(
    "--top", default=10, show_default=True, type=click.IntRange(min=0), help="Number of photos to list."
)
@running_options()
def curate(pool: Path, model: str | None, limits: tuple[str, ...], top: int, **running: Any) -> None:
    """Rank the photos of POOL by how doubtful they are, with reasons. Nothing is discarded: people decide.

    Feature noise (unreadable, tiny, blurred, badly exposed, flat, nearly empty) and duplicates (same file,
    close perceptual hash) need no model. Without --label-space, a CLIP given as --model ranks each class
    among ImageNet's names and the pool's own, a classifier among its outputs.
    """
    from counterground.construction.curation import CurateSettings
    from counterground.construction.curation import curate as run_curation
    from counterground.inference import Settings

    if model is None:
        about_models = (name for name in running if name != "offline")
        refuse_given(*about_models, because="is for a model: add --model, or leave it out")
    settings = CurateSettings.with_limits(limits)
    report = run_curation(
        pool, settings, model=model, running=Settings(**running), show_progress=not is_quiet()
    )
    _show_counts(report)
    if report.flagged and top:
        _show_queue(report, top)
    print_notes(report.notes)
    earlier = report.photos - report.measured
    measured = f"; {report.measured:,} measured now, {earlier:,} earlier" if earlier else ""
    click.echo(f"{report.flagged:,} of {counted(report.photos, 'photo')} flagged for review{measured}.")
    click.echo(f"Next: counterground data label {pool} --task review --order ranked --annotator YOUR-NAME")


def _show_counts(report: CurateReport) -> None:
    rows = [
        (reason, signal, f"{flagged:,}", f"{photos:,}")
        for reason, signal, photos, flagged in report.counts.iter_rows()
    ]
    columns = ("reason", "signal", "flagged", "of")
    print_table(columns, rows, numeric=columns[2:], title="Why photos are flagged", grouped=True)


def _show_queue(report: CurateReport, top: int) -> None:
    rows = [
        (one_line(row["path"]), "\n".join(map(one_line, row["explanations"])))
        for row in report.queue.head(min(top, len(report.queue))).iter_rows(named=True)
        if row["score"] > 0
    ]
    print_table(("photo", "why"), rows, title="The most doubtful photos", grouped=True)
