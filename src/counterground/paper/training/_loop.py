"""The training loop: seeded, resumable, for any model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from counterground.errors import CounterGroundError, UsageError
from counterground.files import read_rebuildable, write_bytes
from counterground.progress import progress_bar

if TYPE_CHECKING:
    import torch
    from torch import nn

Batch = TypeVar("Batch")


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
    from safetensors.torch import load

    if (tensors := read_rebuildable(path, load)) is None:
        return []
    found = bytes(tensors["identity"].tolist()).decode()
    if found != identity:
        raise UsageError(
            f"{path} belongs to another run ({found or 'unnamed'}, not {identity or 'unnamed'}); "
            "delete it or choose another folder."
        )
    model.load_state_dict(
        {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    )
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    _restore_layout(state, optimizer)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    losses: list[float] = tensors["losses"].tolist()
    return losses


def _restore_layout(state: dict[int, dict[str, torch.Tensor]], optimizer: torch.optim.Optimizer) -> None:
    # Files hold row-major tensors. Moments laid out differently from their parameters would use another
    # kernel, and the resumed run would differ from the unbroken one in the last digit.
    import torch

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, moments in state.items():
        for name, value in moments.items():
            if value.shape == parameters[index].shape and value.ndim:
                moments[name] = torch.empty_like(parameters[index], requires_grad=False).copy_(value)


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
        betas: decay of AdamW's two moments.
        clip_norm: largest norm of the gradient, over all parameters together.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0

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
        batch_at: 0-based step -> batch; runs ahead in a thread, with its own generator seeded by the step.
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
    optimizer = _optimizer(model, schedule)
    losses = [] if checkpoint is None else load_checkpoint(checkpoint, model, optimizer, identity)
    model.train()
    with progress_bar(progress or "", "steps", shown=progress is not None, keep=True) as bar:
        for batch in _ahead(batch_at, len(losses), schedule.steps):
            losses.append(_step(model, batch, loss, optimizer, schedule, step=len(losses), seed=seed))
            due = len(losses) % checkpoint_every == 0 or len(losses) == schedule.steps
            if checkpoint is not None and due:
                save_checkpoint(checkpoint, model, optimizer, losses, identity)
            bar.update(len(losses), schedule.steps)
            bar.note(f"loss {losses[-1]:.3f}")
            if on_step is not None:
                on_step(len(losses), losses[-1])
    model.eval()
    return losses


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    import torch

    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=schedule.learning_rate, betas=schedule.betas
    )


def _step(
    model: nn.Module,
    batch: Batch,
    loss: Callable[[nn.Module, Batch], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    step: int,
    seed: int,
) -> float:
    import torch

    torch.manual_seed(seed * 1_000_003 + step)
    value = loss(model, batch)
    number = float(value.detach())
    if not math.isfinite(number):
        raise DivergedError(f"The loss is {number} at step {step}; lower the learning rate.")
    for group in optimizer.param_groups:
        group["lr"] = schedule.learning_rate_at(step)
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip_norm))
    if not math.isfinite(norm):  # the weights would not be numbers any more: after the last step, unnoticed
        raise DivergedError(f"The gradient is {norm} at step {step}; lower the learning rate.")
    optimizer.step()
    return number


def _ahead(batch_at: Callable[[int], Batch], start: int, stop: int) -> Iterator[Batch]:
    """Yield the batches of ``start`` to ``stop``, making the next one while the last one is used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        upcoming = pool.submit(batch_at, start) if start < stop else None
        for step in range(start, stop):
            assert upcoming is not None
            batch = upcoming.result()
            upcoming = pool.submit(batch_at, step + 1) if step + 1 < stop else None
            yield batch
