"""From trainings to answers: choice of settings, intervals over seeds, comparisons, the figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from counterground.metrics import holm
from counterground.paper.study._seeds import interval
from counterground.paper.study.coco._objects import Strength
from counterground.paper.study.coco._trials import MEAN_CAPTION, ZERO_SHOT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
_COLOURS = {
    "obj": "#0072b2",
    "objbkg": "#56b4e9",
    MEAN_CAPTION: "#cc79a7",
    "siglip": "#009e73",
    "supervised": "#d55e00",
}
_SHAPES = {"obj": "o", "objbkg": "s", MEAN_CAPTION: "v", "siglip": "^", "supervised": "D"}
RECIPE = ["learning_rate", "weight_decay", "warmup_steps"]


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


def answer(results: pl.DataFrame, comparisons: pl.DataFrame) -> str:
    """Return the result for the first model, in a sentence or two."""
    model = results["model"][0]
    trained = results.filter(pl.col("objective") != ZERO_SHOT, model=model)
    swept = trained.filter(pl.col("strength").is_not_null())
    at = main_strength(swept["strength"].unique().to_list())
    rows = swept.filter(strength=at)
    leans = rows["drop_low"].null_count() == 0 and rows["drop_low"].to_numpy().min() > 0
    lean = ", all objectives rely on it" if leans else ""
    whose = f"{model}: where" if results["model"].n_unique() > 1 else "Where"
    text = (
        f"{whose} the colour predicts the class of {100 * at:g} % of the training photos{lean}: "
        f"accuracy is {_range(rows['id'])} % on test photos coloured as in training (in distribution), "
        f"{_range(rows['ood'])} % on the colour of another class (out of distribution); "
    )
    if rows["seeds"].to_numpy().max() < 2:
        text += "one seed is not enough to compare the objectives."
    else:
        text += _verdict(comparisons.filter(model=model, strength=at, measure="ood"))
    control = trained.filter(pl.col("strength").is_null())
    if len(control):
        text += f" Where colours are uninformative the drop is {_range(control['drop'])} points."
    return text


def _range(values: pl.Series) -> str:
    if values.null_count() == len(values):
        return "–"
    low, high = (round(100 * float(value)) for value in (values.min(), values.max()))  # type: ignore[arg-type]
    return f"{low}" if low == high else f"{low} to {high}"


def _verdict(rows: pl.DataFrame) -> str:
    if not len(rows):
        return f"no objective was compared with another: that takes {NAMES['obj']} and one more."
    rows = rows.filter(pl.col("low").is_not_null())
    if not len(rows):
        return f"after leaving out diverged trainings, no objective shares two seeds with {NAMES['obj']}."
    significant = rows.filter(pl.col("p_holm") < 0.05)
    shown = significant if len(significant) else rows
    parts = [
        f"{NAMES[row['objective']]} {100 * row['difference']:+.1f} points "
        f"[{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
        for row in shown.to_dicts()
    ]
    counts = sorted(set(shown["seeds"].to_list()))
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    found = (
        "significantly different" if len(significant) else "no caption and no objective differs significantly"
    )
    against = f"from {NAMES['obj']} out of distribution, over {seeds} seeds"
    return f"{found} {against}: {'; '.join(parts)}."


def draw_sweep(results: pl.DataFrame, model: str) -> Figure:
    """Draw accuracy in (solid) and out of distribution (dashed) by strength, with the control at the left."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    rows = results.filter(pl.col("objective") != ZERO_SHOT, model=model)
    strengths = sorted(rows["strength"].drop_nulls().unique())
    control = strengths[0] - 0.1
    present = [name for name in _COLOURS if name in rows["objective"].unique()]
    for place, objective in enumerate(present):
        shift = 0.006 * (place - (len(present) - 1) / 2)
        mine = rows.filter(objective=objective)
        _draw_objective(axes, mine, objective, shift, control)
    axes.axhline(100 / 9, color="#9aa3ad", linewidth=1, linestyle=":")
    axes.annotate(
        "chance", (max(strengths), 100 / 9), xytext=(4, 3), textcoords="offset points", color="#5b6470"
    )
    ticks = ([control] if rows["strength"].is_null().any() else []) + strengths
    axes.set_xticks(ticks, ["unin-\nformative" if tick == control else f"{100 * tick:g}" for tick in ticks])
    axes.set_ylim(0, 102)
    axes.set_xlabel("training photos on their class's colour (%)")
    axes.set_ylabel("accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e3e7eb", linewidth=0.8)
    marks = [
        Line2D([], [], color=_COLOURS[name], marker=_SHAPES[name], label=NAMES[name]) for name in present
    ]
    marks += [
        Line2D([], [], color="#5b6470", linestyle="-", label="in distribution"),
        Line2D([], [], color="#5b6470", linestyle="--", label="out of distribution"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_objective(axes: Axes, rows: pl.DataFrame, objective: str, shift: float, control: float) -> None:
    look: dict[str, Any] = {"color": _COLOURS[objective], "marker": _SHAPES[objective], "markersize": 5}
    for measure, style in (("id", "-"), ("ood", "--")):
        swept = rows.filter(pl.col("strength").is_not_null()).sort("strength")
        x = swept["strength"].to_numpy() + shift
        for at, part, line in (
            (x, swept, style),
            (np.array([control + shift]), rows.filter(pl.col("strength").is_null()), "none"),
        ):
            if not len(part):
                continue
            mean = 100 * part[measure].to_numpy()
            ends = [
                100 * part[f"{measure}_{end}"].fill_null(part[measure]).to_numpy() for end in ("low", "high")
            ]
            reach = np.abs(np.array(ends) - mean)
            axes.errorbar(at, mean, reach, linestyle=line, capsize=2, elinewidth=1, **look)
