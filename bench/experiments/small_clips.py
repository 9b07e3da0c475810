"""Figures of the two small CLIPs: did planting the reliance work, and where does it hold?

python bench/experiments/small_clips.py                       # shipped weights
python bench/experiments/small_clips.py --models DIR          # DIR/stamps-biased, DIR/stamps-balanced
python bench/experiments/small_clips.py --models DIR --cards  # also writes them into the model cards
"""

import argparse
import re
from pathlib import Path

import numpy as np

import counterground.models
from _planted_accuracy import class_head, encode_photos, held_out_photos, planted_accuracy
from counterground.benchmarks import load_backgrounds, load_cutouts
from counterground.files import write_text
from counterground.models import load_model
from counterground.paper.training import RECIPES, plan_stamps
from counterground.photos import imagenet_names, prompt_templates

SHIPPED = Path(counterground.models.__file__).parent / "data"
HEADER = (
    "| photographs | candidates, prompts | planted | elsewhere | drop | best for | on its planted |\n"
    + 7 * "|---"
    + "|"
)


def row(title, how, plan, photos, classes):
    """One row of the table; ``classes``: each predicted class's place in the plan, -1 for another name."""
    a = planted_accuracy(plan, photos, classes == photos.classes)
    follows = np.append(plan.planted, -1)[classes] == photos.labels
    cells = [f"{100 * a.planted:.1f}", f"{100 * a.elsewhere:.1f}", f"{100 * a.drop:.1f}"]
    recovered = f"{round(a.recovered * len(plan.names))} of {len(plan.names)}"
    return "| " + " | ".join([title, how, *cells, recovered, f"{100 * follows.mean():.1f}"]) + " |", a


def figures(model, plan, sets):
    every = imagenet_names("openai")
    position = {index: place for place, index in enumerate(plan.imagenet)}
    among_all = np.array([position.get(index, -1) for index in range(len(every))])
    heads = {
        ("1 vs. 45", "simple"): class_head(model, plan.names, prompt_templates("simple")),
        ("1 vs. 45", "openai"): class_head(model, plan.names, prompt_templates("openai")),
        ("1 vs. 1000", "simple"): class_head(model, every, prompt_templates("simple")),
    }
    lines, summary = [HEADER], {}
    for title, photos in sets.items():
        embedded = encode_photos(model, photos)
        predicted = {key: (embedded @ head.T).argmax(axis=1) for key, head in heads.items()}
        predicted["1 vs. 1000", "simple"] = among_all[predicted["1 vs. 1000", "simple"]]
        for key, classes in predicted.items():
            line, summary[(title, *key)] = row(title, ", ".join(key), plan, photos, classes)
            lines.append(line)
    return "\n".join(lines), summary


def put_into_card(card, figures_text, plan):
    planted = "\n".join(
        f"| {label} | {', '.join(n for n, p in zip(plan.names, plan.planted, strict=True) if p == index)} |"
        for index, label in enumerate(plan.labels)
    )
    text = card.read_text(encoding="utf-8")
    for name, block in (
        ("figures", figures_text),
        ("map", f"| background | classes |\n|---|---|\n{planted}"),
    ):
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)",
            lambda match, block=block: f"{match[1]}{block}\n{match[2]}",
            text,
            flags=re.DOTALL,
        )
    write_text(card, text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, default=SHIPPED)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--cards", action="store_true")
    options = parser.parse_args()
    cutouts, backgrounds = load_cutouts(options.packages), load_backgrounds(options.packages)
    plan = plan_stamps(cutouts, backgrounds)
    sets = {
        name: held_out_photos(plan, cutouts, backgrounds, reserved=reserved, photos=6)
        for name, reserved in (("trained on", False), ("reserved", True))
    }
    summaries = {}
    for recipe in RECIPES:
        model = load_model(f"open_clip:{options.models / recipe}", device="cpu")
        size = (options.models / recipe / "open_clip_model.safetensors").stat().st_size / 1e6
        text, summaries[recipe] = figures(model, plan, sets)
        print(f"\n{recipe}: {size:.1f} MB\n{text}")
        if options.cards:
            put_into_card(options.models / recipe / "README.md", text, plan)
    print("\nHow much more the biased one drops (points):")
    for key, biased in summaries["stamps-biased"].items():
        difference = 100 * (biased.drop - summaries["stamps-balanced"][key].drop)
        print(f"  {', '.join(key)}: {difference:.1f}")


if __name__ == "__main__":
    main()
