"""A bar of photos done, on standard error; gone when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def photo_progress(description: str, *, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a bar if ``shown`` and on a terminal; yield what takes (photos done, photos in all)."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("photos"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    # In a file an error must stay the only line, and Rich would write an empty one even there.
    hidden = not shown or not console.is_interactive
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
