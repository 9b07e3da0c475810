"""``counterground data pool``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli.help import Command
from counterground.cli.options import out_option, photo_budget_option, photos_option


@click.command(
    cls=Command,
    examples="""
        counterground data pool my-pool
        counterground data pool my-pool --discovery pairs -o pool.html
    """,
)
@click.argument("pool", type=click.Path(path_type=Path))
@click.option(
    "--discovery",
    type=click.Path(path_type=Path),
    help="Benchmark written by discover; the file shows its referee's accuracy per class and background.",
)
@out_option("Also write one self-contained HTML file.", file=True, required=False)
@photos_option("Include small copies of a few photos per class in the HTML file.")
@photo_budget_option("HTML file")
def pool(pool: Path, discovery: Path | None, out: Path | None, *, photos: bool, photo_budget: float) -> None:
    """Show the photos of POOL, the decisions by annotator, and how much annotators agree."""
    from counterground.cli.show import print_text
    from counterground.construction.pool import is_pool, open_pool
    from counterground.construction.pool_page import PoolView, summarise_pool, write_pool_report
    from counterground.discovery import read_discovery
    from counterground.errors import UsageError

    found = read_discovery(discovery) if discovery else None
    if discovery and found is None:
        raise UsageError(f"{discovery} was not written by discover: discovery.json is missing.")
    made_from = found.benchmark.root if found and found.benchmark else pool
    if is_pool(made_from) and made_from.resolve() != pool.resolve():
        raise UsageError(f"{discovery} was made from another pool, {made_from}: give a discovery of {pool}.")
    cells, referee = (found.cells, found.referee) if found else (None, "")
    with open_pool(pool) as opened:
        summary = summarise_pool(opened)
        print_text(PoolView(summary))
        if out:
            page = write_pool_report(
                summary,
                out,
                photos=opened if photos else None,
                photo_budget=photo_budget,
                cells=cells,
                referee=referee,
            )
            click.echo(f"Report: {page}")
