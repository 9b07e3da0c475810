"""``counterground plan``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option, settings_option
from counterground.settings import PlanSettings


@click.command(
    cls=Command,
    examples="""
        counterground plan --drop 10% --classes 20 --photos 15
        counterground plan runs/first --drop 5% --power 90%
    """,
)
@click.argument("run", required=False, type=click.Path(path_type=Path))
@settings_option(PlanSettings)
@format_option(help_text="Output format; csv and json hold fractions.")
def plan(run: Path | None, *, style: str, settings: PlanSettings) -> None:
    """Say how many photos are needed to detect a drop, and what the photos at hand can detect.

    With RUN (a pilot on some photos), the variance of photos and clusters is estimated for each of its
    models; without RUN, it is assumed. A drop is detected if its 95 % interval lies above 0.
    For a run on composites (swap), the background effect takes the place of the drop.
    """
    from counterground.api import plan as make_plan
    from counterground.cli.show import print_view

    print_view(make_plan(run, settings=settings), style)
