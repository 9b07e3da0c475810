"""How often anything is wrongly called significant, by simulation.

python bench/experiments/family_wise.py [REPLICATIONS]

No model relies on the background and all are equally good; they see the same photos and share half of the
random variation. The table counts replications with at least one error: in the report's "Yes" (a drop that
differs from 0, corrected over the models), in the corrected tests of all pairs, in those against one model,
and in the ranks by drop, which are corrected over the drops of all pairs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from counterground.metrics import compare_models, holm, score_predictions, tests_against
from counterground.results import regroup
from interval_coverage import INDEPENDENT, Scene, crossed, equal_models, nested, observers, predictions

LAYOUTS = (
    Scene("14 photographs nested in 6 labels, 4 placements (`stamps`)", nested),
    Scene("the same, 70 % of classes on one pair", lambda rng: nested(rng, same_pair=0.7)),
    Scene("4 photographs", lambda rng: crossed(rng, photos=8, clusters=4)),
    Scene("20 clusters", lambda rng: crossed(rng, photos=10, clusters=20)),
    Scene("40 clusters, very uneven", lambda rng: crossed(rng, clusters=40, odds=rng.pareto(1.5, 40) + 0.1)),
    Scene("observers, 5 classes", lambda rng: observers(rng, np.full((5, 2), 40))),
    Scene("independent, 4 photos a cell", lambda rng: crossed(rng, photos=4), **INDEPENDENT),
)
COLUMNS = (
    "yes, 4 models",
    "yes, 12 models",
    "pairs of 4, drop",
    "pairs of 4, all",
    "against one of 4",
    "ranks of 4",
)
_LEVEL, _MODELS, _BLOCK = 0.05, 12, 20


def errors(scene: Scene, replications: int, *, seed: int = 1) -> dict[str, float]:
    """Share of replications with at least one error, for each of ``COLUMNS``."""
    rng = np.random.default_rng(seed)
    found = dict.fromkeys(COLUMNS, 0)
    for start in range(0, replications, _BLOCK):
        layout, correct = equal_models(scene, rng, min(_BLOCK, replications - start), _MODELS)
        frame = predictions(layout, correct.reshape(-1, correct.shape[-1]))
        models = regroup(score_predictions(frame, by_class=False))
        for number, answers in enumerate(correct):
            own = models[number * _MODELS : (number + 1) * _MODELS]
            found["yes, 4 models"] += _any(holm(model.get("drop").p_value for model in own[:4]))
            found["yes, 12 models"] += _any(holm(model.get("drop").p_value for model in own))
            tests = compare_models(predictions(layout, answers[:4]))
            found["pairs of 4, drop"] += _any(tests.filter(metric="drop")["p_corrected"])
            found["pairs of 4, all"] += _any(tests["p_corrected"])
            found["against one of 4"] += _any(tests_against(tests, tests["model"][0])["p_corrected"])
            found["ranks of 4"] += _any(holm(tests.filter(metric="drop")["p_value"]))
    return {name: number / replications for name, number in found.items()}


def _any(p_values: Iterable[float | None]) -> bool:
    return any(p is not None and p < _LEVEL for p in p_values)


def main() -> None:
    """Print the table."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("| no effect | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    for scene in LAYOUTS:
        found = errors(scene, replications)
        print(
            f"| {scene.name} | " + " | ".join(f"{100 * found[name]:.1f}" for name in COLUMNS) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
