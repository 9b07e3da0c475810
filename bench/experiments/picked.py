"""How often the best of several backgrounds beats the worst significantly although no background matters.

python bench/experiments/picked.py [REPLICATIONS]

Runs of ten classes on 3 and on 6 backgrounds, 20 photos of each class on each, by photographers with about
four photos. The two backgrounds with the highest and the lowest accuracy are picked after looking, and their
contrast within classes is tested: alone, and corrected for all pairs of backgrounds as `scores --contrast`,
`compare` and the report do (``Design.picked_from``). Last, whether any pair is significant after Holm over
all pairs, which `scores --by background` says.
"""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import polars as pl

from counterground.metrics import DESIGN, Answers, Contrast, Stratification, corrected_differences

BACKGROUNDS = (3, 6)
_CLASSES, _PHOTOS, _PER_CLUSTER, _ACCURACY, _CORRELATION = 10, 20, 4, 0.75, 0.2


def picked(backgrounds: int, rng: np.random.Generator, *, photos: int = _PHOTOS) -> tuple[float, ...]:
    """Return p of the best minus the worst background, alone and corrected, and the least of all pairs.

    Args:
        backgrounds: number of backgrounds.
        rng: what draws photographers and answers.
        photos: photos of each class on each background.
    """
    classes, names = (
        np.repeat(np.arange(_CLASSES), backgrounds * photos),
        [f"b{i}" for i in range(backgrounds)],
    )
    background = np.tile(np.repeat(names, photos), _CLASSES)
    cluster = rng.integers(0, len(classes) // _PER_CLUSTER, len(classes))
    scale = 1 / _CORRELATION - 1
    hard = rng.beta(_ACCURACY * scale, (1 - _ACCURACY) * scale, cluster.max() + 1)[cluster]
    frame = pl.DataFrame({"background": background, "correct": rng.random(len(classes)) < hard})
    order = frame.group_by("background").agg(pl.mean("correct")).sort("correct", "background")["background"]
    contrast = Contrast("picked", f"background={order[-1]}", f"background={order[0]}")
    answers = Answers.of(frame, Stratification(classes, None, cluster, photos=frame))
    (estimate,) = corrected_differences([answers.sides(contrast)], DESIGN.picked_from(contrast, frame))
    pairs = [Contrast("pair", f"background={a}", f"background={b}") for a, b in combinations(names, 2)]
    of_all = corrected_differences([answers.sides(pair) for pair in pairs])
    p_values = [estimate.p_value, estimate.p_corrected, *(each.p_corrected for each in of_all)]
    known = [p for p in p_values if p is not None]
    return known[0], known[1], min(known[2:])


def main() -> None:
    """Print the shares."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("| backgrounds | significant alone | corrected for all pairs | any pair, Holm |")
    print("|---:|---:|---:|---:|")
    for backgrounds in BACKGROUNDS:
        rng = np.random.default_rng(backgrounds)
        p_values = np.array([picked(backgrounds, rng) for _ in range(replications)])
        shares = " | ".join(f"{100 * share:.1f} %" for share in (p_values < 0.05).mean(axis=0))
        print(f"| {backgrounds} | {shares} |")


if __name__ == "__main__":
    main()
