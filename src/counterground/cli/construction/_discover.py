"""``counterground discover``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli._options import model_options, out_option


@click.command()
@click.argument("benchmark")
@click.option(
    "--referee", required=True, metavar="MODEL", help="The model whose accuracy chooses the backgrounds."
)
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
@model_options
@out_option("Folder for the benchmark; photos are not copied.")
def discover(benchmark: str, referee: str, out: Path, **options: Any) -> None:
    """Find each class's best (common) and worst (counter) background for a referee model.

    \b
    counterground discover stamps --referee efficientnet-lite0 --out pairs
    """
    from counterground.api import discover as run_discovery
    from counterground.cli._show import show_discovery

    discovery = run_discovery(benchmark, referee, out=out, show_progress=True, **options)
    show_discovery(discovery)
    click.echo(f"Benchmark: {out}")
