"""``counterground models``."""

from __future__ import annotations

import click


@click.command()
@click.argument("pattern", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON list instead of a table.")
def models(pattern: str | None, as_json: bool) -> None:
    """List models that can be evaluated, with parameters and training data.

    \b
    counterground models 'open_clip:ViT-B-32*'
    """
    from counterground.cli._show import show_models
    from counterground.models import list_models

    def warn(line: str) -> None:
        click.echo(f"Warning: {line}", err=True)

    show_models(list_models(pattern, warn=warn), as_json=as_json)
