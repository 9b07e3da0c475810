"""``counterground pool``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli._help import Command
from counterground.cli._options import out_option


@click.command(
    cls=Command,
    examples="""
        counterground pool my-pool
        counterground pool my-pool --discovery pairs -o pool.html
    """,
)
@click.argument("pool", type=click.Path(path_type=Path))
@click.option(
    "--discovery",
    type=click.Path(path_type=Path),
    help="A benchmark written by discover: adds its referee's accuracy per class and background.",
)
@out_option("Also write it as one self-contained HTML file.", formerly=["--html"], file=True, required=False)
def pool(pool: Path, discovery: Path | None, out: Path | None) -> None:
    """Show the photos of POOL, the decisions by annotator, and how much annotators agree."""
    from counterground.cli._show import print_text
    from counterground.construction.discover import read_discovery
    from counterground.errors import UsageError
    from counterground.pool import open_pool
    from counterground.report import PoolView, summarise_pool, write_pool_report

    with open_pool(pool) as opened:
        summary = summarise_pool(opened)
    found = read_discovery(discovery) if discovery else None
    if discovery and found is None:
        raise UsageError(f"{discovery} was not written by discover: discovery.json is missing.")
    cells, referee = (found.cells, found.referee) if found else (None, "")
    print_text(PoolView(summary, cells, referee))
    if out:
        click.echo(f"Report: {write_pool_report(summary, out, cells=cells, referee=referee)}")
