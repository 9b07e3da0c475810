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

from counterground.files import check_writable, read_rebuildable, write_text
from counterground.paper.training import DivergedError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.sharedctypes import Synchronized

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
) -> dict[Cell, dict[str, Any]]:
    """Train the cells whose file of figures is missing or damaged, and return the figures of all.

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
        The figures of each cell, and why it diverged as ``failed``: then there are no others.

    Raises:
        CounterGroundError: the folder cannot be written, a training failed otherwise, or all diverged.
    """
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    for folder in {file.parent for file in files.values()}:
        check_writable(folder)
    known = {cell: read_rebuildable(file, json.loads) for cell, file in files.items()}
    missing = {cell: files[cell] for cell, figures in known.items() if figures is None}
    failed: dict[Cell, str] = {}
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show_progress) as bar:
        task = bar.add_task("Trainings", total=len(files), completed=len(files) - len(missing))
        for cell, reason in _train_all(missing, train, jobs, gpus):
            if reason:
                failed[cell] = f"{files[cell].stem}: {reason}"
            else:
                known[cell] = json.loads(files[cell].read_bytes())
            bar.advance(task)
    if failed and len(failed) == len(files):
        raise DivergedError(f"All trainings diverged, first {next(iter(failed.values()))}")
    return {cell: {"failed": failed.get(cell), **(known[cell] or {})} for cell in files}


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
