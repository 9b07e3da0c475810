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
    help="A benchmark written by discover: the report shows how its pairs were chosen, and its photos.",
)
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="BENCHMARK",
    help="Where the photos of the runs are: a folder, a .parquet manifest or a pool. Not needed for built-in "
    "benchmarks and that of --discovery.",
)
@click.option(
    "--photos/--no-photos",
    default=True,
    show_default=True,
    help="Include small copies of photos in the page.",
)
@click.option(
    "--photo-budget",
    default=15.0,
    show_default=True,
    metavar="MB",
    type=click.FloatRange(min=0, min_open=True),
    help="Megabytes that photos may add to the page.",
)
@out_option("HTML file to write.")
def report(
    runs: tuple[Path, ...],
    out: Path,
    *,
    discovery: Path | None,
    benchmarks: tuple[str, ...],
    photos: bool,
    photo_budget: float,
) -> None:
    """Write one self-contained HTML file about one or more RUN folders."""
    from counterground.benchmarks import open_benchmark
    from counterground.construction.discover import read_discovery
    from counterground.errors import UsageError
    from counterground.report import write_report
    from counterground.results import open_run

    if benchmarks and not photos:
        raise UsageError("--benchmark says where photos are and --no-photos leaves them out: use only one.")
    found = read_discovery(discovery) if discovery else None
    if discovery and found is None:
        raise UsageError(f"{discovery} was not written by discover: discovery.json is missing.")
    path = write_report(
        [open_run(run) for run in runs],
        out,
        discovery=found,
        benchmarks=[open_benchmark(name) for name in benchmarks],
        photos=photos,
        photo_budget=photo_budget,
    )
    click.echo(f"Report: {path}")
