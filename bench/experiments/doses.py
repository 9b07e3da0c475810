"""A dose-response: how much planted reliance is there on photographs never trained on, and is it found?

for dose in 25 50 75; do
  python -m counterground.paper.training stamps-biased --dose $dose --out DIR/$dose; done
python bench/experiments/doses.py DIR                 # with the two shipped models, which are the ends
python bench/experiments/doses.py DIR --figure docs/images/doses.png

The dose is the percentage of training photos on the background planted on their caption's class. Nothing is
planted in stamps-balanced: its dose is what chance gives, one in six. Docs: docs/research/doses.md.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

import counterground as cg
from _planted_accuracy import class_head, encode_photos, held_out_photos, planted_accuracy
from counterground.benchmarks import load_backgrounds, load_cutouts
from counterground.discovery import find_pairs
from counterground.metrics import drop_interval
from counterground.models import load_model
from counterground.paper.training import plan_stamps
from counterground.photos import imagenet_names, prompt_templates

BALANCED, BIASED = "counterground:stamps-balanced", "counterground:stamps-biased"
HEADER = (
    "| dose, % | planted | elsewhere | difference | discovered, half of `stamps` | pairs, of them planted "
    "| p < 0.05 | discovered, photographs never trained on |\n" + 8 * "|---" + "|"
)


def answers(model, plan, photos):
    """Rows as in predictions.parquet: 1 vs. 1000, simple prompts; the photograph is the cluster."""
    every = imagenet_names("openai")
    head = class_head(model, every, prompt_templates("simple"))
    scores = encode_photos(model, photos) @ head.T
    true = scores[np.arange(len(scores)), np.array(plan.imagenet)[photos.classes]]
    rank = (scores > true[:, None]).sum(axis=1)
    return pl.DataFrame(
        {
            "path": [f"{place}.jpg" for place in range(len(photos.files))],
            "class_index": photos.classes.astype(np.int32),
            "class_name": [plan.names[index] for index in photos.classes],
            "background": [plan.labels[label] for label in photos.labels],
            "cluster": list(photos.files),
            "model": ["model"] * len(rank),
            "correct": rank == 0,
            "true_rank": rank.astype(np.int32),
        }
    ).with_columns(group=pl.lit(None, pl.String), confidence=pl.lit(None, pl.Float32))


def drop_of(rows, group):
    found = drop_interval(
        *(rows[name].to_numpy() for name in ("correct", "class_index")), group, rows["cluster"]
    )
    return found.value, found.low, found.high


def on_pairs(rows, pairs):
    """Drop of pairs on photos other than those that chose them."""
    named = rows.join(pairs.select("class_index", "common", "counter"), on="class_index")
    group = named.select(
        pl.when(pl.col("background") == pl.col("common"))
        .then(pl.lit("common"))
        .when(pl.col("background") == pl.col("counter"))
        .then(pl.lit("counter"))
    ).to_series()
    return drop_of(named.filter(group.is_not_null()), group.drop_nulls())


def judge(spec, plan, seen, unseen, splits):
    """Return the figures of a row, as fractions."""
    model = load_model(spec, device="cpu")
    chosen_on, measured_on = answers(model, plan, seen), answers(model, plan, unseen)
    planted_label = pl.Series([plan.labels[plan.planted[c]] for c in range(len(plan.names))])
    is_planted = measured_on["background"] == planted_label.gather(measured_on["class_index"])
    group = pl.select(pl.when(is_planted).then(pl.lit("common")).otherwise(pl.lit("counter"))).to_series()
    accuracy = planted_accuracy(plan, unseen, measured_on["correct"].to_numpy())
    with tempfile.TemporaryDirectory() as folder:
        run = cg.evaluate("stamps", {"model": spec}, out=Path(folder) / "run", report=False)
        predictions = run.predictions
    named = dict(zip(plan.names, planted_label, strict=True))
    halves, pairs, planted, clear = [], [], [], []
    for seed in range(splits):
        found, _ = find_pairs(predictions, seed=seed, permutations=199)
        halves.append([getattr(found.reported_drop, end) for end in ("value", "low", "high")])
        pairs.append(len(found.pairs))
        planted.append(
            sum(named[row["class_name"]] == row["common"] for row in found.pairs.iter_rows(named=True))
        )
        clear.append(found.exceeds_chance)
    seen_pairs, _ = find_pairs(chosen_on, split="none", permutations=1)
    return {
        "planted": accuracy.planted,
        "elsewhere": accuracy.elsewhere,
        "difference": drop_of(measured_on, group),
        "halves": np.mean(halves, axis=0),
        "pairs": np.mean(pairs),
        "right": np.mean(planted),
        "clear": np.mean(clear),
        "unseen": on_pairs(measured_on, seen_pairs.pairs),
        "labels": [
            rows.group_by("background").agg(pl.col("correct").mean()).sort("background")["correct"]
            for rows in (chosen_on, measured_on)
        ],
    }


def points(figure):
    value, low, high = (100 * each for each in figure)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def line(dose, row):
    cells = [
        f"{dose:.0f}",
        f"{100 * row['planted']:.1f}",
        f"{100 * row['elsewhere']:.1f}",
        points(row["difference"]),
        points(row["halves"]),
        f"{row['pairs']:.0f}, {row['right']:.0f}",
        f"{100 * row['clear']:.0f} %",
        points(row["unseen"]),
    ]
    return "| " + " | ".join(cells) + " |"


def draw(rows, file):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    series = {
        "halves": ("discovered, held-out half of stamps", "#0072b2", "o"),
        "unseen": ("discovered, photographs never trained on", "#d55e00", "s"),
        "difference": ("planted minus elsewhere, photographs never trained on", "#6b7280", "^"),
    }
    for place, (name, (label, colour, mark)) in enumerate(series.items()):
        values = 100 * np.array([row[name] for row in rows.values()])
        axes.errorbar(
            np.array(list(rows)) + place - 1,
            values[:, 0],
            np.abs(values[:, 1:].T - values[:, 0]),
            fmt=f"{mark}-",
            color=colour,
            label=label,
        )
    axes.axhline(0, color="#1c2024", linewidth=0.8)
    axes.set_xlabel("training photos on the background planted on their caption's class (%)")
    axes.set_ylabel("points, with 95 % intervals")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside upper left", fontsize=8)
    figure.savefig(file, dpi=150)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, help="folder of the trained doses, each in a folder so named")
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    cutouts, backgrounds = load_cutouts(options.packages), load_backgrounds(options.packages)
    plan = plan_stamps(cutouts, backgrounds)
    seen, unseen = (
        held_out_photos(plan, cutouts, backgrounds, reserved=reserved) for reserved in (False, True)
    )
    trained = sorted(int(folder.name) for folder in options.models.iterdir() if folder.name.isdigit())
    specs = {100 / len(plan.labels): BALANCED}
    specs |= {dose: f"open_clip:{options.models / str(dose)}" for dose in trained}
    specs |= {95: BIASED}
    print(HEADER)
    rows = {}
    for dose, spec in specs.items():
        rows[dose] = judge(spec, plan, seen, unseen, options.splits)
        print(line(dose, rows[dose]), flush=True)
    print("\nAccuracy by label, percent: photographs of the training, and (in brackets) never trained on\n")
    print("| dose, % | " + " | ".join(plan.labels) + " |\n" + "|---" * (1 + len(plan.labels)) + "|")
    for dose, row in rows.items():
        cells = [f"{100 * known:.0f} ({100 * new:.0f})" for known, new in zip(*row["labels"], strict=True)]
        print(f"| {dose:.0f} | " + " | ".join(cells) + " |")
    if options.figure:
        draw(rows, options.figure)


if __name__ == "__main__":
    main()
