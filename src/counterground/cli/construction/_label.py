"""``counterground label``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("pool", type=click.Path(path_type=Path))
@click.option("--annotator", "annotators", multiple=True, required=True, metavar="NAME", help="Who labels.")
@click.option(
    "--task",
    default="background",
    show_default=True,
    type=click.Choice(["review", "background"]),
    help="What the first page is about; both can be reached from it.",
)
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0, the default, takes a free one.")
@click.option(
    "--second",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Share of the photos that two annotators decide on.",
)
@click.option(
    "--order",
    default="blind",
    show_default=True,
    type=click.Choice(["blind", "ranked"]),
    help="ranked: reviews begin with what `curate` flagged, and show why: they are then not blind.",
)
@click.option(
    "--suggest",
    metavar="MODEL",
    help="Outline the background a CLIP finds; it biases annotators, so it is recorded with each decision.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Labels of backgrounds, one a line, in place of the pool's.",
)
@click.option("--open/--no-open", "open_browser", default=True, help="Open the first link in a browser.")
def label(pool: Path, annotators: tuple[str, ...], **options: Any) -> None:
    """Review photos of a pool and label their backgrounds in a browser, with one key a photo.

    Each annotator gets a link that opens once. Decisions are on the disk as soon as the page says so, and
    what could not be sent waits in the browser.

    \b
    counterground label my-pool --annotator ann --task review
    counterground label my-pool --annotator ann --annotator ben --second 0.2
    """
    from counterground.construction.annotate import LabelSettings, label_pool

    stopped = label_pool(pool, LabelSettings(annotators, **options), say=click.echo)
    each = ", ".join(f"{name} {count:,}" for name, count in stopped.decisions.items())
    total = sum(stopped.decisions.values())
    click.echo(
        f"\nStopped. {total:,} decision{'' if total == 1 else 's'} ({each}). Snapshot: {stopped.snapshot}"
    )
