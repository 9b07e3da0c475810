"""The command group ``paper``: what the paper claims, shows and did, again; see README.md of ``cli``."""

import click

from counterground.cli.help import Group, settings
from counterground.paper.cli._claims import compare, reproduce
from counterground.paper.cli._figures import figures
from counterground.paper.cli._study import study

__all__ = ["paper"]


@click.group(cls=Group, context_settings=settings())
def paper() -> None:
    """Repeat the paper: its claims, rows, figures and studies, from its numbers and your runs."""


paper.add_under("Its numbers", compare, reproduce, figures)
paper.add_under("Its experiments", study)
