"""``counterground discover``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli._help import Command, is_quiet
from counterground.cli._options import out_option, overwrite_option, running_options


@click.command(
    cls=Command,
    examples="""
        counterground discover stamps --referee efficientnet-lite0 -o pairs
        counterground discover my-pool --referee efficientnet-lite0 --min-photos 4 \\
          -o pairs
    """,
)
@click.argument("benchmark")
@click.option(
    "--referee", required=True, metavar="MODEL", help="The model whose accuracy chooses the backgrounds."
)
@out_option("Folder for the benchmark; photos are not copied.")
@overwrite_option("discovery")
@click.option(
    "--min-drop",
    default=5.0,
    show_default=True,
    help="Keep classes whose accuracy differs between backgrounds by more points than this.",
)
@click.option(
    "--min-photos",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="Photos that a background needs, in each half, to be considered.",
)
@click.option(
    "--split",
    default="half",
    show_default=True,
    type=click.Choice(["half", "none"]),
    help="half: choose pairs on one half of the photos and measure on the other half.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the split.")
@running_options(referee=True)
def discover(benchmark: str, referee: str, out: Path, **options: Any) -> None:
    """Find each class's best (common) and worst (counter) background for a referee model.

    Photos need backgrounds: folders <class>/<background>/, a column of the manifest, or the labels of a pool.
    With --split half, pairs are chosen on one half of the photos and the benchmark holds the other half.
    """
    from counterground.api import discover as run_discovery
    from counterground.cli._show import show_discovery

    discovery = run_discovery(benchmark, referee, out=out, show_progress=not is_quiet(), **options)
    show_discovery(discovery)
    click.echo(f"Benchmark: {out}")
