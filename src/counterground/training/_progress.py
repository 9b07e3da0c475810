"""A progress bar of training steps with the smoothed loss, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SMOOTHING = 0.95


@contextmanager
def step_progress(title: str | None, total: int, *, done: int = 0) -> Iterator[Callable[[float], None]]:
    """Show a bar if there is a title; yield what counts a step and takes its loss."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=title is None) as bar:
        task = bar.add_task(title or "", total=total, completed=done, loss="-")
        smoothed: float | None = None

        def advance(loss: float) -> None:
            nonlocal smoothed
            smoothed = loss if smoothed is None else _SMOOTHING * smoothed + (1 - _SMOOTHING) * loss
            bar.update(task, advance=1, loss=f"{smoothed:.3f}")

        yield advance
