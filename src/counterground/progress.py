"""A progress bar of a download, an unpacking or a build, on standard error; gone when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def progress_bar(
    description: str, unit: Literal["bytes", "files", "photos"], *, shown: bool
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar if ``shown`` and on a terminal; yield what takes (done, in all; 0 where unknown)."""
    amount: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), TextColumn(unit))
    if unit == "bytes":
        amount = (DownloadColumn(), TransferSpeedColumn())
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), *amount, TimeRemainingColumn())
    console = Console(stderr=True)
    # In a file an error must stay the only line, and Rich would write an empty one even there.
    hidden = not shown or not console.is_interactive
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
