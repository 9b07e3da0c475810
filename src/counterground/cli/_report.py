"""``counterground report``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli._options import out_option


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@out_option("The HTML file that is written.")
def report(runs: tuple[Path, ...], out: Path) -> None:
    """Write one self-contained HTML file about one or more RUN folders."""
    from counterground.inference import open_run
    from counterground.report import write_report

    click.echo(f"Report: {write_report([open_run(run) for run in runs], out)}")
