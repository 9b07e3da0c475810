"""``counterground discover``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from counterground.cli._options import model_options, out_option


@click.command()
@click.argument("benchmark")
@click.option("--referee", required=True, metavar="MODEL", help="The model that decides.")
@click.option(
    "--min-drop", default=5.0, show_default=True, help="Points by which a class's accuracy must vary."
)
@click.option(
    "--min-photos",
    default=2,
    show_default=True,
    type=click.IntRange(min=1),
    help="Photos a background needs, in each half, to be considered.",
)
@click.option(
    "--split",
    default="half",
    show_default=True,
    type=click.Choice(["half", "none"]),
    help="half: choose pairs on one half of the photos and keep the other half for measuring.",
)
@click.option("--seed", default=0, show_default=True, help="Decides the halves.")
@model_options
@out_option("Folder of the benchmark that is written; photos are not copied.")
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
