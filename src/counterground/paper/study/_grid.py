"""A grid of trainings: each leaves a file of figures, so that a killed grid resumes where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from counterground.files import check_writable, read_rebuildable, write_text
from counterground.paper.training import DivergedError
from counterground.progress import progress_bar

Cell = TypeVar("Cell")
Train = Callable[[Cell, Path], Mapping[str, Any]]
"""Train one cell and return its figures; a checkpoint may be kept at the path until then."""


def run_grid(
    files: Mapping[Cell, Path],
    train: Train[Cell],
    *,
    jobs: int | None = None,
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
        jobs: trainings at once; by default one per GPU or core.
        gpus: names by which CUDA knows the GPUs; none for other devices.
        show_progress: whether to show a bar on standard error.

    Returns:
        The figures of each cell, and why it diverged as ``failed``: then there are no others.

    Raises:
        CounterGroundError: the folder cannot be written, a training failed otherwise, or all diverged.
    """
    for folder in {file.parent for file in files.values()}:
        check_writable(folder)
    known = {cell: read_rebuildable(file, json.loads) for cell, file in files.items()}
    missing = {cell: files[cell] for cell, figures in known.items() if figures is None}
    failed: dict[Cell, str] = {}
    done = len(files) - len(missing)
    workers = min(jobs or len(gpus) or os.cpu_count() or 1, len(missing))
    with progress_bar("Trainings", "steps", total=len(files), done=done, shown=show_progress) as bar:
        for cell, reason in _train_all(missing, train, workers, gpus):
            if reason:
                failed[cell] = f"{files[cell].stem}: {reason}"
            else:
                known[cell] = json.loads(files[cell].read_bytes())
            bar.advance()
    if failed and len(failed) == len(files):
        raise DivergedError(f"All trainings diverged, first {next(iter(failed.values()))}")
    return {cell: {"failed": failed.get(cell), **(known[cell] or {})} for cell in files}


def visible_gpus() -> list[str]:
    """Return the names by which CUDA knows the GPUs that this process may use."""
    import torch

    named = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    return named or [str(gpu) for gpu in range(torch.cuda.device_count())]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread within the block: the number of threads changes the last digits.

    PyTorch's random numbers, which trainings seed, continue afterwards as if nothing had been drawn.
    """
    import torch

    threads = torch.get_num_threads()
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if started else ()):
            yield
    finally:
        torch.set_num_threads(threads)


def _train_all(
    missing: Mapping[Cell, Path], train: Train[Cell], workers: int, gpus: Sequence[str]
) -> Iterator[tuple[Cell, str]]:
    """Train the cells; yield each when it is done, with the reason if it diverged."""
    if workers < 2:
        for cell, file in missing.items():
            yield cell, _train_one(train, cell, file)
        return
    context, others = get_context("spawn"), set(active_children())
    turns = context.SimpleQueue()
    for worker in range(workers):
        turns.put(gpus[worker % len(gpus)] if gpus else None)
    with ProcessPoolExecutor(workers, context, begin, (turns,)) as pool:
        try:
            waiting = {pool.submit(_train_one, train, cell, file): cell for cell, file in missing.items()}
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            # Otherwise the pool would first train everything that waits, which may take hours.
            pool.shutdown(wait=False, cancel_futures=True)
            for process in set(active_children()) - others:
                process.kill()
            raise


def _train_one(train: Train[Cell], cell: Cell, file: Path) -> str:
    checkpoint = file.with_suffix(".safetensors")
    try:
        with one_thread():
            figures = train(cell, checkpoint)
    except DivergedError as error:
        checkpoint.unlink(missing_ok=True)
        return str(error)
    write_text(file, json.dumps(figures))
    checkpoint.unlink(missing_ok=True)
    return ""


def begin(turns: SimpleQueue[str | None]) -> None:
    """Begin a process that ends with its parent, and takes its GPU before PyTorch looks for any."""
    Thread(target=_end_with_parent, daemon=True).start()
    if (gpu := turns.get()) is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu


def _end_with_parent() -> None:
    """End this process once its program was killed; a training in progress keeps its checkpoint."""
    if (parent := parent_process()) is not None:
        parent.join()
    os._exit(1)
