"""``counterground benchmarks``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli.help import Group, is_quiet
from counterground.cli.options import format_option


@click.group(
    cls=Group,
    invoke_without_command=True,
    examples="""
        counterground benchmarks
        counterground benchmarks get stamps
    """,
)
@format_option(["table", "json"])
@click.pass_context
def benchmarks(context: click.Context, style: str) -> None:
    """List the built-in benchmarks, or get one."""
    if context.invoked_subcommand is None:
        from counterground.benchmarks import list_benchmarks
        from counterground.cli.show import show_benchmarks

        listed = list_benchmarks(warn=lambda line: click.echo(f"Warning: {line}", err=True))
        show_benchmarks(listed, as_json=style == "json")
    elif style == "json":
        raise click.UsageError(f"{context.invoked_subcommand} writes no JSON: leave out the format.")


@benchmarks.command(
    examples="""
        counterground benchmarks get stamps
        counterground benchmarks get counteranimal --from archive.zip
        counterground benchmarks get 'waterbirds?split=val' --from FOLDER
    """,
)
@click.argument("name")
@click.option(
    "--from",
    "archive",
    type=click.Path(path_type=Path),
    help="Archive or folder that you already have.",
)
@click.option(
    "--packages",
    type=click.Path(path_type=Path),
    help="Folder with the .deb files of stamps, if there is no apt.",
)
def get(name: str, archive: Path | None, packages: Path | None) -> None:
    """Fetch, read or build a built-in benchmark, check it, and list differences from what was published."""
    from counterground.benchmarks import benchmark_folder, get_benchmark
    from counterground.cli.show import print_notes

    benchmark = get_benchmark(name, archive=archive, packages=packages, show_progress=not is_quiet())
    print_notes(benchmark.notes)
    classes = benchmark.photos["class_index"].n_unique()
    click.echo(f"{benchmark.name}: {len(benchmark.photos):,} photos of {classes} classes")
    click.echo(f"Benchmark: {benchmark_folder(name)}")
