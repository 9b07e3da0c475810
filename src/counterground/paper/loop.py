"""Trainings that resume: one loop for any model, and grids of trainings that leave a file of figures each."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from counterground.errors import CounterGroundError, UsageError
from counterground.files import check_writable, read_rebuildable, write_bytes, write_text
from counterground.progress import progress_bar

if TYPE_CHECKING:
    import torch
    from torch import nn

_BETAS, _CLIP_NORM = (0.9, 0.98), 1.0  # of AdamW; of the gradient over all parameters together
Batch = TypeVar("Batch")
Cell = TypeVar("Cell")
Train = Callable[[Cell, Path], Mapping[str, Any]]
"""Train one cell and return its figures; a checkpoint may be kept at the path until then."""


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float], identity: str
) -> None:
    """Write weights, the optimiser's state and the losses of all steps to ``path``, atomically."""
    import torch
    from safetensors.torch import save

    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).contiguous()
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    tensors["identity"] = torch.tensor(list(identity.encode()), dtype=torch.uint8)
    write_bytes(path, save(tensors))


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: str
) -> list[float]:
    """Load ``path`` into ``model`` and ``optimizer``, in place; return the losses of the steps it did.

    An absent or damaged file changes nothing: no step was done.

    Raises:
        UsageError: the checkpoint belongs to a run of another identity.
    """
    import torch
    from safetensors.torch import load

    if (tensors := read_rebuildable(path, load)) is None:
        return []
    found = bytes(tensors["identity"].tolist()).decode()
    if found != identity:
        raise UsageError(
            f"{path} belongs to another run ({found or 'unnamed'}, not {identity or 'unnamed'}); "
            "delete it or choose another folder."
        )
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    weights: dict[str, torch.Tensor] = {}
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        if part == "model":
            weights[rest] = value
        elif part == "optimizer":
            index, _, moment = rest.partition(".")
            # Files hold row-major tensors. A moment laid out differently from its parameter would use another
            # kernel, and the resumed run would differ from the unbroken one in the last digit.
            like = torch.empty_like(parameters[int(index)], requires_grad=False)
            state.setdefault(int(index), {})[moment] = like.copy_(value) if value.ndim else value
    model.load_state_dict(weights)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    losses: list[float] = tensors["losses"].tolist()
    return losses


class DivergedError(CounterGroundError):
    """The loss of a training, or its gradient, is no longer finite."""


@dataclass(frozen=True)
class Schedule:
    """AdamW with linear warm-up and cosine decay to zero.

    Attributes:
        steps: optimiser steps in total.
        learning_rate: highest learning rate, reached after ``warmup_steps``.
        warmup_steps: steps of linear warm-up.
        weight_decay: weight decay on matrices and kernels; never on gains, biases and scalars.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.05

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of the 0-based ``step``."""
        warmup = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return self.learning_rate * warmup * (0.5 + 0.5 * math.cos(math.pi * step / self.steps))


def train(
    model: nn.Module,
    batch_at: Callable[[int], Batch],
    loss: Callable[[nn.Module, Batch], torch.Tensor],
    schedule: Schedule,
    *,
    seed: int = 0,
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    identity: str = "",
    on_step: Callable[[int, float], None] | None = None,
    progress: str | None = None,
) -> list[float]:
    """Train ``model`` in place; return the loss of every step.

    A run killed at any moment resumes from ``checkpoint`` and ends in the weights it would have had (same
    device, threads, versions): batches are a function of the step, and PyTorch is reseeded before each.

    Args:
        model: model to train; parameters that require no gradient stay unchanged.
        batch_at: 0-based step -> batch, with its own generator seeded by the step.
        loss: model and batch -> scalar.
        schedule: optimiser and learning rates.
        seed: seed of the randomness inside the model (dropout).
        checkpoint: file to resume from and to write to, also at the end; None keeps nothing. A damaged one is
            not resumed from but rewritten.
        checkpoint_every: steps between checkpoints.
        identity: what identifies the run (data, seed); a checkpoint of another identity is refused.
        on_step: called with the number of steps done and the last loss, after a checkpoint that is due.
        progress: title of a progress bar on standard error; None shows none.

    Raises:
        UsageError: ``checkpoint`` belongs to another run.
        CounterGroundError: the checkpoint cannot be written, or loss or gradient are no longer finite.
    """
    import torch

    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": params, "weight_decay": decay}
        for matrices, decay in ((True, schedule.weight_decay), (False, 0.0))
        if (params := [each for each in trainable if (each.ndim > 1) == matrices])
    ]
    optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, betas=_BETAS)
    losses = [] if checkpoint is None else load_checkpoint(checkpoint, model, optimizer, identity)
    model.train()
    with progress_bar(progress or "", "steps", shown=progress is not None, keep=True) as bar:
        for step in range(len(losses), schedule.steps):
            batch = batch_at(step)
            torch.manual_seed(seed * 1_000_003 + step)
            value = loss(model, batch)
            losses.append(float(value.detach()))
            _check_finite(losses[-1], "loss", step)
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate_at(step)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            # Otherwise the weights would not be numbers any more: after the last step, unnoticed.
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP_NORM)
            _check_finite(float(norm), "gradient", step)
            optimizer.step()
            due = len(losses) % checkpoint_every == 0 or len(losses) == schedule.steps
            if checkpoint is not None and due:
                save_checkpoint(checkpoint, model, optimizer, losses, identity)
            bar.update(len(losses), schedule.steps)
            bar.note(f"loss {losses[-1]:.3f}")
            if on_step is not None:
                on_step(len(losses), losses[-1])
    model.eval()
    return losses


def _check_finite(number: float, what: str, step: int) -> None:
    if not math.isfinite(number):
        raise DivergedError(f"The {what} is {number} at step {step}; lower the learning rate.")


def run_grid(
    files: Mapping[Cell, Path],
    train: Train[Cell],
    *,
    jobs: int | None = None,
    show_progress: bool = False,
) -> dict[Cell, dict[str, Any]]:
    """Train the cells whose file of figures is missing or damaged, and return the figures of all.

    A training that diverges leaves no file, and the others go on.

    Every training runs on one thread, so that its figures do not depend on ``jobs``. With one job, trainings
    run in this process, otherwise in ``jobs`` processes. These end when this process ends, and at once if it
    is interrupted or a training fails.

    Args:
        files: where the figures of each cell are kept, as JSON.
        train: function that trains a cell; with several jobs it must be picklable.
        jobs: trainings at once; by default one per core.
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
    done = len(files) - len(missing)
    workers = min(jobs or os.cpu_count() or 1, len(missing))
    with progress_bar("Trainings", "steps", total=len(files), done=done, shown=show_progress) as bar:
        for cell, figures in _train_all(missing, train, workers):
            known[cell] = figures
            bar.advance()
    failed = [figures["failed"] for figures in known.values() if figures and "failed" in figures]
    if failed and len(failed) == len(files):
        raise DivergedError(f"All trainings diverged, first {failed[0]}")
    return {cell: {"failed": None, **(figures or {})} for cell, figures in known.items()}


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
    missing: Mapping[Cell, Path], train: Train[Cell], workers: int
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Train the cells; yield each with its figures when it is done."""
    if workers < 2:
        for cell, file in missing.items():
            yield cell, _train_one(train, cell, file)
        return
    context, others = get_context("spawn"), set(active_children())
    with ProcessPoolExecutor(workers, context, _watch_parent) as pool:
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


def _train_one(train: Train[Cell], cell: Cell, file: Path) -> dict[str, Any]:
    checkpoint = file.with_suffix(".safetensors")
    try:
        with one_thread():
            figures = dict(train(cell, checkpoint))
        write_text(file, json.dumps(figures))
    except DivergedError as error:
        figures = {"failed": f"{file.stem}: {error}"}
    checkpoint.unlink(missing_ok=True)
    return figures


def _watch_parent() -> None:
    """End this process once its program was killed; a training in progress keeps its checkpoint."""

    def end_with_parent() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
        os._exit(1)

    Thread(target=end_with_parent, daemon=True).start()
