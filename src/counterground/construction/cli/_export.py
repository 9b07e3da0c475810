"""``counterground data export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import out_option, overwrite_option
from counterground.cli.show import print_notes
from counterground.text import counted

if TYPE_CHECKING:
    from counterground.construction.exports import ExportReport


@click.command(
    cls=Command,
    examples="""
        counterground data export my-pool --format huggingface --format croissant \\
          --licence-for-unknown cc0 -o shared
        counterground data export pairs --format counteranimal --private -o mine
    """,
)
@click.argument("source")
@click.option(
    "--format",
    "formats",
    multiple=True,
    required=True,
    metavar="counteranimal|croissant|fiftyone|huggingface|parquet|webdataset",
    help="Output format; repeatable. Several formats get a folder each in --out.",
)
@out_option("Output folder: new, empty, or an earlier export.")
@overwrite_option("export")
@click.option(
    "--private", is_flag=True, help="Export all photos for your own use, marked as not for redistribution."
)
@click.option(
    "--all-licences",
    "--all-licenses",
    is_flag=True,
    help="Also share photos whose licence is unknown or forbids sharing, on your own responsibility.",
)
@click.option(
    "--licence-for-unknown",
    "--license-for-unknown",
    metavar="CODE",
    help="Licence (cc0, cc-by, ...) for photos without one, if they are your own.",
)
@click.option(
    "--attribution-for-unknown",
    metavar="TEXT",
    help='Credit line for photos without one, such as "© Ada Lovelace".',
)
@click.option("--title", default="", help="Title of the collection.  [default: the benchmark's name]")
@click.option(
    "--description", default="", metavar="TEXT", help="Description of the collection, in a few sentences."
)
@click.option(
    "--creator", "creators", multiple=True, metavar="NAME", help="Creator of the collection; repeatable."
)
@click.option("--url", default="", help="Web page of the collection.")
@click.option("--cite", "citation", default="", metavar="TEXT", help="How to cite the collection.")
@click.option(
    "--collection-licence",
    "--collection-license",
    "licence",
    default="",
    metavar="CODE",
    help="Licence of the selection and labels.",
)
@click.option(
    "--collection-version",
    "version",
    default="1.0.0",
    show_default=True,
    metavar="X.Y.Z",
    help="Version of the collection.",
)
def export(
    *,
    source: str,
    formats: tuple[str, ...],
    out: Path,
    overwrite: bool,
    private: bool,
    all_licences: bool,
    licence_for_unknown: str | None,
    attribution_for_unknown: str | None,
    **facts: Any,
) -> None:
    """Export a benchmark or a pool in formats that others can read, with a data card and all credits.

    Photos whose licence is unknown or forbids sharing are left out and listed in left_out.csv.
    """
    from counterground.construction.exports import CardFacts
    from counterground.construction.exports import export as run_export

    report = run_export(
        source,
        out=out,
        overwrite=overwrite,
        formats=formats,
        shared=not private,
        all_licences=all_licences,
        licence_for_unknown=licence_for_unknown,
        attribution_for_unknown=attribution_for_unknown,
        card=CardFacts(**facts),
        show_progress=not is_quiet(),
    )
    _show(report)


def _show(report: ExportReport) -> None:
    print_notes(report.notes)
    if len(report.left_out):
        click.echo(
            "Photos that were left out are listed in left_out.csv. If they are your own, use "
            "--licence-for-unknown CODE."
        )
    click.echo(f"{counted(report.photos, 'photo')} exported.")
    for form, folder in report.folders.items():
        click.echo(f"{form}: {folder}")
