"""``counterground compare``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option, settings_option
from counterground.settings import CompareSettings


@click.command(
    cls=Command,
    examples="""
        counterground compare runs/a runs/b
        counterground compare --published
        counterground compare runs/a runs/b --contrast drop
        counterground compare runs/a --published --against efficientnet-lite0
        counterground compare --setting openai-prompts
    """,
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@settings_option(CompareSettings)
@click.option("--wide", is_flag=True, help="Show all columns, however wide the terminal is.")
@format_option(
    help_text="Output format; csv has one row per model, in fractions, with warnings on stderr; json has "
    "everything."
)
def compare(runs: tuple[Path, ...], *, wide: bool, style: str, settings: CompareSettings) -> None:
    """Compare the models of RUN folders with each other and with the paper's.

    Differences are tested on the same photos only (paired, Holm-corrected); warnings name comparisons
    that are not fair. --published compares with the paper's 43 models, even without a RUN, and --setting
    chooses which of its tables they come from.
    """
    from counterground.api import compare as compare_runs
    from counterground.cli.show import print_view
    from counterground.errors import UsageError

    if not runs and not settings.published and settings.setting is None:
        raise UsageError(
            "There is nothing to compare: give RUN folders, or --published for the paper's models."
        )
    comparison = compare_runs(runs, settings=settings)
    print_view(comparison, style, wide=wide)
