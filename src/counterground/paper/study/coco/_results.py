"""From trainings to answers: choice of settings, intervals over seeds, comparisons, the figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.metrics import holm
from counterground.paper.study._study import interval
from counterground.paper.study.coco._objects import Strength
from counterground.paper.study.coco._trials import MEAN_CAPTION, RECIPE, ZERO_SHOT
from counterground.text import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MAIN = 0.8  # the paper's strength
MEASURES = ("id", "ood", "drop", "follows")
NAMES = {
    ZERO_SHOT: "before (zero shot)",
    "obj": "CLIP loss, obj",
    "objbkg": "CLIP loss, objbkg",
    MEAN_CAPTION: "CLIP loss, objbkg, mean caption",
    "siglip": "SigLIP loss, obj",
    "supervised": "supervised",
}
_LOOKS: dict[str, dict[str, Any]] = {
    "obj": {"color": "#0072b2", "marker": "o"},
    "objbkg": {"color": "#56b4e9", "marker": "s"},
    MEAN_CAPTION: {"color": "#cc79a7", "marker": "v"},
    "siglip": {"color": "#009e73", "marker": "^"},
    "supervised": {"color": "#d55e00", "marker": "D"},
}


def choose(trainings: pl.DataFrame) -> pl.DataFrame:
    """Return the trainings of each objective's best setting, by mean in-distribution validation accuracy.

    The choice is per model and strength: settings of which fewer trainings diverged come first, and ties go
    to the first of the grid. Rows without a grid stay.
    """
    keys = ["model", "strength", "objective"]
    means = trainings.group_by(*keys, *RECIPE, maintain_order=True).agg(
        pl.col("validation").mean(), diverged=pl.col("validation").null_count()
    )
    best = means.sort("diverged", -pl.col("validation"), nulls_last=True, maintain_order=True)
    chosen = best.group_by(keys, maintain_order=True).first().drop("validation", "diverged")
    return trainings.join(chosen, on=[*keys, *RECIPE], nulls_equal=True, maintain_order="left")


def summarise(chosen: pl.DataFrame) -> pl.DataFrame:
    """Return mean and 95 % t interval over seeds of each measure (fractions) per setting of the study."""
    keys = ["model", "strength", "objective", *RECIPE]
    rows = []
    for key, group in chosen.group_by(keys, maintain_order=True):
        row = dict(zip(keys, key, strict=True)) | {"seeds": group["id"].count()}
        for name in MEASURES:
            mean, low, high, _ = interval(group[name].drop_nulls().to_numpy())
            if low is not None and high is not None:  # t intervals have no bounds, accuracies and drops do
                low, high = max(low, -1.0 if name == "drop" else 0.0), min(high, 1.0)
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    kinds = {f"{name}{end}": pl.Float64 for name in MEASURES for end in ("", "_low", "_high")}
    return pl.DataFrame(rows, schema_overrides=kinds, infer_schema_length=None)


def compare_objectives(chosen: pl.DataFrame, against: str = "obj") -> pl.DataFrame:
    """Return each objective minus ``against``, out of distribution and in drop, 95 % interval over seeds.

    Objectives of a seed share objects, colours, initial weights and batches, so differences are paired by
    seed. For a sweep, the mean over its strengths is also compared (``strength`` null). ``p_holm`` is
    corrected over the table. A seed with a diverged training is left out of that objective's comparison,
    since a mean over the strengths that are left would be compared with one over all.
    """
    swept = chosen.filter(pl.col("strength").is_not_null(), pl.col("objective") != ZERO_SHOT)
    at = main_strength(swept["strength"].unique().to_list())
    scopes: list[tuple[Strength, pl.DataFrame]] = [(at, swept.filter(strength=at))]
    if swept["strength"].n_unique() > 1:
        scopes.append((None, swept))
    rows = []
    for model in swept["model"].unique(maintain_order=True):
        for strength, scope in scopes:
            whole = pl.col("ood").null_count().over("model", "objective", "seed") == 0
            seeds = scope.filter(whole, model=model).group_by("objective", "seed")
            means = seeds.agg(pl.col("ood", "drop").mean())
            rows += list(_differences(means, against, {"model": model, "strength": strength}))
    kinds = dict.fromkeys(("strength", "difference", "low", "high", "p"), pl.Float64)
    schema = {"model": pl.String, "objective": pl.String, "measure": pl.String} | kinds
    frame = pl.DataFrame(rows, schema=schema | {"seeds": pl.Int64})
    return frame.with_columns(pl.Series("p_holm", holm(frame["p"]), pl.Float64))


def main_strength(strengths: Sequence[float]) -> float:
    """Return the paper's strength or, if it is not among these, the nearest one."""
    return min(strengths, key=lambda strength: (abs(strength - MAIN), strength))


def _differences(means: pl.DataFrame, against: str, scope: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    base = means.filter(objective=against).drop("objective")
    for objective in (name for name in NAMES if name in means["objective"].unique() and name != against):
        paired = means.filter(objective=objective).join(base, on="seed", suffix="_base").sort("seed")
        for measure in ("ood", "drop"):
            gaps = (paired[measure] - paired[f"{measure}_base"]).to_numpy()
            if len(gaps) == 0:
                continue
            mean, low, high, p = interval(gaps)
            found = {"objective": objective, "measure": measure, "difference": mean, "low": low, "high": high}
            rows.append(scope | found | {"p": p, "seeds": len(gaps)})
    return rows


def answer(results: pl.DataFrame) -> str:
    """Return the result at the paper's strength, over all models and objectives, in a sentence."""
    swept = results.filter(pl.col("strength").is_not_null(), pl.col("objective") != ZERO_SHOT)
    at = main_strength(swept["strength"].unique().to_list())
    rows = swept.filter(strength=at)
    return (
        f"Where the colour predicts the class of {100 * at:g} % of the training photos, accuracy is "
        f"{_range(rows['id'])} % on test photos coloured as in training (in distribution) and "
        f"{_range(rows['ood'])} % on the colour of another class (out of distribution)."
    )


def _range(values: pl.Series) -> str:
    ends = [values.min(), values.max()]
    return " to ".join(percent(end) for end in ends)  # type: ignore[arg-type]


def draw_sweep(results: pl.DataFrame, model: str) -> Figure:
    """Draw accuracy in (solid) and out of distribution (dashed) by strength, with the control at the left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    rows = results.filter(pl.col("objective") != ZERO_SHOT, model=model)
    control = min(rows["strength"].drop_nulls()) - 0.1
    rows = rows.with_columns(pl.col("strength").fill_null(control)).sort("strength")
    for place, (objective, look) in enumerate(_LOOKS.items()):
        mine = rows.filter(objective=objective)
        for measure, style, label in (("id", "-", NAMES[objective]), ("ood", "--", None)):
            mean, low, high = (100 * mine[f"{measure}{end}"].to_numpy() for end in ("", "_low", "_high"))
            axes.errorbar(
                100 * mine["strength"].to_numpy() + 0.6 * (place - 2),
                mean,
                np.abs([low - mean, high - mean]),
                linestyle=style,
                capsize=2,
                label=label if len(mine) else None,
                **look,
            )
    axes.axhline(100 / 9, color="#9aa3ad", linewidth=1, linestyle=":", label="chance")
    ticks = rows["strength"].unique().sort()
    axes.set_xticks(100 * ticks, ["unin-\nformative" if t == control else f"{100 * t:g}" for t in ticks])
    axes.set_ylim(0, 102)
    axes.set_xlabel("training photos on their class's colour (%)")
    axes.set_ylabel("accuracy (%); dashed: out of distribution")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e7eb", linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure
