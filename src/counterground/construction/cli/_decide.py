"""``counterground data curate``, ``label`` and ``masks``: decisions on photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from counterground.cli.help import Command
from counterground.cli.options import model_option, out_option, refuse_given, settings_option
from counterground.cli.show import print_notes, print_table
from counterground.construction.settings import CurateSettings, LabelSettings, ServerSettings
from counterground.settings import MaskSettings
from counterground.text import counted, one_line

if TYPE_CHECKING:
    from counterground.construction.curation import CurateReport
    from counterground.masks import Masks


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
    from counterground.construction.curation import curate as run_curation

    if model is None:
        refuse_given("label_space", "device", because="is for a model: add --model, or leave it out")
    report = run_curation(pool, settings, model=model)
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
    from counterground.construction.annotate import label_pool
    from counterground.masks import is_masks_folder

    if is_masks_folder(folder):
        from counterground.construction.annotate import review_masks

        of_pools = ("task", "second", "order")
        refuse_given(*of_pools, because="is for a pool, and this is a folder of masks: leave it out")
        server = ServerSettings(annotators=settings.annotators, port=settings.port, open_browser=open_browser)
        reviewed = review_masks(folder, server, say=click.echo)
        click.echo(f"\nStopped. {_made(reviewed.decisions)}. {reviewed.masks.summary()}")
        return
    stopped = label_pool(folder, replace(settings, open_browser=open_browser), say=click.echo)
    click.echo(f"\nStopped. {_made(stopped.decisions)}. Snapshot: {stopped.snapshot}")


def _made(decisions: Mapping[str, int]) -> str:
    each = ", ".join(f"{name} {count:,}" for name, count in decisions.items())
    return f"{counted(sum(decisions.values()), 'decision')} ({each})"


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
    from counterground.masks import make_masks

    opened = open_apart(data, out, show_progress=settings.show_progress)
    _show_masks(make_masks(opened, source, out, settings=settings))


def _show_masks(made: Masks) -> None:
    from counterground.masks import REASONS

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
