"""The command group ``data``: the commands that make a benchmark from photos; see README.md of ``cli``."""

import click

from counterground.cli.help import Group, settings
from counterground.construction.cli._decide import curate, label, masks
from counterground.construction.cli._photos import collect, export, import_, pool

__all__ = ["data"]


@click.group(cls=Group, context_settings=settings())
def data() -> None:
    """Make a benchmark from photos: collect, curate, label and export them, and make masks."""


data.add_under("Photos into a pool", collect, import_)
data.add_under("Decisions on them", curate, label, masks)
data.add_under("What a pool holds, and what leaves it", pool, export)
