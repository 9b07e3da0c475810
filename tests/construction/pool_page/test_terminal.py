"""A pool on the terminal: everything is there, fits, and can be read without colour."""

import io

from rich.console import Console

from counterground.construction.pool_page import PoolView, summarise_pool

# The cells that both renderers draw.
from counterground.construction.pool_page._page import background_counts, discard_counts


def printed(view, width=200, **options):
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
        part = " ".join(text[text.index(title) :].split())
        for row, name in enumerate(heat.rows):
            if words := heat.in_words(row):
                assert f"{name} {words}" in part
