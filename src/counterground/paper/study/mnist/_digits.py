"""MultiColoredMNIST: digits in colours that predict the labels 0 and 1 (paper appendix D.4).

The *label* equals the digit with probability ``p_inv``, else it is one of the other classes. For labels 0 and
1 the colour follows the label, not the digit. What the paper leaves open was chosen so that Table 8 is
attainable: a colour that does not follow is drawn uniformly from the others. Under Rev the colour is that of
the other of the two classes with probability 90 %, else one of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from counterground.paper.study.mnist._mnist import Digits

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


def split_validation(data: ColoredDigits, share: float, seed: int) -> tuple[Ints, Ints]:
    """Return row numbers for training and for validation, at random."""
    order = np.random.default_rng(seed).permutation(len(data))
    cut = int(len(data) * share)
    return order[cut:], order[:cut]


def test_sets(digits: Digits, setting: Setting, seed: int) -> dict[str, ColoredDigits]:
    """Return the sets Rand and Rev over the test digits."""
    ties: tuple[Tie, Tie] = ("rand", "rev")
    return {
        tie: color_digits(digits.test, digits.test_labels, setting, tie, seed + number)
        for number, tie in enumerate(ties, start=1)
    }
