"""MultiColoredMNIST: digits in colours that predict the labels 0 and 1, and one training on them (D.4).

The *label* equals the digit with probability ``p_inv``, else it is one of the other classes. For labels 0 and
1 the colour follows the label, not the digit. What the paper leaves open was chosen so that Table 8 is
attainable: a colour that does not follow is drawn uniformly from the others. Under Rev the colour is that of
the other of the two classes with probability 90 %, else one of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from counterground.paper.study.mnist._mnist import Digits
from counterground.paper.training import Schedule, train

if TYPE_CHECKING:
    import torch
    from torch import nn

Ints = NDArray[np.int64]
Tie = Literal["train", "rand", "rev"]

_REVERSED = 0.9
# Ten colours that differ in hue and lightness; the digit's grey value scales them.
PALETTE = np.array(
    [
        (230, 60, 50),
        (60, 180, 75),
        (70, 100, 230),
        (245, 210, 40),
        (150, 60, 190),
        (70, 220, 230),
        (245, 130, 40),
        (240, 80, 220),
        (190, 240, 90),
        (170, 170, 170),
    ],
    dtype=np.float32,
)


@dataclass(frozen=True)
class Setting:
    """One setting of Table 8: ``k`` classes, and the probabilities ``p_inv`` and ``p_spu``.

    The label is the digit with ``p_inv``; the colour of labels 0 and 1 follows the label with ``p_spu``.
    """

    k: int
    p_inv: float
    p_spu: float


@dataclass(frozen=True)
class ColoredDigits:
    """``images [n, 3, 28, 28]`` float32 in 0..1, with ``digit``, ``label`` and ``color`` ``[n]``."""

    images: NDArray[np.float32]
    digit: Ints
    label: Ints
    color: Ints

    def __len__(self) -> int:
        return len(self.label)


def color_digits(
    images: NDArray[np.uint8], digits: NDArray[np.uint8], setting: Setting, tie: Tie, seed: int
) -> ColoredDigits:
    """Return the digits of classes 0 to k - 1, labelled with noise and coloured for the kind of set (D.4).

    Args:
        images: ``[n, 28, 28]``, 0 to 255.
        digits: ``[n]``, 0 to 9.
        setting: number of classes and probabilities.
        tie: colours of labels 0 and 1: as in training (``train``), random (``rand``) or reversed (``rev``).
        seed: seed of labels and colours.
    """
    rng = np.random.default_rng(seed)
    wanted = digits < setting.k
    digit = digits[wanted].astype(np.int64)
    label = np.where(rng.random(len(digit)) < setting.p_inv, digit, _another(digit, setting.k, rng))
    color = _colors(label, setting, tie, rng)
    grey = images[wanted].astype(np.float32) / 255
    painted = grey[:, None] * (PALETTE[color] / 255)[:, :, None, None]
    return ColoredDigits(painted.astype(np.float32), digit, label, color)


def _another(values: Ints, k: int, rng: np.random.Generator) -> Ints:
    """Draw one of the other ``k - 1`` values for each value, uniformly."""
    return (values + rng.integers(1, k, len(values))) % k


def _colors(label: Ints, setting: Setting, tie: Tie, rng: np.random.Generator) -> Ints:
    k = setting.k
    free = rng.integers(0, k, len(label))
    if tie == "rand":
        return free
    followed = label if tie == "train" else 1 - label
    share = setting.p_spu if tie == "train" else _REVERSED
    tied = np.where(rng.random(len(label)) < share, followed, _another(followed % k, k, rng))
    return np.where(label < 2, tied, free)


Method = Literal["contrastive", "supervised"]
METHODS: tuple[Method, ...] = ("contrastive", "supervised")

_TESTS: tuple[Tie, Tie] = ("rand", "rev")
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
    order = np.random.default_rng(seed).permutation(len(data))
    held, rows = np.split(order, [int(len(data) * _VALIDATION)])
    tests = {
        tie: color_digits(digits.test, digits.test_labels, setting, tie, 1000 * seed + number)
        for number, tie in enumerate(_TESTS, start=1)
    }
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
    model: nn.Module, data: ColoredDigits, held: Ints, tests: dict[Tie, ColoredDigits]
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
