"""``counterground data import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import class_option, each_once
from counterground.cli.show import print_notes
from counterground.errors import CounterGroundError
from counterground.text import counted, one_line

if TYPE_CHECKING:
    from counterground.construction.imports import ImportReport


def _renames(_context: click.Context, _option: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise click.BadParameter(f"{wrong[0]!r} is not OLD=NEW.")
    return each_once((pair.partition("=")[::2] for pair in pairs), "--rename")


@click.command(
    "import",
    cls=Command,
    examples="""
        counterground data import my-pool photos
        counterground data import my-pool zebras -c zebra
        counterground data import my-pool urls.csv
        counterground data import my-pool hf:my-data-set:train
    """,
)
@click.argument("pool", type=click.Path(path_type=Path))
@click.argument("source")
@class_option("class_name", "Class of all photos, if the source has no classes.")
@click.option(
    "--rename",
    multiple=True,
    metavar="OLD=NEW",
    callback=_renames,
    help="Rename a class; repeatable.",
)
@click.option(
    "--annotator", default="imported", show_default=True, help="Annotator to record for the backgrounds."
)
@click.option("--url-column", default="url", show_default=True, help="Column with URLs.")
@click.option("--class-column", help="Column with classes.  [default: class_name, or the only class label]")
@click.option("--background-column", help="Column with backgrounds.  [default: background, if there is one]")
@click.option("--image-column", help="Column with images in a data set.  [default: the only one]")
@click.option(
    "--jobs", default=4, show_default=True, type=click.IntRange(1, 64), help="Parallel reads or downloads."
)
def import_(pool: Path, source: str, **options: Any) -> None:
    """Add photos to a pool from a folder, a benchmark, a table of files or URLs, or a data set.

    SOURCE is a folder (<class>/*.jpg, <class>/<background>/*.jpg, the CounterAnimal layout), a benchmark, a
    .csv, .tsv, .jsonl or .parquet table with the columns path (or url) and class_name, or
    hf:NAME[@CONFIG][:SPLIT].
    """
    from counterground.construction.imports import ImportOptions, import_photos

    report = import_photos(pool, source, ImportOptions(show_progress=not is_quiet(), **options))
    _show(report, pool)


def _show(report: ImportReport, pool: Path) -> None:
    for name, number in report.by_class.items():
        click.echo(f"{number:7,}  {one_line(name)}")
    print_notes(report.notes)
    for one in [*report.rejected, *report.masks_rejected][:5]:
        click.echo(f"Rejected: {one_line(one.item)}: {one_line(one.reason)}.")
    more = ("background", report.backgrounds), ("mask", report.masks)
    extra = "".join(f", {counted(number, what)}" for what, number in more if number)
    click.echo(
        f"{counted(report.added, 'photo')} added, {report.present:,} already present, "
        f"{len(report.rejected):,} rejected{extra}. Pool: {pool}"
    )
    if report.list_file is not None:
        click.echo(f"Rejected photos and the reasons: {report.list_file}")
    if not report.added and not report.present:
        raise CounterGroundError(f"No photo of the source could be added; {report.list_file} says why.")
