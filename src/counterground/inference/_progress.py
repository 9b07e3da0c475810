"""A progress bar with photos per second and time left, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} photos/s", style="progress.data.speed")


@contextmanager
def photo_progress(description: str, total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar if ``shown`` and yield what counts photos as done."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeLeft(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task(description, total=total)
        yield lambda photos: bar.advance(task, photos)


def tell_calls(spec: str, calls: int, kept: int, price: float | None) -> None:
    """Say on standard error how many calls an endpoint will get, and what they cost where that is known."""
    cost = "" if price is None else f", which cost {calls * price:,.2f} at {price:g} a call"
    Console(stderr=True, highlight=False, markup=False, emoji=False).print(
        f"{spec}: {calls:,} calls to make{cost}; {kept:,} answers are kept from before."
    )
