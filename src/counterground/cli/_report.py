"""``counterground report``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli.help import Command
from counterground.cli.options import out_option, settings_option
from counterground.settings import ReportSettings


@click.command(
    cls=Command,
    examples="""
        counterground report runs/first -o report.html
        counterground report runs/a runs/b --benchmark my-photos -o report.html
        counterground report runs/pairs --discovery pairs -o report.html
        counterground report runs/first --contrast drop -o report.html
    """,
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@out_option("HTML file to write.", file=True)
@settings_option(ReportSettings)
def report(runs: tuple[Path, ...], out: Path, settings: ReportSettings) -> None:
    """Write one self-contained HTML file about one or more RUN folders.

    Together with runs of evaluate on the same photos, runs of swap and mitigate show how much of the drop is
    the background and what would make it smaller.
    """
    from counterground.api import report as write_report
    from counterground.cli.show import print_notes
    from counterground.errors import UsageError

    if settings.benchmarks and not settings.photos:
        raise UsageError("--benchmark says where photos are and --no-photos leaves them out: use only one.")
    absent: list[str] = []
    path = write_report(runs, out, settings=settings, warn=absent.append)
    print_notes(absent)
    click.echo(f"Report: {path}")
