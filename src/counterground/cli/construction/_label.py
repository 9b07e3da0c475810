"""``counterground label``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli._help import Command


@click.command(
    cls=Command,
    examples="""
        counterground label my-pool --annotator ann --task review
        counterground label my-pool --annotator ann --annotator ben --second 0.2
        counterground label my-pool --annotator ann --host 0.0.0.0
    """,
)
@click.argument("pool", type=click.Path(path_type=Path))
@click.option(
    "--annotator",
    "annotators",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Who labels; repeat for several people.",
)
@click.option(
    "--task",
    default="background",
    show_default=True,
    type=click.Choice(["review", "background"]),
    help="The task of the first page; the other one is a link away.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="0.0.0.0 lets phones and colleagues on this network connect, without encryption.",
)
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0, the default, picks a free one.")
@click.option(
    "--second",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Fraction of the photos that get a second annotator.",
)
@click.option(
    "--order",
    default="blind",
    show_default=True,
    type=click.Choice(["blind", "ranked"]),
    help="ranked: start with the photos that `curate` flagged and show why, so reviews are not blind.",
)
@click.option(
    "--suggest",
    metavar="MODEL",
    help="Highlight the background that a CLIP predicts; it biases annotators, so decisions record it.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Background labels, one per line, in place of the pool's.",
)
@click.option(
    "--open/--no-open",
    "open_browser",
    default=True,
    help="Open the first link in a browser on this machine; never with another --host.",
)
def label(pool: Path, annotators: tuple[str, ...], **options: Any) -> None:
    """Review photos of a pool and label their backgrounds in a browser, with one keypress per photo.

    Each annotator gets a link that works once, and with --host also its QR code. Decisions are on disk as
    soon as the page says so, and those that could not be sent wait in the browser.
    """
    from counterground.construction.annotate import LabelSettings, label_pool
    from counterground.text import counted

    stopped = label_pool(pool, LabelSettings(annotators, **options), say=click.echo)
    each = ", ".join(f"{name} {count:,}" for name, count in stopped.decisions.items())
    total = sum(stopped.decisions.values())
    click.echo(f"\nStopped. {counted(total, 'decision')} ({each}). Snapshot: {stopped.snapshot}")
