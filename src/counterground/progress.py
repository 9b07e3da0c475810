"""One line on standard error that shows the progress of long work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

Unit = Literal["bytes", "files", "photos", "steps"]


class ProgressBar:
    """A bar that is open; see `progress_bar`."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task

    def advance(self, amount: int = 1) -> None:
        """Count ``amount`` more as done."""
        self._bar.advance(self._task, amount)

    def update(self, done: int, total: int | None, description: str | None = None) -> None:
        """Set how much is done of what total (None or 0 if unknown), and a description; clears the note."""
        self._bar.update(self._task, completed=done, total=total or None, description=description, note="")

    def note(self, text: str) -> None:
        """Add a few words, such as a loss or the reason for a pause."""
        self._bar.update(self._task, note=text)


@contextmanager
def progress_bar(
    description: str,
    unit: Unit = "photos",
    *,
    total: int | None = None,
    done: int = 0,
    shown: bool,
    keep: bool = False,
) -> Iterator[ProgressBar]:
    """Yield a bar with a count and the time left, visible if ``shown`` and on a terminal.

    Args:
        description: what is being done.
        unit: what is counted.
        total: how much there is, None if unknown.
        done: how much of it is done already; the rate does not count it.
        shown: whether anybody wants to see it.
        keep: whether it stays on the screen when done, with the rate; files then get its last state too.
    """
    amount: tuple[ProgressColumn, ...] = (MofNCompleteColumn(), _Rate(unit) if keep else TextColumn(unit))
    if unit == "bytes":
        amount = (DownloadColumn(), TransferSpeedColumn())
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *amount,
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    console = Console(stderr=True)
    # In a file an error must stay the only line, and Rich would write an empty one even there.
    hidden = not shown or not (keep or console.is_interactive)
    with Progress(*columns, console=console, transient=not keep, disable=hidden) as bar:
        yield ProgressBar(bar, bar.add_task(description, total=total, completed=done, note=""))


class _Rate(ProgressColumn):
    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} {self._unit}/s", style="progress.data.speed")
