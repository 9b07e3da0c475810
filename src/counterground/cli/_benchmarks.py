"""``counterground benchmarks``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(invoke_without_command=True)
@click.pass_context
def benchmarks(context: click.Context) -> None:
    """List the built-in benchmarks, or get one."""
    if context.invoked_subcommand is None:
        from counterground.benchmarks import list_benchmarks
        from counterground.cli._show import show_benchmarks

        show_benchmarks(list_benchmarks(warn=lambda line: click.echo(f"Warning: {line}", err=True)))


@benchmarks.command()
@click.argument("name")
@click.option(
    "--from", "archive", type=click.Path(path_type=Path), help="An archive (or folder) you already have."
)
@click.option(
    "--packages",
    type=click.Path(path_type=Path),
    help="Folder with the .deb files of stamps, where there is no apt.",
)
def get(name: str, archive: Path | None, packages: Path | None) -> None:
    """Fetch or build a built-in benchmark, check it, and list differences from the paper."""
    from counterground.benchmarks import benchmark_folder, get_benchmark

    benchmark = get_benchmark(name, archive=archive, packages=packages, show_progress=True)
    for note in benchmark.notes:
        click.echo(f"Note: {note}")
    click.echo(f"{benchmark.name}: {len(benchmark.photos):,} photos of {len(benchmark.label_space)} classes")
    click.echo(f"Benchmark: {benchmark_folder(name)}")
