"""The command group ``data``: the commands that make a benchmark from photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from counterground.cli.help import Command, Group
from counterground.cli.help import settings as context
from counterground.cli.options import model_option, out_option, refuse_given, settings_option
from counterground.cli.show import print_notes, print_table
from counterground.construction.settings import (
    CollectOptions,
    CurateSettings,
    ExportSettings,
    ImportOptions,
    LabelSettings,
    ServerSettings,
)
from counterground.errors import CounterGroundError
from counterground.settings import MaskSettings
from counterground.text import counted, one_line


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
        from counterground.construction.collection import WantedClass, plan_collection, read_classes
        from counterground.construction.collection import collect as run_collection

    classes = [*(read_classes(source) if source else []), *map(WantedClass, names)]
    report = (plan_collection if dry_run else run_collection)(pool, classes, settings)
    if dry_run:
        figures = {name: name for name in ("wanted", "available", "present")} | {"to\nfetch": "added"}
    else:
        figures = {name: name for name in ("wanted", "present", "added", "failed", "missing")}
    heads = (*figures, "at most\nMB" if dry_run else "MB")
    rows = [
        (
            one.class_name,
            one.taxa[0] + (f" + {len(one.taxa) - 1} more" if one.taxa[1:] else ""),
            *(f"{getattr(one, count):,}" for count in figures.values()),
            f"{one.bytes / 1e6:,.1f}",
        )
        for one in report.classes
    ]
    title = "Dry run: photos that would be fetched" if dry_run else "Photos from iNaturalist"
    print_table(("class", "taxon", *heads), rows, numeric=heads, title=title)
    added, size = (sum(getattr(one, name) for one in report.classes) for name in ("added", "bytes"))
    megabytes = f"{size / 1e6:,.1f} MB"
    if dry_run:
        click.echo(f"{counted(added, 'photo')}, at most about {megabytes}. Nothing was fetched.")
    else:
        click.echo(f"{counted(added, 'photo')} added, {megabytes}.")
    print_notes(report.notes)
    if dry_run:
        return
    click.echo(f"Pool: {pool}")
    if not report.complete:
        raise CounterGroundError(
            "Some photos are still missing, and more are available: run the same command again later."
        )


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

    report = import_photos(out, source, settings)
    for name, number in report.by_class.items():
        click.echo(f"{number:7,}  {one_line(name)}")
    print_notes(report.notes)
    for one in report.rejected[:5]:
        click.echo(f"Rejected: {one_line(one.item)}: {one_line(one.reason)}.")
    more = ("background", report.backgrounds), ("mask", report.masks)
    extra = "".join(f", {counted(number, what)}" for what, number in more if number)
    click.echo(
        f"{counted(report.added, 'photo')} added, {report.present:,} already present, "
        f"{len(report.rejected):,} rejected{extra}. Pool: {out}"
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
    click.echo(f"{one_line(summary.name)}: {summary.sentence()}")
    for table in summary.tables():
        print_table(table.columns, table.rows, numeric=table.columns[table.heads :], title=table.title)
    for sentence in summary.warnings:
        click.echo(f"Warning: {sentence}")
    if out:
        click.echo(f"Report: {write_pool_report(summary, out)}")


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
    metavar="counteranimal|croissant|huggingface|inspect|parquet|webdataset",
    help="Output format; repeatable. Several formats get a folder each in --out.",
)
@out_option("Output folder: new, empty, or an earlier export.")
@settings_option(ExportSettings)
def export(source: str, formats: tuple[str, ...], out: Path, settings: ExportSettings) -> None:
    """Export a benchmark or a pool in formats that others can read, with a data card and all credits.

    Photos whose licence is unknown or forbids sharing are left out and listed in left_out.csv.
    """
    from counterground.construction.exports import export as run_export

    report = run_export(source, out, formats, settings)
    print_notes(report.notes)
    if len(report.left_out):
        click.echo(
            "Photos that were left out are listed in left_out.csv. If they are your own, use "
            "--licence-for-unknown CODE."
        )
    click.echo(f"{counted(report.photos, 'photo')} exported.")
    for form, folder in report.folders.items():
        click.echo(f"{form}: {folder}")


@click.command(
    cls=Command,
    examples="""
        counterground data curate my-pool
        counterground data curate my-pool -m efficientnet-lite0 -X hash-radius=4
    """,
)
@click.argument("pool", type=click.Path(path_type=Path))
@model_option(
    "model", "Also check labels, ambiguity, clarity and near duplicates with this CLIP model or classifier."
)
@click.option(
    "--top", default=10, show_default=True, type=click.IntRange(min=0), help="Number of photos to list."
)
@settings_option(CurateSettings)
def curate(pool: Path, model: str | None, top: int, settings: CurateSettings) -> None:
    """Rank the photos of POOL by how doubtful they are, with reasons. Nothing is discarded: people decide.

    Feature noise (unreadable, tiny, blurred, badly exposed, flat, nearly empty) and duplicates (same file,
    close perceptual hash) need no model. Without --label-space, a CLIP given as --model ranks each class
    among ImageNet's names and the pool's own, a classifier among its outputs.
    """
    import polars as pl

    from counterground.construction.curation import curate as run_curation

    if model is None:
        refuse_given("label_space", "device", because="is for a model: add --model, or leave it out")
    report = run_curation(pool, settings, model=model)
    counts = [
        (reason, signal, f"{flagged:,}", f"{photos:,}")
        for reason, signal, photos, flagged in report.counts.iter_rows()
    ]
    columns = ("reason", "signal", "flagged", "of")
    print_table(columns, counts, numeric=columns[2:], title="Why photos are flagged", grouped=True)
    doubtful = report.queue.filter(pl.col("score") > 0).head(top)
    if len(doubtful):
        rows = [
            (one_line(path), "\n".join(map(one_line, reasons)))
            for path, reasons in doubtful.select("path", "explanations").iter_rows()
        ]
        print_table(("photo", "why"), rows, title="The most doubtful photos", grouped=True)
    print_notes(report.notes)
    earlier = report.photos - report.measured
    measured = f"; {report.measured:,} measured now, {earlier:,} earlier" if earlier else ""
    click.echo(f"{report.flagged:,} of {counted(report.photos, 'photo')} flagged for review{measured}.")
    click.echo(f"Next: counterground data label {pool} --task review --order ranked --annotator YOUR-NAME")


@click.command(
    cls=Command,
    examples="""
        counterground data label my-pool --annotator ann --task review
        counterground data label my-pool --annotator ann --annotator ben --second 0.2
        counterground data label my-masks --annotator ann
    """,
)
@click.argument("folder", metavar="POOL|MASKS", type=click.Path(path_type=Path))
@click.option(
    "--open/--no-open",
    "open_browser",
    default=True,
    help="Open the first link in a browser.",
)
@settings_option(LabelSettings)
def label(folder: Path, *, open_browser: bool, settings: LabelSettings) -> None:
    """Review photos of a pool and label their backgrounds in a browser, with one keypress per photo.

    In a folder of masks (masks.json), accept, reject or redraw them; --task, --second, --order and -X labels
    are for pools.

    Each annotator gets a link for a browser on this machine. Decisions are on disk as soon as the page says
    so. Those that could not be sent wait in the browser.
    """
    from counterground.construction.annotate import label_pool, review_masks
    from counterground.masks import is_masks_folder

    if is_masks_folder(folder):
        of_pools = ("task", "second", "order")
        refuse_given(*of_pools, because="is for a pool, and this is a folder of masks: leave it out")
        server = ServerSettings(annotators=settings.annotators, port=settings.port, open_browser=open_browser)
        session = review_masks(folder, server, say=click.echo)
    else:
        session = label_pool(folder, replace(settings, open_browser=open_browser), say=click.echo)
    made = session.decisions
    each = ", ".join(f"{name} {count:,}" for name, count in made.items())
    click.echo(f"\nStopped. {counted(sum(made.values()), 'decision')} ({each}). {session.written}")


@click.command(
    cls=Command,
    examples="""
        counterground data masks my-photos --from my-masks --out masks
        counterground data masks my-photos --from annotations.json --out masks
        counterground data masks my-photos --from grabcut --boxes boxes.json --out masks
        counterground data masks my-photos --from rembg:u2net \\
          --accept-licence apache-2.0 --out masks
    """,
)
@click.argument("data")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="SOURCE",
    help="Source of the masks: manifest (masks that the benchmark names), alpha (the photos' alpha channel), "
    "a folder of PNGs named like the photos, a COCO JSON file (polygons, RLE, panoptic), boxes, grabcut "
    "(offline, rough), rembg:NAME, or hf:NAME.",
)
@out_option("Output folder for the masks: new, empty, or from the same command.")
@settings_option(MaskSettings)
def masks(data: str, source: str, out: Path, settings: MaskSettings) -> None:
    """Read or make a mask of the object for each photo, check it, and say why some have none.

    DIR then has one PNG per photo, masks.csv and masks.json. Nothing is guessed: masks that are missing, of
    another size or beyond a limit are named and counted. Repeat an interrupted command to continue it.
    """
    from counterground.benchmarks import open_apart
    from counterground.masks import REASONS, make_masks

    opened = open_apart(data, out, show_progress=settings.show_progress)
    made = make_masks(opened, source, out, settings=settings)
    total = len(made.table)
    rows = [("usable", made.usable, "")]
    rows += [(reason, count, REASONS.get(reason, "")) for reason, count in made.reasons().items()]
    print_table(
        ["mask", "photos", "%", "meaning"],
        [[name, f"{count:,}", f"{count / total:.1%}", meaning] for name, count, meaning in rows],
        numeric=["photos", "%"],
    )
    print_notes(made.notes)
    click.echo(one_line(made.summary()))
    if made.rough:
        click.echo("These masks are rough: look at them before you rely on them.")
        click.echo(f"Next: counterground data label {made.folder} --annotator YOUR-NAME")
    click.echo(f"Masks: {made.folder}")


@click.group(cls=Group, context_settings=context())
def data() -> None:
    """Make a benchmark from photos: collect, curate, label and export them, and make masks."""


data.add_under("Photos into a pool", collect, import_)
data.add_under("Decisions on them", curate, label, masks)
data.add_under("What a pool holds, and what leaves it", pool, export)
