"""``counterground data label``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from counterground.cli.help import Command
from counterground.cli.options import refuse_given


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
    "--annotator",
    "annotators",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Annotator's name; repeat for several people.",
)
@click.option(
    "--task",
    default="background",
    show_default=True,
    type=click.Choice(["review", "background"]),
    help="Task of the first page; the page links to the other task.",
)
@click.option(
    "--port",
    default=0,
    type=click.IntRange(0, 65535),
    help="Port to listen on.  [default: 0, which picks a free one]",
)
@click.option(
    "--second",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Fraction of photos that get a second annotator.",
)
@click.option(
    "--order",
    default="blind",
    show_default=True,
    type=click.Choice(["blind", "ranked"]),
    help="ranked: start with the photos that `curate` flagged, and show why, so reviews are not blind.",
)
@click.option(
    "--suggest",
    metavar="MODEL",
    help="Highlight the background that this CLIP predicts; it biases annotators, so decisions record it.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Background labels, one per line, instead of the pool's.",
)
@click.option(
    "--open/--no-open",
    "open_browser",
    default=True,
    help="Open the first link in a browser.",
)
def label(folder: Path, annotators: tuple[str, ...], **options: Any) -> None:
    """Review photos of a pool and label their backgrounds in a browser, with one keypress per photo.

    In a folder of masks (masks.json), accept, reject or redraw them; --task, --second, --order, --suggest and
    --labels are for pools.

    Each annotator gets a link for a browser on this machine. Decisions are on disk as soon as the page says
    so. Those that could not be sent wait in the browser.
    """
    from counterground.construction.annotate import LabelSettings, label_pool
    from counterground.masks import is_masks_folder

    if is_masks_folder(folder):
        of_pools = ("task", "second", "order", "suggest", "labels")
        refuse_given(*of_pools, because="is for a pool, and this is a folder of masks: leave it out")
        _review(folder, annotators, **{name: options[name] for name in ("port", "open_browser")})
        return
    stopped = label_pool(folder, LabelSettings(annotators, **options), say=click.echo)
    click.echo(f"\nStopped. {_made(stopped.decisions)}. Snapshot: {stopped.snapshot}")


def _review(folder: Path, annotators: Sequence[str], **options: Any) -> None:
    from counterground.construction.annotate import ServerSettings, review_masks

    stopped = review_masks(folder, ServerSettings(annotators, **options), say=click.echo)
    click.echo(f"\nStopped. {_made(stopped.decisions)}. {stopped.masks.summary()}")


def _made(decisions: Mapping[str, int]) -> str:
    from counterground.text import counted

    each = ", ".join(f"{name} {count:,}" for name, count in decisions.items())
    return f"{counted(sum(decisions.values()), 'decision')} ({each})"
