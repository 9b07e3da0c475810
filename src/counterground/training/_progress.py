"""A progress bar of training steps with the smoothed loss, on standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SMOOTHING = 0.95


class StepProgress:
    """Counts steps; shows nothing without a title."""

    def __init__(self, title: str | None, total: int, *, done: int = 0) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=Console(stderr=True), disable=title is None)
        self._task = self._bar.add_task(title or "", total=total, completed=done, loss="-")
        self._smoothed: float | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, loss: float) -> None:
        """Count one more step and show the running mean of the loss."""
        before = loss if self._smoothed is None else self._smoothed
        self._smoothed = _SMOOTHING * before + (1 - _SMOOTHING) * loss
        self._bar.update(self._task, advance=1, loss=f"{self._smoothed:.3f}")
