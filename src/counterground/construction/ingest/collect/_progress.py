"""What the person at the screen sees meanwhile: one line on standard error, gone when it is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressLine:
    """A bar, and why it stands still where it does."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, why="")

    def show(self, what: str, done: int, total: int) -> None:
        """Say what is done of how much."""
        self._bar.update(self._task, description=what, completed=done, total=total, why="")

    def wait(self, why: str) -> None:
        """Say why there is a pause."""
        self._bar.update(self._task, why=why)


@contextmanager
def progress_line(*, shown: bool) -> Iterator[ProgressLine]:
    """Yield a line that is seen if ``shown`` and on a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[why]}", markup=False),
    )
    hidden = not shown or not console.is_interactive
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        yield ProgressLine(bar)
