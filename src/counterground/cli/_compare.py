"""``counterground compare``."""

from __future__ import annotations

from pathlib import Path

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option


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
@click.option("--published", is_flag=True, help="Include the paper's models and their 2025 reproduction.")
@click.option(
    "--contrast",
    metavar="NAME|TEXT",
    help="Contrast to compare, instead of the benchmark's own: a name, or LEFT - RIGHT within COLUMN.",
)
@click.option("--against", metavar="MODEL", help="Test every model against this one only.")
@click.option(
    "--baseline",
    default="imagenet",
    show_default=True,
    type=click.Choice(["imagenet", "clip", "lvlm", "other"]),
    help="Model family that the effective-robustness line is fitted to.",
)
@click.option(
    "--scale",
    default="probit",
    show_default=True,
    type=click.Choice(["probit", "logit"]),
    help="Transform of the accuracies before fitting the line.",
)
@click.option(
    "--setting",
    type=click.Choice(["one-prompt", "openai-prompts", "1-vs-20", "unbalanced"]),
    help="Tables of the paper to compare with.  [default: one-prompt; 1-vs-20 for runs with 20 names]",
)
@click.option("--wide", is_flag=True, help="Show all columns, however wide the terminal is.")
@format_option(
    ["table", "csv", "json", "markdown", "latex"],
    "Output format; csv has one row per model, in fractions, with warnings on stderr; json has everything.",
)
def compare(
    runs: tuple[Path, ...],
    *,
    published: bool,
    contrast: str | None,
    against: str | None,
    baseline: str,
    scale: str,
    setting: str | None,
    wide: bool,
    style: str,
) -> None:
    """Compare the models of RUN folders with each other and with the paper's.

    Differences are tested on the same photos only (paired, Holm-corrected); warnings name comparisons
    that are not fair. --published compares with the paper's 43 models, even without a RUN, and --setting
    chooses which of its tables they come from.
    """
    from counterground.cli.show import print_aside, print_text
    from counterground.comparison import format_comparison, full_comparison
    from counterground.errors import UsageError

    if not runs and not published and setting is None:
        raise UsageError(
            "There is nothing to compare: give RUN folders, or --published for the paper's models."
        )
    found = full_comparison(
        runs,
        published=published or setting is not None,
        against=against,
        baseline=baseline,
        scale=scale,  # type: ignore[arg-type]
        setting=setting,  # type: ignore[arg-type]
        contrast=contrast,
    )
    print_text(format_comparison(found, style), wide=wide)
    if style == "csv":  # which has no place for them
        print_aside(found.warnings, "Warning")
