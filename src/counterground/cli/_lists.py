"""``counterground models``, ``benchmarks`` and ``cache``: what there is."""

from __future__ import annotations

import re
from pathlib import Path

import click

from counterground.cli.help import Command, Group, is_quiet
from counterground.cli.options import format_option

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def _warn(line: str) -> None:
    click.echo(f"Warning: {line}", err=True)


@click.command(
    cls=Command,
    examples="""
        counterground models 'open_clip:ViT-B-32*'
        counterground models 'efficientnet*' --format json
    """,
)
@click.argument("pattern", required=False)
@format_option(["table", "json"])
def models(pattern: str | None, style: str) -> None:
    """List models that can be evaluated, with parameters and training data.

    PATTERN narrows the list; quote it, so that the shell leaves `*` alone.
    """
    from counterground.cli.show import show_models
    from counterground.models import list_models

    show_models(list_models(pattern, warn=_warn), as_json=style == "json")


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

        listed = list_benchmarks(warn=_warn)
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


def _seconds(_context: click.Context, _option: click.Parameter, age: str | None) -> float | None:
    found = re.fullmatch(r"(\d+)([mhdw])", age or "")
    if age and not found:
        raise click.BadParameter(f"{age!r} is not a number with one of m, h, d, w, as 30d")
    return int(found[1]) * _SECONDS[found[2]] if found else None


@click.group(
    cls=Group,
    examples="""
        counterground cache info
        counterground cache prune --older-than 30d --dry-run
    """,
)
def cache() -> None:
    """Show what the cache holds, or remove what has not been used for a long time."""


@cache.command(
    examples="""
        counterground cache info
        counterground cache info --format json
    """,
)
@format_option(["table", "json"])
def info(style: str) -> None:
    """List what the cache holds, with sizes, numbers of photos and times of last use."""
    from counterground.cli.show import show_cache
    from counterground.files import cache_dir
    from counterground.inference import cache_entries

    show_cache(cache_dir(), cache_entries(), as_json=style == "json")


@cache.command(
    examples="""
        counterground cache prune --older-than 30d
        counterground cache prune --older-than 8w --dry-run
        counterground cache prune --what features --what losses
    """,
)
@click.option(
    "--older-than",
    metavar="AGE",
    callback=_seconds,
    help="Remove only what has not been used for this long, such as 12h, 30d or 8w.",
)
@click.option(
    "--what",
    multiple=True,
    metavar="PART",
    help="Part of the cache, as `cache info` lists it; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
def prune(older_than: float | None, what: tuple[str, ...], dry_run: bool) -> None:
    """Remove what can be recomputed, such as features, losses and text heads.

    The other parts (generated answers, which may have cost money, and photos) are removed only if --what
    names them. Commands that are running continue: they recompute what they lose.
    """
    from rich.filesize import decimal

    from counterground.cli.show import show_cache_rows
    from counterground.inference import prune_cache
    from counterground.text import counted

    if older_than is None and not what:
        raise click.UsageError("Say what to remove: --older-than or --what.")
    removed = prune_cache(what, older_than=older_than, dry_run=dry_run)
    if removed:
        show_cache_rows(removed)
    files, freed = sum(entry.files for entry in removed), sum(entry.size for entry in removed)
    done = "Would remove" if dry_run else "Removed"
    click.echo(f"{done} {counted(files, 'file')}, {decimal(freed)}.")
