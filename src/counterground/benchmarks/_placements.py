"""Where each cut-out goes: placements drawn from keys, so that neither order nor subset changes a photo."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from counterground.benchmarks._photographs import Background, Cutout
from counterground.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Placement:
    """One photo to be made: cut-out, background, and how the first lies on the second."""

    cutout: Cutout
    background: Background
    crop: float
    scale: float
    center: tuple[float, float]
    flip: bool


def draw_placements(
    cutouts: Sequence[Cutout],
    backgrounds: Sequence[Background],
    *,
    per_label: int,
    scale: tuple[float, float],
    seed: int,
) -> list[Placement]:
    """Return ``per_label`` placements of every cut-out on every label, each on another photograph.

    Args:
        cutouts: what is placed.
        backgrounds: what it is placed on; rectangles of one photograph and label count as one choice.
        per_label: photos per cut-out and label.
        scale: range of the cut-out's longer side, as a fraction of the photo's side.
        seed: the same seed, cut-out, label and turn give the same placement whatever else is asked for.

    Raises:
        UsageError: a label has fewer than ``per_label`` photographs.
    """
    by_label: dict[str, dict[str, list[Background]]] = defaultdict(lambda: defaultdict(list))
    for background in sorted(backgrounds, key=lambda b: b.file):
        by_label[background.label][background.cluster].append(background)
    for label, photographs in by_label.items():
        if len(photographs) < per_label:
            raise UsageError(
                f"{per_label} photos per cut-out need {per_label} photographs of {label!r}, "
                f"and there are {len(photographs)}; ask for fewer or leave {label!r} out."
            )
    placements = []
    for cutout in cutouts:
        for label in sorted(by_label):
            photographs = by_label[label]
            names = sorted(photographs)
            order = _generator(seed, cutout.path_in_package, label).permutation(len(names))
            for turn in range(per_label):
                rng = _generator(seed, cutout.path_in_package, label, turn)
                choices = photographs[names[order[turn]]]
                background = choices[int(rng.integers(len(choices)))]
                placements.append(_place(cutout, background, scale, rng))
    return placements


def _place(
    cutout: Cutout, background: Background, scale: tuple[float, float], rng: np.random.Generator
) -> Placement:
    longer = float(rng.uniform(*scale))
    half = [longer * side / max(cutout.image.size) / 2 for side in cutout.image.size]
    return Placement(
        cutout=cutout,
        background=background,
        crop=float(rng.uniform()),
        scale=longer,
        center=(float(rng.uniform(half[0], 1 - half[0])), float(rng.uniform(half[1], 1 - half[1]))),
        flip=bool(rng.integers(2)),
    )


def _generator(*key: object) -> np.random.Generator:
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
