"""How often the best of several backgrounds beats the worst significantly although no background matters.

python bench/experiments/picked.py [REPLICATIONS]

Runs of ten classes on 3 and on 6 backgrounds, 20 photos of each class on each, by photographers with about
four photos. The two backgrounds with the highest and the lowest accuracy are picked after looking, and their
contrast within classes is tested: alone, and corrected for all pairs of backgrounds as `scores --contrast`,
`compare` and the report do (``Design.picked_from``).
"""

from __future__ import annotations

import sys

import numpy as np
import polars as pl

from counterground.metrics import DESIGN, Answers, Contrast, Stratification, corrected_differences

BACKGROUNDS = (3, 6)
_CLASSES, _PHOTOS, _PER_CLUSTER, _ACCURACY, _CORRELATION = 10, 20, 4, 0.75, 0.2


def picked(backgrounds: int, rng: np.random.Generator, *, photos: int = _PHOTOS) -> tuple[float, float]:
    """Return the p-value of the best minus the worst background: alone, and corrected for all pairs.

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
    assert estimate.p_value is not None
    assert estimate.p_corrected is not None
    return estimate.p_value, estimate.p_corrected


def main() -> None:
    """Print the shares."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("| backgrounds | significant alone | corrected for all pairs |")
    print("|---:|---:|---:|")
    for backgrounds in BACKGROUNDS:
        rng = np.random.default_rng(backgrounds)
        p_values = np.array([picked(backgrounds, rng) for _ in range(replications)])
        alone, corrected = (p_values < 0.05).mean(axis=0)
        print(f"| {backgrounds} | {100 * alone:.1f} % | {100 * corrected:.1f} % |")


if __name__ == "__main__":
    main()
