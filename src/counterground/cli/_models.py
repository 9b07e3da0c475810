"""``counterground models``."""

from __future__ import annotations

import click

from counterground.cli.help import Command
from counterground.cli.options import format_option


@click.command(
    cls=Command,
    examples="""
        counterground models 'open_clip:ViT-B-32*'
        counterground models 'efficientnet*' --json
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

    def warn(line: str) -> None:
        click.echo(f"Warning: {line}", err=True)

    show_models(list_models(pattern, warn=warn), as_json=style == "json")
