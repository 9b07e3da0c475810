"""``counterground swap``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import (
    cluster_options,
    generative_options,
    masks_options,
    model_option,
    out_option,
    overwrite_option,
    photos_option,
    running_options,
)


def _listed(_ctx: click.Context, _option: click.Parameter, given: str) -> list[str]:
    return [part.strip() for part in given.split(",") if part.strip()]


@click.command(
    cls=Command,
    examples="""
        counterground swap my-photos -m efficientnet-lite0 --masks my-masks \\
          --examples 8 -o runs/swap
        counterground swap my-photos -m efficientnet-lite0 --masks annotations.json \\
          --kinds original,same,other,grey -o runs/swap
    """,
)
@click.argument("benchmark")
@model_option(
    "model_specs",
    "Model to evaluate; repeatable. 'NAME=MODEL' sets its name in tables and charts.",
    required=True,
    multiple=True,
)
@out_option("Output folder for the run, as in evaluate.")
@overwrite_option("run")
@masks_options
@click.option(
    "--kinds",
    default="original,pasted,refilled,same,other,grey,background_only,mixed_same,mixed_rand,placed_common,"
    "placed_counter",
    callback=_listed,
    metavar="KIND,KIND,...",
    help="Composites to make: original, pasted, refilled, same, other, grey, background_only, mixed_same, "
    "mixed_rand, placed_common, placed_counter.  [default: all]",
)
@click.option(
    "--labels",
    default="",
    callback=_listed,
    metavar="LABEL,LABEL,...",
    help="Backgrounds to put objects on.  [default: all with enough photos]",
)
@click.option(
    "--backgrounds-per-label",
    default=4,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Background photos of each label per object, and draws per object for the other random kinds.",
)
@click.option(
    "--foregrounds",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use the objects of N photos, spread over classes and groups.  [default: all, or two photos of each "
    "cut-out]",
)
@click.option(
    "--placement",
    default="hold",
    show_default=True,
    type=click.Choice(["hold", "draw"]),
    help="Hold each object's size and position, or draw them from photos of its class.",
)
@click.option("--seed", default=0, show_default=True, help="Seed for all draws.")
@click.option(
    "--examples",
    default=0,
    metavar="N",
    type=click.IntRange(min=0),
    help="Write the composites of N objects to examples.png, to check their seams.",
)
@running_options()
@generative_options
@cluster_options
@photos_option("Include small copies of the photos in report.html.")
def swap(benchmark: str, model_specs: tuple[str, ...], out: Path, **options: Any) -> None:
    """Put the objects of BENCHMARK on other backgrounds and evaluate models on the composites.

    The same object on each background shows what the background causes. BENCHMARK needs masks of its objects
    and labels of its backgrounds; with groups (folders common-<background> and counter-<background>, or
    discover), the drop is decomposed. The run is like one of evaluate: scores, compare and report read it.
    """
    from counterground.api import swap as run_swap
    from counterground.cli.show import show_swap

    show_swap(run_swap(benchmark, model_specs, out=out, show_progress=not is_quiet(), **options))
    if options["examples"]:
        click.echo(f"Examples: {out / 'examples.png'}")
    click.echo(f"Report: {out / 'report.html'}")
