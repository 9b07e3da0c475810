"""A pool on the terminal: everything is there, fits, and can be read without colour."""

import io
import re

from rich.console import Console

from counterground.construction.pool_page import PoolView, summarise_pool

# The cells that both renderers draw.
from counterground.construction.pool_page._heat import background_counts, discard_counts


def printed(view, width=80, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(view)
    return console.file.getvalue()


def test_numbers_in_the_terminal_are_those_of_the_heat_map(pool):
    summary = summarise_pool(pool)
    text = printed(PoolView(summary))
    for title, heat in (
        ("Photos by class and background", background_counts(summary)),
        ("Photos discarded, by class and reason", discard_counts(summary)),
    ):
        part = text[text.index(title) :]
        part = part[: part.index("Shades:")]
        rows = re.findall(rf"^\S.*?((?: +\d+){{{len(heat.columns)}}})$", part, re.MULTILINE)
        assert [row.split() for row in rows] == [[cell.text for cell in row] for row in heat.grid]
