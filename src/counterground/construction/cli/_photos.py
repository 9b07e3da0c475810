"""``counterground data collect``, ``import``, ``pool`` and ``export``: photos, in and out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from counterground.cli.help import Command
from counterground.cli.options import out_option, settings_option
from counterground.cli.show import print_notes, print_table
from counterground.construction.settings import CollectOptions, ExportSettings, ImportOptions
from counterground.errors import CounterGroundError
from counterground.text import counted, decimal, one_line

if TYPE_CHECKING:
    from counterground.construction.collection import (
        CollectionPlan,
        CollectReport,
        UnclearClasses,
        WantedClass,
    )
    from counterground.construction.imports import ImportReport
    from counterground.construction.pool_page import PoolSummary


@click.command(
    cls=Command,
    examples="""
        counterground data collect my-pool -c zebra -c "polar bear" --per-class 300
        counterground data collect my-pool --classes counteranimal --dry-run
    """,
)
@click.argument("pool", type=click.Path(path_type=Path))
@click.option("-c", "--class", "names", multiple=True, metavar="CLASS", help="Class to collect; repeatable.")
@click.option(
    "--classes",
    "source",
    metavar="FILE|imagenet-animals|counteranimal",
    help="File with one class per line (optional after a tab: its scientific name or taxon id), the animals "
    "of ImageNet-1K, or the paper's 45 classes.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show how many photos and bytes would be fetched; fetch nothing."
)
@settings_option(CollectOptions)
def collect(
    pool: Path, *, names: tuple[str, ...], source: str | None, dry_run: bool, settings: CollectOptions
) -> None:
    """Fetch the newest photos of each class from iNaturalist into POOL.

    The same command continues an interrupted collection.
    """
    from counterground.errors import needs_extra

    with needs_extra("data"):
        from counterground.construction.collection import UnclearClasses, plan_collection, read_classes
        from counterground.construction.collection import collect as run_collection

    classes: list[str | WantedClass] = [*(read_classes(source) if source else []), *names]
    try:
        if dry_run:
            _show_plan(plan_collection(pool, classes, settings))
        else:
            _show_collected(run_collection(pool, classes, settings), pool)
    except UnclearClasses as unclear:
        _show_choices(unclear)
        raise


def _show_choices(unclear: UnclearClasses) -> None:
    """Print the taxa that an ambiguous name may mean."""
    columns = ("id", "name", "rank", "common name", "observations")
    for name, choices in unclear.choices.items():
        rows = [
            (
                str(taxon.id),
                taxon.name or "",
                taxon.rank or "",
                taxon.preferred_common_name or "",
                f"{taxon.observations_count or 0:,}",
            )
            for taxon in choices
        ]
        if rows:
            title = f"Taxa that {one_line(name)!r} may mean"
            print_table(columns, rows, numeric=("id", "observations"), title=title)


def _show_collected(report: CollectReport, pool: Path) -> None:
    counts = ("wanted", "added", "present", "failed", "missing")
    rows = [
        (
            one.class_name,
            _short(one.taxa),
            *(f"{getattr(one, count):,}" for count in counts),
            _megabytes(one.bytes),
        )
        for one in report.classes
    ]
    numeric = (*counts, "MB")
    print_table(("class", "taxon", *numeric), rows, numeric=numeric, title="Photos from iNaturalist")
    added, received = (sum(getattr(one, name) for one in report.classes) for name in ("added", "bytes"))
    click.echo(f"{counted(added, 'photo')} added, {_megabytes(received)} MB.")
    print_notes(report.notes)
    click.echo(f"Pool: {pool}")
    if not report.complete:
        raise CounterGroundError(
            "Some photos are still missing, and more are available: run the same command again later."
        )


def _show_plan(plan: CollectionPlan) -> None:
    rows = []
    for one in plan.classes:
        counts = (one.wanted, one.available, one.present, one.to_fetch)
        rows.append(
            (one.class_name, _short(one.taxa), *(f"{count:,}" for count in counts), _megabytes(one.bytes))
        )
    numeric = ("wanted", "available", "present", "to\nfetch", "at most\nMB")
    title = "Dry run: photos that would be fetched"
    print_table(("class", "taxon", *numeric), rows, numeric=numeric, title=title)
    total = sum(one.to_fetch for one in plan.classes)
    size = _megabytes(sum(one.bytes for one in plan.classes))
    click.echo(f"{counted(total, 'photo')}, at most about {size} MB. Nothing was fetched.")
    print_notes(plan.notes)


def _short(taxa: Sequence[str]) -> str:
    """Return the first taxon, and how many more there are."""
    first, *others = taxa
    return f"{first} + {len(others)} more" if others else first


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


@click.command(
    "import",
    cls=Command,
    examples="""
        counterground data import photos -o my-pool
        counterground data import zebras --class zebra -o my-pool
        counterground data import urls.csv -o my-pool
        counterground data import 'hf:my-data-set?split=train&label=animal' -o my-pool
    """,
)
@click.argument("source")
@out_option("The pool, new or existing.")
@settings_option(ImportOptions)
def import_(source: str, out: Path, settings: ImportOptions) -> None:
    """Add photos to a pool from a folder, a benchmark, a table of files or URLs, or a data set.

    SOURCE is a folder (<class>/*.jpg, <class>/<background>/*.jpg, the CounterAnimal layout), a benchmark, a
    .csv, .tsv, .jsonl or .parquet table with the columns path (or url) and class_name, or
    hf:NAME?split=SPLIT. Columns with other names follow a question mark:
    'photos.csv?image=file&label=species&background=scene'.
    """
    from counterground.construction.imports import import_photos

    _show_imported(import_photos(out, source, settings), out)


def _show_imported(report: ImportReport, pool: Path) -> None:
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


@click.command(
    cls=Command,
    examples="""
        counterground data pool my-pool
        counterground data pool my-pool -o pool.html
    """,
)
@click.argument("pool", type=click.Path(path_type=Path))
@out_option("Also write one self-contained HTML file.", file=True, required=False)
def pool(pool: Path, out: Path | None) -> None:
    """Show the photos of POOL, the decisions by annotator, and how much annotators agree."""
    from counterground.construction.pool import open_pool
    from counterground.construction.pool_page import summarise_pool, write_pool_report

    with open_pool(pool) as opened:
        summary = summarise_pool(opened)
    _show_pool(summary)
    if out:
        click.echo(f"Report: {write_pool_report(summary, out)}")


def _show_pool(summary: PoolSummary) -> None:
    from counterground.construction.pool_page import agreement_words, whole_pool

    click.echo(f"{one_line(summary.name)}: {summary.sentence()}")
    counts = ("photos", "kept", "discarded", "disagreed", "undecided", "unlabelled")
    rows = [
        (row["class_name"], *(f"{row[name]:,}" for name in counts))
        for row in [
            *summary.classes.to_dicts(),
            {"class_name": "all"} | {n: summary.total(n) for n in counts},
        ]
    ]
    print_table(("class", *counts), rows, numeric=counts, title="Photos per class")
    if made := summary.annotators.to_dicts():
        numbers = ("decisions", "photos", "postponed", "undone")
        rows = [
            (row["annotator"], row["task"], *(f"{row[n]:,}" for n in numbers), decimal(row["seconds"], 1))
            for row in made
        ]
        columns = ("annotator", "task", *numbers, "median s")
        print_table(columns, rows, numeric=columns[2:], title="Decisions and pace per annotator")
    if whole := whole_pool(summary.agreement):
        figures = ("photos", "agree %", "kappa", "alpha", "95 %")
        rows = [(row["task"], *agreement_words(row)) for row in whole]
        print_table(("task", *figures), rows, numeric=figures, title="Agreement of annotators")
    for sentence in summary.warnings:
        click.echo(f"Warning: {sentence}")


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
    metavar="counteranimal|croissant|huggingface|parquet|webdataset",
    help="Output format; repeatable. Several formats get a folder each in --out.",
)
@out_option("Output folder: new, empty, or an earlier export.")
@settings_option(ExportSettings)
def export(source: str, formats: tuple[str, ...], out: Path, settings: ExportSettings) -> None:
    """Export a benchmark or a pool in formats that others can read, with a data card and all credits.

    Photos whose licence is unknown or forbids sharing are left out and listed in left_out.csv.
    """
    from counterground.construction.exports import CardFacts
    from counterground.construction.exports import export as run_export

    facts = ("title", "description", "creators", "url", "citation", "licence", "version")
    report = run_export(
        source,
        out=out,
        overwrite=settings.overwrite,
        formats=formats,
        shared=not settings.private,
        all_licences=settings.all_licences,
        licence_for_unknown=settings.licence_for_unknown,
        attribution_for_unknown=settings.attribution_for_unknown,
        card=CardFacts(**{name: getattr(settings, name) for name in facts}),
        show_progress=settings.show_progress,
    )
    print_notes(report.notes)
    if len(report.left_out):
        click.echo(
            "Photos that were left out are listed in left_out.csv. If they are your own, use "
            "--licence-for-unknown CODE."
        )
    click.echo(f"{counted(report.photos, 'photo')} exported.")
    for form, folder in report.folders.items():
        click.echo(f"{form}: {folder}")
