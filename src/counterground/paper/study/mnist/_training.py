"""One training on MultiColoredMNIST: contrastive with perfect captions, or supervised (appendix D.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from counterground.paper.study.mnist._digits import (
    ColoredDigits,
    Setting,
    color_digits,
    split_validation,
    test_sets,
)
from counterground.paper.study.mnist._mnist import Digits
from counterground.paper.training import Schedule, train

if TYPE_CHECKING:
    import torch
    from torch import nn


Method = Literal["contrastive", "supervised"]
METHODS: tuple[Method, ...] = ("contrastive", "supervised")

_BATCH = 128
_VALIDATION = 0.1


@dataclass(frozen=True)
class Cell:
    """One training: a setting, a method and a seed."""

    setting: Setting
    method: Method
    seed: int


def train_cell(digits: Digits, cell: Cell, epochs: int) -> dict[str, float]:
    """Train one network; return accuracies (fractions) of the epoch with the best validation accuracy.

    The two methods share the encoder, its initial weights, the data and the order of batches. With perfect
    captions (one-hot object plus one-hot colour), the contrastive loss becomes cross-entropy on the object
    plus cross-entropy on the colour; the supervised one has only the object.

    Returns:
        ``rand``, ``rev`` (labels 0 and 1), ``rest`` (the other labels under Rand; NaN if there are none),
        ``validation``, ``epoch``, ``train_pairs``.

    Raises:
        CounterGroundError: the loss is no longer finite.
    """
    import torch

    setting, seed = cell.setting, cell.seed
    data = color_digits(digits.train, digits.train_labels, setting, "train", 1000 * seed)
    rows, held = split_validation(data, _VALIDATION, seed)
    tests = test_sets(digits, setting, 1000 * seed)
    steps = max(1, len(rows) // _BATCH)
    torch.manual_seed(seed)
    model = _network(setting.k)
    images, label, color = (torch.from_numpy(part) for part in (data.images, data.label, data.color))

    def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        epoch, number = divmod(step, steps)
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        chosen = torch.from_numpy(order[number * _BATCH : (number + 1) * _BATCH])
        return images[chosen], label[chosen], color[chosen]

    def loss(network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        objects, colors = network(batch[0])
        value = torch.nn.functional.cross_entropy(objects, batch[1])
        if cell.method == "contrastive":
            value = value + torch.nn.functional.cross_entropy(colors, batch[2])
        return value

    history: list[dict[str, float]] = []

    def on_step(step: int, _loss: float) -> None:
        if step % steps == 0:
            model.eval()
            history.append(_measure(model, data, held, tests) | {"epoch": step // steps})
            model.train()

    schedule = Schedule(steps * epochs, learning_rate=2e-3, warmup_steps=50, weight_decay=1e-3)
    train(model, batch_at, loss, schedule, seed=seed, on_step=on_step)
    return max(history, key=lambda row: row["validation"]) | {"train_pairs": float(len(data))}


def _network(k: int) -> nn.Module:
    from torch import nn

    class TwoHeads(nn.Module):
        """A small convolutional encoder with a head for the object and one for the colour."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(3, 16, 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Conv2d(16, 32, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(32, 64, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(64 * 16, 128),
                nn.ReLU(),
            )
            self.objects = nn.Linear(128, k)
            self.colors = nn.Linear(128, k)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.encoder(images)
            return self.objects(features), self.colors(features)

    return TwoHeads()


def _measure(
    model: nn.Module, data: ColoredDigits, held: np.ndarray[Any, Any], tests: dict[str, ColoredDigits]
) -> dict[str, float]:
    right = _correct(model, data.images[held], data.label[held])
    found = {"validation": float(right.mean())}
    for name, test in tests.items():
        correct = _correct(model, test.images, test.label)
        tied = test.label < 2
        found[name] = float(correct[tied].mean())
        if name == "rand":
            found["rest"] = float(correct[~tied].mean()) if (~tied).any() else float("nan")
    return found


def _correct(
    model: nn.Module, images: np.ndarray[Any, Any], label: np.ndarray[Any, Any]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    import torch

    with torch.inference_mode():
        batches = [torch.from_numpy(images[start : start + 1000]) for start in range(0, len(images), 1000)]
        parts = [model(batch)[0].argmax(1).numpy() for batch in batches]
    correct: np.ndarray[Any, np.dtype[np.bool_]] = np.concatenate(parts) == label
    return correct
