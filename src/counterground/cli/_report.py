"""``counterground report``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli._options import out_option


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--discovery",
    type=click.Path(path_type=Path),
    help="A benchmark written by discover: the report shows how its pairs were chosen.",
)
@out_option("The HTML file that is written.")
def report(runs: tuple[Path, ...], discovery: Path | None, out: Path) -> None:
    """Write one self-contained HTML file about one or more RUN folders."""
    from counterground.build import read_discovery
    from counterground.errors import UsageError
    from counterground.inference import open_run
    from counterground.report import write_report

    found = read_discovery(discovery) if discovery else None
    if discovery and found is None:
        raise UsageError(f"{discovery} was not written by discover (discovery.json is missing).")
    click.echo(f"Report: {write_report([open_run(run) for run in runs], out, discovery=found)}")
