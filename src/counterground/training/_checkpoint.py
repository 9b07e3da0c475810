"""Checkpoints of a training run: one safetensors file, replaced atomically."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from counterground.atomic import write_bytes
from counterground.errors import CounterGroundError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint says besides weights and optimiser.

    Attributes:
        losses: of every step done so far.
        identity: of the run it belongs to.
    """

    losses: list[float]
    identity: str


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint
) -> None:
    """Write weights, the optimiser's state and the losses to ``path``, atomically."""
    import torch
    from safetensors.torch import save

    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value).contiguous()
    tensors["losses"] = torch.tensor(checkpoint.losses, dtype=torch.float64)
    write_bytes(path, save(tensors, metadata={"identity": checkpoint.identity}))


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: str
) -> Checkpoint:
    """Load ``path`` into ``model`` and ``optimizer``, in place.

    Raises:
        UsageError: the checkpoint belongs to a run of another identity.
        CounterGroundError: the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stored:
            found = (stored.metadata() or {}).get("identity", "")
            if found != identity:
                raise UsageError(
                    f"{path} belongs to another run ({found or 'unnamed'}, not {identity or 'unnamed'}); "
                    "delete it or choose another folder."
                )
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CounterGroundError(
            f"Cannot read checkpoint {path}: {error}. Delete it to start anew."
        ) from error
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
    return Checkpoint(tensors["losses"].tolist(), identity)


def _restore_layout(state: dict[int, dict[str, torch.Tensor]], optimizer: torch.optim.Optimizer) -> None:
    # Files hold row-major tensors. Moments laid out otherwise than their parameters would take another
    # kernel, and the resumed run would part from the unbroken one in the last digit.
    import torch

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, moments in state.items():
        for name, value in moments.items():
            if value.shape == parameters[index].shape and value.ndim:
                moments[name] = torch.empty_like(parameters[index], requires_grad=False).copy_(value)
