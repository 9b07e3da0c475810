"""Is no claim of the findings stronger than the verdict that they replace, and is no hedge lost?

    python bench/experiments/verdicts.py OLD_CHECKOUT [--runs 500]

Random runs (photos, or composites with the background effect or BG-Gap; one to five models, some or all of
them guessing; few clusters; pairs chosen here, elsewhere or by nobody) are judged by both: the old page in a
process that imports OLD_CHECKOUT. Counts claims that are stronger now and hedges that are missing; both must
be 0.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl

HERE = Path(__file__).resolve().parents[2]
STRENGTH = {"none": 0, "unclear": 1, "doubted": 2, "clear": 3}
HEDGES = {  # the start of an answer of the old verdict: codes, one of which must be there
    "It chose the pairs on these same": {"chose_here"},
    "It chose the pairs of each half": {"chose_other_half"},
    "The pairs were chosen on these same": {"chosen_here"},
    "Inconclusive.": {"tied", "untested"},
    "In part.": {"tied", "untested"},
    "Not tested.": {"untested"},
    "Not comparable.": {"biased_ranking"},
    "Perhaps.": {"ranking_uncertain"},
    "is not clearly above chance": {"near_chance"},
    "may contribute, too": {"confounded"},
    "There is no interval": {"no_interval"},
    "Too few to be sure.": {"photos_needed", "no_plan"},
    "if these classes are a random": {"other_classes"},
    "No significant part.": {"not_caused"},
    "None.": {"not_caused"},
    "Placebos beyond": {"placebo_large"},
    "do not show how much models rely": {"no_effect"},
}


def sections(runs: int) -> Any:
    """Yield the section of each random run, in the package that this process imports."""
    from made_runs import fresh_run, of_composites

    from counterground.comparison import full_comparison
    from counterground.metrics import BACKGROUND_EFFECT, BG_GAP, Design
    from counterground.photos import Discovered
    from counterground.reporting._gallery import Gallery
    from counterground.reporting._section import make_section

    page = SimpleNamespace(gallery=Gallery(requested=False))
    crossed = "cross" if find_spec("counterground.findings") else "swap"  # what the old package calls it
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        levels, guess = {}, rng.choice([0.15, 1], p=[0.95, 0.05])
        for place in range(rng.integers(1, 6)):
            common = 0.0 if rng.random() < guess else rng.uniform(0.3, 0.98)
            drop = rng.choice([0.0, 0.05, 0.3]) * rng.choice([1, 1, -1])
            levels[f"m{place}"] = (common, float(np.clip(common - drop, 0, 0.98)))
        classes = [f"class {k}" for k in range(rng.integers(2, 6))]
        run = fresh_run(levels, classes=classes, per_group=int(rng.choice([3, 10, 40])), path=f"run{seed}")
        if (split := rng.choice(["", "none", "half", crossed])) != "":
            how = Discovered(str(rng.choice(list(levels))), str(split), 5.0, "stamps@0", "stamps")
            record = run.info.benchmark.model_copy(update=vars(how))
            run = replace(run, info=run.info.model_copy(update={"benchmark": record}))
        if rng.random() < 0.2:
            few = pl.format("c{}", pl.col("path").hash() % int(rng.integers(1, 7)))
            run = scored(run, run.info, run.predictions.with_columns(cluster=few))
        if composites := rng.random() < 0.4:
            contrast = BACKGROUND_EFFECT if rng.random() < 0.6 else BG_GAP
            run = composed(of_composites(run, run), contrast, Design)
        about = full_comparison([run], published=not composites, contrast=contrast if composites else None)
        yield make_section(1, [run], about, lambda *_, **__: page, swapped=[run] if composites else [])


def composed(run: Any, contrast: Any, design: Any) -> Any:
    """Return a run as if its photos were composites of two kinds, or both on the same objects."""
    of = {"background_effect": ("same", "other"), "bg_gap": ("mixed_same", "mixed_rand")}[contrast.name]
    kind = pl.when(pl.col("group") == "common").then(pl.lit(of[0])).otherwise(pl.lit(of[1]))
    number = pl.col("path").str.extract(r"(\d+)\.jpg$")
    rows = run.predictions.with_columns(
        swap=kind,
        foreground=pl.format("{}/{}", "class_index", number),
        background_class=pl.col("class_name"),
        background_cluster=pl.col("cluster"),
        cluster=pl.format("{}-{}", "class_index", number),
    )
    shown = design(("class_name", "swap"), (contrast,), clusters=("cluster", "background_cluster"))
    record = run.info.benchmark.model_copy(update={"design": shown.to_json()})
    info = run.info.model_copy(update={"benchmark": record})
    return scored(run, info, rows)


def scored(run: Any, info: Any, rows: pl.DataFrame) -> Any:
    """Return a run with other predictions; the old one keeps its scores beside them."""
    from counterground.metrics import score_predictions

    if not any(each.name == "scores" for each in fields(run)):
        return replace(run, info=info, predictions=rows)
    scores = score_predictions(rows, design=info.benchmark.scored)
    return replace(run, info=info, predictions=rows, scores=scores)


def told(runs: int) -> None:
    """Print the claim and the hedges of each run, as JSON."""
    for section in sections(runs):
        if hasattr(section, "verdict"):
            answers = [f"{each.answer} {each.reason}" for each in section.verdict.answers]
            first = answers[0] if section.verdict.lead is not None else ""
            kinds = {"Yes.": "clear", "The other": "clear", "Not est": "doubted", "Not certain": "doubted"}
            claim = next((kind for start, kind in kinds.items() if first.startswith(start)), "unclear")
            claim = claim if section.verdict.lead is not None else "none"
            print(json.dumps({"claim": claim, "said": [section.verdict.sentence, *answers]}))
        else:
            codes = [each.code for each in section.findings]
            kinds = dict.fromkeys(("loses", "loses_most", "reversed"), "clear")
            kinds |= {"not_established": "doubted", "not_clear": "unclear"}
            print(json.dumps({"claim": kinds.get(codes[0], "none"), "codes": codes}))


def judged(checkout: Path, runs: int) -> list[dict[str, Any]]:
    """Return what a checkout says of the random runs."""
    path = os.pathsep.join([str(checkout / "src"), str(checkout / "tests" / "support")])
    command = [sys.executable, __file__, "--told", "--runs", str(runs), str(checkout)]
    found = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, check=True
    )
    return [json.loads(line) for line in found.stdout.splitlines()]


def main() -> None:
    """Compare both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--told", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.told:
        told(given.runs)
        return
    stronger, missing = [], []
    both = zip(judged(given.checkout, given.runs), judged(HERE, given.runs), strict=True)
    for seed, (old, new) in enumerate(both):
        if STRENGTH[new["claim"]] > STRENGTH[old["claim"]]:
            stronger.append((seed, old["claim"], new["claim"]))
        for start, codes in HEDGES.items():
            if any(start in said for said in old["said"]) and not codes & set(new["codes"]):
                missing.append((seed, start))
    print(f"{given.runs} runs: {len(stronger)} claims stronger {stronger[:5]}, {len(missing)} hedges missing")
    print(missing[:10])


if __name__ == "__main__":
    main()
