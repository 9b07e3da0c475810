"""``counterground import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterground.errors import CounterGroundError
from counterground.text import one_line

if TYPE_CHECKING:
    from counterground.construction.ingest.imports import ImportReport


def _renames(_context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise click.BadParameter(f"{wrong[0]!r} is not OLD=NEW.")
    return dict(pair.split("=", 1) for pair in pairs)


@click.command("import")
@click.argument("pool", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--class-name", metavar="NAME", help="Class of all photos, where the source has none.")
@click.option(
    "--rename",
    multiple=True,
    metavar="OLD=NEW",
    callback=_renames,
    help="Another name for a class; repeatable.",
)
@click.option("--annotator", default="imported", show_default=True, help="On record for the backgrounds.")
@click.option("--url-column", default="url", show_default=True, help="Column of addresses.")
@click.option("--class-column", help="Column of classes. [default: class_name, or the only class label]")
@click.option("--background-column", help="Column of backgrounds. [default: background, where there is one]")
@click.option("--image-column", help="Column of images of a data set. [default: the only one]")
@click.option(
    "--jobs", default=4, show_default=True, type=click.IntRange(1, 64), help="Photos at the same time."
)
@click.option("--retry-failed", is_flag=True, help="Ask again for addresses that failed before.")
def import_(pool: Path, source: str, **options: Any) -> None:
    """Take photos into a pool: of a folder, a benchmark, a table of addresses or a data set.

    SOURCE is a folder (<class>/*.jpg, <class>/<background>/*.jpg, the CounterAnimal layout), a benchmark, a
    .csv or .parquet table with the columns url and class_name, or hf:NAME[@CONFIG][:SPLIT].

    \b
    counterground import my-pool photos/
    counterground import my-pool zebras/ --class-name zebra
    counterground import my-pool addresses.csv
    counterground import my-pool hf:my-data-set:train
    """
    from counterground.construction.ingest.imports import ImportOptions, import_photos

    report = import_photos(pool, source, ImportOptions(show_progress=True, **options))
    _show(report, pool)


def _show(report: ImportReport, pool: Path) -> None:
    for name, number in report.by_class.items():
        click.echo(f"{number:7,}  {one_line(name)}")
    for note in report.notes:
        click.echo(f"Note: {one_line(note)}")
    for one in [*report.missed, *report.masks_missed][:5]:
        click.echo(f"Not taken in: {one_line(one.item)}: {one_line(one.reason)}.")
    more = ("backgrounds", report.backgrounds), ("masks", report.masks), ("requests", report.requests)
    extra = "".join(f", {number:,} {what}" for what, number in more if number)
    click.echo(
        f"{report.new:,} photos are new, {report.known:,} were there, {len(report.missed):,} were not taken "
        f"in{extra}. Pool: {pool}"
    )
    if report.list_file is not None:
        click.echo(f"What was not taken in, and why: {report.list_file}")
    if not report.new and not report.known:
        raise CounterGroundError(f"No photo of the source could be taken in; {report.list_file} says why.")
