"""``counterground report``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli.help import Command
from counterground.cli.options import (
    contrast_option,
    out_option,
    photo_budget_option,
    photos_option,
    refuse_given,
)


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
@click.option(
    "--discovery",
    type=click.Path(path_type=Path),
    help="Benchmark written by discover, on which a run was made; the report shows its photos and how its "
    "pairs were chosen.",
)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="BENCHMARK",
    help="Location of the runs' photos: a folder, a manifest or a pool; repeatable. Not needed for built-in "
    "benchmarks, or with --discovery.",
)
@contrast_option("Contrast for the page")
@photos_option("Include small copies of the photos in the page.")
@photo_budget_option("page")
@out_option("HTML file to write.", file=True)
def report(
    runs: tuple[Path, ...],
    out: Path,
    *,
    discovery: Path | None,
    benchmarks: tuple[str, ...],
    contrast: str | None,
    photos: bool,
    photo_budget: float,
) -> None:
    """Write one self-contained HTML file about one or more RUN folders.

    Together with runs of evaluate on the same photos, runs of swap and mitigate show how much of the drop is
    the background and what would make it smaller.
    """
    from counterground.api import write_report
    from counterground.cli.show import print_notes
    from counterground.errors import UsageError

    if benchmarks and not photos:
        raise UsageError("--benchmark says where photos are and --no-photos leaves them out: use only one.")
    if not photos:
        refuse_given("photo_budget", because="limits photos, and --no-photos leaves them out: use only one")
    absent: list[str] = []
    path = write_report(
        runs,
        out,
        discovery=discovery,
        benchmarks=benchmarks,
        photos=photos,
        photo_budget=photo_budget,
        contrast=contrast,
        warn=absent.append,
    )
    print_notes(absent)
    click.echo(f"Report: {path}")
