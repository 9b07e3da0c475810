"""A dose-response of `counterground swap`: planted reliance against the causal effect that is found.

python bench/experiments/swap_doses.py [FOREGROUNDS]    # objects of 180 photos by default

Each model sees an object and a background in the pixels of a photo of ``stamps``, as well as two linear
probes on EfficientNet-Lite0 do. With a probability equal to its dose, it believes the background; the draw
depends on the object and the rough layout of the photo. Then it answers with the likeliest class of those
for which this background is common. Otherwise it answers with the likeliest of all. Each class has a common
and a counter background among three.

The direct count asks the models themselves: what would each have answered to each of these composites if it
had seen the common background, and what if it had seen the counter one, all else unchanged? The difference
in accuracy is what the background causes in the model. No estimate of the package is involved.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image
from sklearn.linear_model import RidgeClassifier

import counterground as cg
from counterground.composites import plan_swap
from counterground.models import load_model
from counterground.photos import Benchmark, load_photo
from counterground.settings import SwapSettings

DOSES = (0, 25, 50, 75, 95)
LABELS = ("grass", "sky", "water")
PER_CLASS_AND_LABEL = 4
COSTS = {"pasted_cost": "pasted", "refilled_cost": "refilled", "same_label_cost": "same label"}


_STEP = 0.4  # of brightness, whose range in photos is about 4


def _digest(numbers: np.ndarray) -> bytes:
    return hashlib.sha256(numbers.tobytes()).digest()


class Sight:
    """What all models see: the scores of each class and the background, computed once for each photo."""

    def __init__(self, benchmark: Benchmark) -> None:
        self._lite = load_model("efficientnet-lite0", device="cpu")
        self.preprocess = self._lite.preprocess
        self.names = list(benchmark.classes.names)
        self._seen: dict[bytes, tuple[np.ndarray, int, float]] = {}
        taken = benchmark.photos.select(pl.all().shuffle(seed=0))
        taken = taken.group_by("class_index", "background").head(PER_CLASS_AND_LABEL)
        pictures = [Image.open(benchmark.photo_path(path)).convert("RGB") for path in taken["path"]]
        inputs = [self.preprocess(picture) for picture in pictures]
        features = np.concatenate(
            [self._features(torch.stack(inputs[at : at + 32])) for at in range(0, len(inputs), 32)]
        )
        self.objects = RidgeClassifier(30.0).fit(features, taken["class_index"])
        self.backgrounds = RidgeClassifier(30.0).fit(
            features, [LABELS.index(label) for label in taken["background"]]
        )

    def _features(self, batch: torch.Tensor) -> np.ndarray:
        logits = self._lite.encode(batch).numpy()
        small = torch.nn.functional.adaptive_avg_pool2d(batch, 7).flatten(1).numpy()
        return np.concatenate([logits, 3 * small], axis=1)

    def __call__(self, batch: torch.Tensor) -> list[tuple[np.ndarray, int, float]]:
        """Return for each photo the class scores, the background and a number in [0, 1)."""
        keys = [_digest(photo.numpy()) for photo in batch]
        new = [place for place, key in enumerate(keys) if key not in self._seen]
        if new:
            features = self._features(batch[new])
            found = zip(
                new,
                self.objects.decision_function(features),
                self.backgrounds.predict(features),
                strict=True,
            )
            for place, scores, background in found:
                # A photo pasted onto itself should draw the same.
                rough = torch.nn.functional.adaptive_avg_pool2d(batch[place].mean(0, keepdim=True), 3)
                gist = np.round(rough.numpy() / _STEP).astype(np.int8)
                number = int.from_bytes(_digest(np.append(gist, scores.argmax()))[:7]) / 256**7
                self._seen[keys[place]] = (scores, int(background), number)
        return [self._seen[key] for key in keys]


class Planted(torch.nn.Module):
    """A classifier that believes the background in a share of photos; ``common[k]`` is class k's label."""

    def __init__(self, sight: Sight, dose: float, common: np.ndarray, counter: np.ndarray) -> None:
        super().__init__()
        self._sight, self._dose, self._common, self._counter = sight, dose, common, counter
        # Features are stored under a fingerprint of the buffers.
        self.register_buffer("dose", torch.tensor(dose))
        self.register_buffer("step", torch.tensor(_STEP))
        self.register_buffer("labels", torch.tensor(np.array([common, counter])))
        self.register_buffer("probe", torch.tensor(sight.objects.coef_))
        self.register_buffer("probe_of_background", torch.tensor(sight.backgrounds.coef_))

    def _answer(self, scores: np.ndarray, background: int, number: float) -> np.ndarray:
        believed = number < self._dose
        return np.where(self._common == background, scores, scores - 100) if believed else scores

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Return logits ``[n, classes]``."""
        seen = self._sight(batch)
        return torch.tensor(np.array([self._answer(*each) for each in seen]), dtype=torch.float32)

    def caused(self, batch: torch.Tensor, classes: np.ndarray) -> np.ndarray:
        """Return right on common minus right on counter, had that background been seen ``[n]``."""
        right = [
            [
                self._answer(scores, wanted[index], number).argmax() == index
                for wanted in (self._common, self._counter)
            ]
            for (scores, _, number), index in zip(self._sight(batch), classes, strict=True)
        ]
        return np.array(right, float) @ [1, -1]


def with_groups(stamps: Benchmark) -> Benchmark:
    """Return photos of three labels; each class has one of them as common and one as counter."""
    first = pl.col("class_index") % len(LABELS)
    label = pl.col("background").replace_strict({name: at for at, name in enumerate(LABELS)}, default=None)
    turn = (label.cast(pl.Int64) - first.cast(pl.Int64)) % len(LABELS)
    group = pl.when(turn == 0).then(pl.lit("common")).when(turn == 1).then(pl.lit("counter"))
    photos = stamps.photos.filter(pl.col("background").is_in(LABELS)).with_columns(group=group)
    return Benchmark(
        stamps.name, stamps.root, photos, stamps.classes, stamps.notes, masks_root=stamps.masks_root
    )


def direct_counts(
    models: dict[str, Planted], sight: Sight, benchmark: Benchmark, rows: pl.DataFrame
) -> dict[str, float]:
    """Return what the background causes in each model, in points: the mean over the composites' classes."""
    caused: dict[str, list[float]] = {name: [] for name in models}
    for part in rows.iter_slices(32):
        pictures = [load_photo(benchmark.photo_source(path)).image for path in part["path"]]
        batch = torch.stack([sight.preprocess(picture) for picture in pictures])
        for name, model in models.items():
            caused[name].extend(model.caused(batch, part["class_index"].to_numpy()))
    answers = [pl.Series(name, values) for name, values in caused.items()]
    by_class = rows.with_columns(answers).group_by("class_index").agg(pl.mean(*models))
    return {name: 100 * by_class[name].to_numpy().mean() for name in models}


def shown(effects: dict[str, Any], name: str) -> str:
    row = effects[name]
    return f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def main() -> None:
    """Print the table."""
    foregrounds = int(sys.argv[1]) if len(sys.argv) > 1 else 180
    start = time.process_time()
    benchmark = with_groups(cg.open_benchmark("stamps"))
    common = np.arange(len(benchmark.classes.names)) % len(LABELS)
    sight = Sight(benchmark)
    models = {
        f"dose {dose}": Planted(sight, dose / 100, common, (common + 1) % len(LABELS)) for dose in DOSES
    }
    kinds = ("original", "pasted", "refilled", "same", "other")
    with tempfile.TemporaryDirectory() as folder:
        run = cg.swap(
            benchmark,
            {name: (model, sight.preprocess, sight.names) for name, model in models.items()},
            out=Path(folder) / "run",
            kinds=kinds,
            foregrounds=foregrounds,
            label_space="benchmark",
            settings=SwapSettings(runtime="eager"),
            report=False,
        )
        effects, predictions = run.effects(by_class=False), run.predictions
    print(f"{len(predictions) // len(DOSES):,} composites, {datetime.now(UTC):%Y-%m-%d}")
    print("| dose, % | direct count | background effect | difference | " + " | ".join(COSTS.values()) + " |")
    print("|---|" + "---|" * (3 + len(COSTS)))
    made = plan_swap(benchmark, SwapSettings(kinds=kinds, foregrounds=foregrounds))
    rows = made.photos.filter(pl.col("swap").is_in(["same", "other"]), pl.col("group").is_not_null())
    for name, counted in direct_counts(models, sight, made, rows).items():
        found = {
            row["metric"]: row
            for row in effects.filter(model=name).iter_rows(named=True)
            if row["background"] is None
        }
        caused = 100 * found["background_effect"]["value"]
        cells = [f"{counted:.1f}", shown(found, "background_effect"), f"{caused - counted:+.1f}"]
        print(
            f"| {name.split()[1]} | {' | '.join(cells + [shown(found, cost) for cost in COSTS])} |",
            flush=True,
        )
    print(f"{time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
