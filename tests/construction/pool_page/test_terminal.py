"""A pool on the terminal: the counts of its classes, within the width."""

import io

from rich.console import Console

from counterground.construction.pool_page import PoolView, summarise_pool


def test_the_terminal_has_the_counts_of_each_class(pool):
    summary = summarise_pool(pool)
    console = Console(file=io.StringIO(), width=80)
    console.print(PoolView(summary))
    lines = [line.split()[-6:] for line in console.file.getvalue().splitlines()]
    columns = ("photos", "kept", "discarded", "disagreed", "undecided", "unlabelled")
    for row in summary.classes.iter_rows(named=True):
        assert [str(row[name]) for name in columns] in lines
