"""A benchmark like Waterbirds with a second shortcut, and made-up predictions: four cells, two attributes.

Photos are drawn: a bird (a blob of its class's colour) on land or water, perhaps with a boat.
"""

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw

from counterground.metrics import Contrast, Design
from counterground.photos import Benchmark, LabelSpace, photo_id
from counterground.results import PREDICTIONS_SCHEMA, BenchmarkRecord, CandidatesRecord

BIRDS = {"landbird": (150, 90, 40), "waterbird": (240, 240, 250)}
GROUNDS = {"land": (96, 140, 60), "water": (60, 120, 180)}
DESIGN = Design(
    cells=("class_name", "place"),
    contrasts=(
        Contrast("place_gap", "place=land", "place=water"),
        Contrast("place_gap_held", "place=land", "place=water", ("class_name", "co_object")),
        Contrast("both_shortcuts", "place=water & co_object=boat", "place=land & co_object=nothing"),
        Contrast("training_gap", "average(training)", "all"),
    ),
    weights={
        "training": {
            ("landbird", "land"): 3498,
            ("landbird", "water"): 184,
            ("waterbird", "land"): 56,
            ("waterbird", "water"): 1057,
        }
    },
)
MODELS = {
    "open_clip:ViT-B-32/laion2b_s34b_b79k": (0.95, 0.62),
    "efficientnet-lite0": (0.88, 0.8),
    "torchvision:resnet50": (0.9, 0.75),
    "torchvision:vit_b_32": (0.8, 0.66),
}


def draw_bird(name, place, boat, rng):
    """One photo: 96 x 96 pixels."""
    ground = np.array(GROUNDS[place]) + rng.integers(-18, 18, (96, 96, 1)) + rng.integers(-8, 8, (96, 96, 3))
    picture = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 96, 30), fill=(170, 205, 235))
    if boat:
        draw.polygon([(8, 38), (40, 38), (34, 48), (14, 48)], fill=(120, 30, 30))
    x, y = rng.integers(34, 60), rng.integers(50, 68)
    draw.ellipse((x - 16, y - 10, x + 16, y + 10), fill=BIRDS[name])
    draw.ellipse((x + 8, y - 18, x + 22, y - 5), fill=BIRDS[name])
    draw.polygon([(x + 21, y - 13), (x + 29, y - 11), (x + 21, y - 9)], fill=(230, 160, 20))
    return picture


def photo_rows(folder, per_cell=36, seed=0):
    """Draw the photos into a folder; rows of a manifest."""
    rng, rows = np.random.default_rng(seed), []
    for index, name in enumerate(BIRDS):
        for place in GROUNDS:
            for number in range(per_cell):
                # One cell of the second shortcut is empty: a landbird on land has no boat.
                boat = number % 3 == 0 and (name, place) != ("landbird", "land")
                path = f"{name}/{place}-{number}.png"
                (folder / name).mkdir(parents=True, exist_ok=True)
                draw_bird(name, place, boat, rng).save(folder / path)
                rows.append(
                    {
                        "path": path,
                        "photo_id": photo_id(folder / path),
                        "class_index": index,
                        "class_name": name,
                        "background": None,
                        "group": None,
                        "cluster": f"{name}-{place}-{number % 18}",
                        "place": place,
                        "co_object": "boat" if boat else "nothing",
                    }
                )
    return rows


def predictions_of(rows, models):
    """What models answer: ``models`` are accuracies on land and on water; boats cost 10 points."""
    answers = []
    for seed, (model, levels) in enumerate(models.items()):
        rng = np.random.default_rng(seed)
        for row in rows:
            level = levels[row["place"] == "water"] - 0.1 * (row["co_object"] == "boat")
            right = bool(rng.random() < level)
            predicted = row["class_index"] if right else 1 - row["class_index"]
            answers.append(
                {
                    **row,
                    "model": model,
                    "names": "openai",
                    "prompts": "simple",
                    "protocol": "classification",
                    "answer_score": None,
                    "label_space": "benchmark",
                    "true_index": row["class_index"],
                    "predicted_index": predicted,
                    "predicted_name": list(BIRDS)[predicted],
                    "correct": right,
                    "true_rank": int(not right),
                    "confidence": float(rng.uniform(0.5, 0.99)),
                    "top2_gap": float(rng.uniform(0.01, 0.4)),
                    "loss_sum": None,
                    "loss_mean": None,
                }
            )
    further = {"place": pl.String, "co_object": pl.String}
    return pl.DataFrame(answers, schema={**PREDICTIONS_SCHEMA, **further})


@pytest.fixture(scope="session")
def four_cells(tmp_path_factory, make_run):
    """The run and its benchmark: Waterbirds-like cells, two attributes, four contrasts, training shares."""
    folder = tmp_path_factory.mktemp("waterbirds")
    rows = photo_rows(folder)
    predictions = predictions_of(rows, MODELS)
    plain = make_run(MODELS, classes=list(BIRDS), per_group=1, name="waterbirds-like", path="birds")
    info = plain.info.model_copy(
        update={
            "benchmark": BenchmarkRecord(
                name="waterbirds-like",
                version="cd34" * 16,
                n_photos=len(rows),
                notes=["The photos are drawn."],
                design=DESIGN.to_json(),
            ),
            "counts": plain.info.counts.model_copy(update={"photos": len(rows)}),
            "candidates": CandidatesRecord(name="benchmark", size=2, source="the classes"),
            "models": [
                model.model_copy(update={"kind": "dual_encoder"}) if ":ViT" in model.spec else model
                for model in plain.info.models
            ],
        }
    )
    run = type(plain)(plain.path, info, predictions)
    photos = pl.DataFrame(rows, schema_overrides={"background": pl.String, "group": pl.String})
    benchmark = Benchmark("waterbirds-like", folder, photos, LabelSpace("birds", tuple(BIRDS), (None, None)))
    return run, benchmark
