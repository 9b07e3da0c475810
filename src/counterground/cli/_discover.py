"""``counterground discover``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import out_option, overwrite_option, running_options


@click.command(
    cls=Command,
    examples="""
        counterground discover stamps --referee efficientnet-lite0 -o pairs
        counterground discover my-pool --referee efficientnet-lite0 --split swap \\
          -o pairs
    """,
)
@click.argument("benchmark")
@click.option(
    "--referee",
    "referees",
    required=True,
    multiple=True,
    metavar="MODEL",
    help="Model whose accuracy chooses the backgrounds; repeat to use the mean of several. 'NAME=MODEL' "
    "sets its name.",
)
@out_option("Output folder for the benchmark; photos are not copied.")
@overwrite_option("discovery")
@click.option(
    "--min-drop",
    default=5.0,
    show_default=True,
    help="Keep classes whose accuracy differs between backgrounds by more than this many points.",
)
@click.option(
    "--min-photos",
    type=click.IntRange(min=1),
    metavar="N",
    help="Minimum photos per background, in each half.  [default: half of what the median background of a "
    "class has, at least 2]",
)
@click.option(
    "--split",
    default="half",
    show_default=True,
    type=click.Choice(["half", "swap", "none"]),
    help="half: choose pairs on one half of the photos, measure on the other. swap: keep both halves, each "
    "in the pairs chosen on the other. none: choose and measure on the same photos.",
)
@click.option(
    "--choose",
    default="best",
    show_default=True,
    type=click.Choice(["best", "shrunken"]),
    help="best: by accuracy. shrunken: by accuracy shrunk towards each background's effect on all classes "
    "(empirical Bayes), which finds more if a background affects all classes alike.",
)
@click.option("--seed", default=0, show_default=True, help="Seed for the split and the permutations.")
@click.option(
    "--write-anyway",
    is_flag=True,
    help="Write the benchmark even if the pairs do not exceed chance.",
)
@running_options(referee=True)
def discover(benchmark: str, referees: tuple[str, ...], out: Path, **options: Any) -> None:
    """Find each class's best (common) and worst (counter) background for a referee model.

    Photos need backgrounds: folders <class>/<background>/, a column of the manifest, or the labels of a pool.
    With --split half, pairs are chosen on one half of the photos and the benchmark holds the other half.
    If their drop is no larger than chance explains, one line says so and no benchmark is written.
    """
    from counterground.api import discover as run_discovery
    from counterground.cli.show import show_discovery

    discovery = run_discovery(benchmark, referees, out=out, show_progress=not is_quiet(), **options)
    show_discovery(discovery)
    if discovery.benchmark is not None:
        click.echo(f"Benchmark: {out}")
