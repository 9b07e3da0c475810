"""A grid of trainings: each leaves a file of figures, so that a killed grid resumes where it stopped."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import check_writable, warn_damaged, write_text
from counterground.paper.training import DivergedError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.sharedctypes import Synchronized

_NAMED = 3  # trainings that a sentence names

Cell = TypeVar("Cell")
Train = Callable[[Cell, Path], Mapping[str, Any]]
"""Train one cell and return its figures; a checkpoint may be kept at the path until then."""


def run_grid(
    files: Mapping[Cell, Path],
    train: Train[Cell],
    *,
    jobs: int,
    gpus: Sequence[str] = (),
    show_progress: bool = False,
) -> dict[Cell, str]:
    """Train the cells whose file of figures is missing or damaged, and write the file of each.

    A training that diverges leaves no file, and the others go on.

    Every training runs on one thread, so that its figures do not depend on ``jobs``. With one job, trainings
    run in this process, otherwise in ``jobs`` processes, which take the GPUs in turns. These end when this
    process ends, and at once if it is interrupted or a training fails.

    Args:
        files: where the figures of each cell are kept, as JSON.
        train: function that trains a cell; with several jobs it must be picklable.
        jobs: trainings at once.
        gpus: names by which CUDA knows the GPUs; none for other devices.
        show_progress: whether to show a bar on standard error.

    Returns:
        For each cell that diverged, the name of its file and the reason.

    Raises:
        UsageError: ``jobs`` is below 1.
        CounterGroundError: the folder cannot be written, a training failed otherwise, or all diverged.
    """
    if jobs < 1:
        raise UsageError(f"There are {jobs} jobs: at least 1 is needed.")
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    for folder in {file.parent for file in files.values()}:
        check_writable(folder)
    missing = {cell: file for cell, file in files.items() if not _is_whole(file)}
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show_progress) as bar:
        task = bar.add_task("Trainings", total=len(files), completed=len(files) - len(missing))
        failed: dict[Cell, str] = {}
        for cell, reason in _train_all(missing, train, jobs, gpus):
            if reason:
                failed[cell] = f"{files[cell].stem}: {reason}"
            bar.advance(task)
    if failed and len(failed) == len(files):
        raise DivergedError(f"All trainings diverged, first {next(iter(failed.values()))}")
    return failed


def describe_failed(trainings: pl.DataFrame) -> str:
    """Return a sentence that names the diverged trainings (column ``failed``); empty if there are none."""
    failed = trainings["failed"].drop_nulls().unique(maintain_order=True).to_list()
    if not failed:
        return ""
    are = "training diverged and is" if len(failed) == 1 else "trainings diverged and are"
    more = f" And {len(failed) - _NAMED} more." if len(failed) > _NAMED else ""
    return f"{len(failed)} {are} missing from the results: {' '.join(failed[:_NAMED])}{more}"


def read_figures(file: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a cell.

    Raises:
        CounterGroundError: the file is damaged, or lacks one of the names.
    """
    try:
        found = json.loads(file.read_bytes())
        return dict(found) | {name: float(found[name]) for name in names}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CounterGroundError(f"{file} is damaged: delete it and run the study again.") from error


def _is_whole(file: Path) -> bool:
    """Whether a cell has figures; damaged ones are warned about."""
    if not file.is_file():
        return False
    try:
        json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        warn_damaged(file)
        return False
    return True


def visible_gpus() -> list[str]:
    """Return the names by which CUDA knows the GPUs that this process may use."""
    import torch

    named = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    return named or [str(gpu) for gpu in range(torch.cuda.device_count())]


@contextmanager
def one_thread(*, needed: bool = True) -> Iterator[None]:
    """Let PyTorch use one thread within the block: the number of threads changes the last digits.

    PyTorch's random numbers, which trainings seed, continue afterwards as if nothing had been drawn.

    Args:
        needed: whether to change the number of threads; if False, only random numbers are restored.
    """
    import torch

    threads = torch.get_num_threads()
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    gpus = range(torch.cuda.device_count()) if started else ()
    if needed:
        torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(gpus):
            yield
    finally:
        torch.set_num_threads(threads)


def _train_all(
    missing: Mapping[Cell, Path], train: Train[Cell], jobs: int, gpus: Sequence[str]
) -> Iterator[tuple[Cell, str]]:
    """Train the cells; yield each when it is done, with the reason if it diverged."""
    if jobs == 1 or len(missing) < 2:
        for cell, file in missing.items():
            yield cell, _train_one(train, cell, file)
        return
    context = get_context("spawn")
    workers = min(jobs, len(missing))
    watched, held = context.Pipe(duplex=False)
    start = (train, gpus, context.Value("i", 0), watched)
    with held, ProcessPoolExecutor(workers, context, _begin, start) as pool:
        try:
            waiting = {pool.submit(_train_here, cell, file): cell for cell, file in missing.items()}
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            # Otherwise the pool would first train everything that waits, which may take hours.
            pool.shutdown(wait=False, cancel_futures=True)
            held.close()
            raise


def _train_one(train: Train[Cell], cell: Cell, file: Path) -> str:
    checkpoint = file.with_suffix(".safetensors")
    try:
        figures = train(cell, checkpoint)
    except DivergedError as error:
        checkpoint.unlink(missing_ok=True)
        return str(error)
    write_text(file, json.dumps(figures))
    checkpoint.unlink(missing_ok=True)
    return ""


_train: Train[Any] | None = None  # may hold the data: sent once to each process, not with each training


def _begin(train: Train[Any], gpus: Sequence[str], processes: Synchronized[int], watched: Connection) -> None:
    global _train  # noqa: PLW0603 - a process has no other place to keep it
    _train = train
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()
    take_gpu(gpus, processes)
    import torch  # only now: it is to see no other GPU

    torch.set_num_threads(1)  # as in `one_thread`


def _train_here(cell: Any, file: Path) -> str:
    assert _train is not None
    return _train_one(_train, cell, file)


def take_gpu(gpus: Sequence[str], processes: Synchronized[int]) -> None:
    """Take the next GPU for this process, before PyTorch looks for any; in turns if there are fewer."""
    if gpus:
        with processes.get_lock():
            os.environ["CUDA_VISIBLE_DEVICES"] = gpus[processes.value % len(gpus)]
            processes.value += 1


def _end_with(watched: Connection) -> None:
    """End this process once the other end is closed: the grid was abandoned, or its program was killed.

    A training in progress keeps its checkpoint.
    """
    with suppress(OSError):  # on Windows, an end that was closed before is an error
        watched.poll(None)
    os._exit(1)
