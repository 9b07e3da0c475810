"""The command group ``data``: the commands that make a benchmark from photos; see README.md of ``cli``."""

import click

from counterground.cli.help import Group, settings
from counterground.construction.cli._collect import collect
from counterground.construction.cli._curate import curate
from counterground.construction.cli._export import export
from counterground.construction.cli._import import import_
from counterground.construction.cli._label import label
from counterground.construction.cli._masks import masks
from counterground.construction.cli._pool import pool

__all__ = ["data"]


@click.group(cls=Group, context_settings=settings())
def data() -> None:
    """Make a benchmark from photos: collect, curate, label and export them, and make masks."""


data.add_under("Photos into a pool", collect, import_)
data.add_under("Decisions on them", curate, label, masks)
data.add_under("What a pool holds, and what leaves it", pool, export)
