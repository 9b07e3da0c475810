"""``counterground plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option, refuse_given

_ASSUMED = ("classes", "photos", "cluster_size", "accuracy", "icc")


@click.command(
    cls=Command,
    examples="""
        counterground plan --drop 10 --classes 20 --photos 15
        counterground plan runs/first --drop 5 --power 0.9
    """,
)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--drop", required=True, type=float, metavar="POINTS", help="Drop to detect, above 0.")
@click.option(
    "--power", default=0.8, show_default=True, type=float, help="Probability of detecting it, 0 to 1."
)
@click.option(
    "--clusters",
    type=int,
    metavar="N",
    help="Number of observers or background photographs.  [default: grows with the photos]",
)
@click.option(
    "--against",
    metavar="MODEL",
    help="Plan for the difference in drop between each other model in RUN and this one.",
)
@click.option("--classes", default=20, show_default=True, type=int, help="Without RUN: number of classes.")
@click.option(
    "--photos",
    default=20,
    show_default=True,
    type=int,
    help="Without RUN: photos per class in each group.",
)
@click.option(
    "--cluster-size",
    default=1.0,
    show_default=True,
    type=float,
    help="Without RUN: photos per cluster (one observer or background photograph).",
)
@click.option(
    "--accuracy",
    default=80.0,
    show_default=True,
    type=float,
    help="Without RUN: accuracy on common photos, in percent.",
)
@click.option(
    "--icc",
    default=0.1,
    show_default=True,
    type=float,
    help="Without RUN: correlation between two photos of a cluster in being classified correctly.",
)
@click.option(
    "--seconds-per-photo",
    default=5.0,
    show_default=True,
    type=float,
    help="Seconds a person takes to label a photo.",
)
@click.option(
    "--calls-per-photo",
    type=float,
    help="Calls per photo to a model behind an HTTP API; taken from RUN if it has such a model.",
)
@click.option("--price", type=float, help="Price of one call, in any currency.")
@format_option(["table", "csv", "json", "markdown", "latex"], "Output format; csv and json hold fractions.")
def plan(run: Path | None, *, style: str, **given: Any) -> None:
    """Say how many photos are needed to detect a drop, and what the photos at hand can detect.

    With RUN (a pilot on some photos), the variance of photos and clusters is estimated for each of its
    models; without RUN, it is assumed. A drop is detected if its 95 % interval lies above 0.
    For a run on composites (swap), the background effect takes the place of the drop.
    """
    from counterground.api import plan as make_plan
    from counterground.cli.show import print_aside, print_text

    if run is not None:
        refuse_given(
            *_ASSUMED, because=f"is for planning without a RUN, and {run} has its own value: leave out one"
        )
    made = make_plan(run, **given)
    print_text(made if style == "table" else made.write(style))
    if style == "csv":
        print_aside(made.notes, "Note")
