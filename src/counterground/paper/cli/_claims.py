"""``counterground paper compare`` and ``counterground paper reproduce``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option

_FORMATS = ["table", "csv", "json", "markdown", "latex"]


@click.command(
    cls=Command,
    examples="""
        counterground paper compare
        counterground paper compare --format csv
        counterground paper compare runs/a runs/b
    """,
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--scale",
    default="probit",
    show_default=True,
    type=click.Choice(["probit", "logit"]),
    help="Transform of the accuracies before fitting the line.",
)
@format_option(_FORMATS, "Output format; csv has the claim alone, in fractions; json has everything.")
def compare(runs: tuple[Path, ...], *, scale: str, style: str) -> None:
    """Show whether the paper's claim holds in each of its settings, and what size and data change.

    The claim is that CLIPs are below the line of ImageNet models. With RUN folders, their models beside the
    paper's come first.
    """
    from counterground.cli.show import print_text
    from counterground.comparison import full_comparison
    from counterground.paper.claims import format_claims

    print_text(format_claims(full_comparison(runs, scale=scale), style))  # type: ignore[arg-type]


@click.command(
    cls=Command,
    examples="""
        counterground paper reproduce
        counterground paper reproduce --format csv
    """,
)
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@format_option(_FORMATS, "Output format; csv and json have the rows alone, in fractions.")
def reproduce(runs: tuple[Path, ...], *, style: str) -> None:
    """Show the paper's rows next to our values: printed, ours, difference, notes.

    Without RUN, the values are those of the 2025 reproduction.
    """
    from counterground.cli.show import print_aside, print_text
    from counterground.paper.claims import format_reproduction, left_out
    from counterground.paper.claims import reproduce as reproduce_rows
    from counterground.results import open_runs

    opened = open_runs(runs)
    rows, warnings = reproduce_rows(opened), left_out(opened)
    print_text(format_reproduction(rows, style, warnings))
    if style in ("csv", "json"):
        print_aside(warnings, "Warning")
