"""One method, fitted and chosen in each fold, and what its heads predict for photos they did not see."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from counterground.composites import Composite, MaskedPhoto
from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.inference import EncoderRun, Features, HeadOutcome
from counterground.mitigation._method import FitData, Input, MitigatedHead, Mitigation
from counterground.mitigation._split import Classes, Divided, Fold
from counterground.models import DualEncoder
from counterground.photos import Benchmark, UnreadablePhoto, photo_id
from counterground.text import counted


@dataclass(frozen=True)
class Bench:
    """What all methods share.

    Attributes:
        run: the features, and the model's own head.
        divided: the clusters, divided into parts.
        seed: seed for what methods draw.
        separate: whether objects and backgrounds are needed apart, and masks allow it.
        classes: which classes take part, as requested.
        masks: where the masks come from, as requested; None for the manifest.
    """

    run: EncoderRun
    divided: Divided
    seed: int
    separate: bool
    classes: Classes
    masks: str | None

    @property
    def side(self) -> np.ndarray:
        """``[n]``, the side of each photo: common, counter or None."""
        return self.divided.side

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds, with the photos that could be read."""
        return self.divided.rotation.folds(self.run.features.readable)

    @cached_property
    def inputs(self) -> dict[Input, np.ndarray]:
        """``[n, d]`` of the photos and, if they are needed and there are masks, of their parts."""
        found: dict[Input, np.ndarray] = {"photo": self.run.features.matrix}
        if self.separate:
            readable = self.run.features.readable
            for name, part in parts_of_photos(self.run.benchmark):
                found[name] = features_of(name, self.run.encode(part), readable)
        return found

    @cached_property
    def data(self) -> FitData:
        """All photos."""
        run, photos = self.run, self.run.benchmark.photos
        head, model = run.head, run.model
        width = self.inputs["photo"].shape[1]
        weights = np.eye(width, dtype=np.float32) if head.weights is None else head.weights
        texts = isinstance(model, DualEncoder)
        background = photos["background"]
        return FitData(
            features=self.inputs["photo"],
            class_index=self.run.true,
            background=np.array(background.to_list(), dtype=object),
            group=self.side,
            head=np.ascontiguousarray(weights[:, head.columns], dtype=np.float32),
            scale=float(head.scale),
            class_names=tuple(run.candidates.texts),
            background_names=tuple(background.drop_nulls().unique().sort()),
            encode_texts=run.encode_texts if texts else None,
            templates=run.templates if texts else (),
            background_features=self.inputs.get("background"),
            foreground_features=self.inputs.get("foreground"),
            seed=self.seed,
        )

    def part(self, rows: np.ndarray, *, labels: bool) -> FitData:
        """Return what a method is fitted on: some photos, with or without their backgrounds and groups."""
        data, rows = self.data, rows[self.run.true[rows] >= 0]
        unknown = np.full(len(rows), None, dtype=object)
        alone, removed = data.foreground_features, data.background_features
        return replace(
            data,
            features=data.features[rows],
            class_index=data.class_index[rows],
            head=data.head.copy(),  # as all arrays here: a method may change its own
            background=data.background[rows] if labels else unknown,
            group=data.group[rows] if labels else unknown,
            background_features=None if removed is None else removed[rows],
            foreground_features=None if alone is None else alone[rows],
        )

    def logits(self, head: MitigatedHead, rows: np.ndarray) -> np.ndarray:
        """Return ``[m, k]`` logits of some photos."""
        needed = {name: self.inputs[name][rows] for name in head.inputs}
        return head.logits(head.mix(needed))

    def worth(self, head: MitigatedHead, rows: np.ndarray, *, labels: bool) -> float:
        """Return how good a head is on the photos for choosing, with or without using their groups."""
        correct = self.run.correct(self.logits(head, rows), rows)
        classes, side = self.run.benchmark.photos["class_index"].to_numpy()[rows], self.side[rows]
        masks = [side == name for name in ("common", "counter")] if labels else [np.full(len(rows), True)]
        values = []
        for mask in masks:
            if mask.any():
                of_class = np.unique(classes[mask], return_inverse=True)[1]
                hits = np.bincount(of_class, weights=correct[mask])
                values.append(float((hits / np.bincount(of_class)).mean()))
        return min(values)


def why_no_parts(benchmark: Benchmark) -> str | None:
    """Return what is missing to separate objects from backgrounds, to follow "needs"; None if nothing is."""
    missing = benchmark.photos["mask"].null_count()
    if benchmark.made:
        return f"photos that are files, and those of {benchmark.name} are composites"
    if missing == len(benchmark.photos):
        return f"masks of the objects, and {benchmark.name} has none"
    if missing:
        return f"masks of all objects, and {counted(missing, 'photo')} of {benchmark.name} have none"
    return None


def mask_contents(benchmark: Benchmark) -> list[str]:
    """Return the SHA-256 of the mask of each photo, all of which have one.

    Raises:
        UsageError: a mask cannot be read.
    """
    with ThreadPoolExecutor() as threads:
        return list(threads.map(_content, map(benchmark.mask_path, benchmark.photos["mask"])))


def parts_of_photos(benchmark: Benchmark) -> Iterator[tuple[Input, Benchmark]]:
    """Yield what methods take besides the photos, with the same rows.

    Raises:
        UsageError: a mask cannot be read.
    """
    rows = benchmark.photos.select("path", "photo_id", "mask").rows()
    masked = {
        path: MaskedPhoto(benchmark.photo_path(path), photo, benchmark.mask_path(mask), content)
        for (path, photo, mask), content in zip(rows, mask_contents(benchmark), strict=True)
    }
    recipes: dict[Input, dict[str, Composite]] = {
        "foreground": {path: Composite(each, None) for path, each in masked.items()},
        "background": {path: Composite(None, each) for path, each in masked.items()},
    }
    for name, made in recipes.items():
        names = pl.Series("photo_id", [recipe.photo_id for recipe in made.values()])
        yield name, replace(benchmark, photos=benchmark.photos.with_columns(names), made=made)


def features_of(part: Input, features: Features, readable: np.ndarray) -> np.ndarray:
    """Return the features of a part, ``[n, d]``.

    Raises:
        CounterGroundError: a photo that can be read cannot be taken apart.
    """
    lost = np.flatnonzero(readable & ~features.readable)
    if len(lost):
        raise CounterGroundError(
            f"The {part} of {counted(len(lost), 'photo')} cannot be shown alone "
            f"({features.reasons[int(lost[0])]}): correct the masks, or leave out the methods that need them."
        )
    return features.matrix


def _content(mask: Path) -> str:
    try:
        return photo_id(mask)
    except UnreadablePhoto as error:
        raise UsageError(f"The mask {error.path} cannot be read: {error.reason}.") from error


@dataclass(frozen=True)
class Tried:
    """One method: the head and the setting of each fold, and a head fitted on all photos.

    ``tried`` is the number of settings, ``seconds`` is processor time.
    """

    method: Mitigation
    heads: tuple[MitigatedHead, ...]
    settings: tuple[dict[str, Any], ...]
    final: MitigatedHead
    final_setting: dict[str, Any]
    tried: int
    seconds: float


def try_method(method: Mitigation, bench: Bench) -> Tried:
    """Fit and choose in each fold.

    Raises:
        UsageError: the method cannot be fitted on these photos.
        CounterGroundError: it fails, or returns something other than logits.
    """
    started = time.process_time()
    grid = list(_grid(method))
    heads, settings = [], []
    for fold in bench.folds:
        data = bench.part(fold.fit, labels=method.group_labels == "fit")
        fitted = [_fit(method, data, setting, bench, fold.choose) for setting in grid]
        best = 0
        if len(grid) > 1:
            labels = method.group_labels != "none"
            best = int(np.argmax([bench.worth(each, fold.choose, labels=labels) for each in fitted]))
        heads.append(fitted[best])
        settings.append(grid[best])
    votes = Counter(grid.index(each) for each in settings)
    often = max(votes, key=lambda place: (votes[place], -place))
    rows = np.flatnonzero(bench.run.features.readable)
    data = bench.part(rows, labels=method.group_labels == "fit")
    final = _fit(method, data, grid[often], bench, rows[:1])
    seconds = round(time.process_time() - started, 2)
    return Tried(method, tuple(heads), tuple(settings), final, grid[often], len(grid), seconds)


def _grid(method: Mitigation) -> Iterator[dict[str, Any]]:
    names = list(method.settings)
    for values in product(*method.settings.values()):
        yield dict(zip(names, values, strict=True))


def _fit(
    method: Mitigation, data: FitData, setting: dict[str, Any], bench: Bench, tested: np.ndarray
) -> MitigatedHead:
    """Fit one setting, and check that it gives logits."""
    try:
        head = method.fit(data, **setting)
        logits = bench.logits(head, tested)
    except CounterGroundError:
        raise
    except Exception as error:
        own = (str(getattr(method.fit, "__module__", "")).partition(".")[0],)
        raise CounterGroundError(f"The method {method.name} failed: {error_summary(error, own)}.") from error
    expected = (len(tested), data.head.shape[1])
    if logits.shape != expected or np.isnan(logits).any():
        raise CounterGroundError(
            f"The method {method.name} returned logits {logits.shape} for {len(tested)} photos; expected "
            f"{expected}, without NaN."
        )
    return head


def outcome_of(tried: Tried, bench: Bench) -> HeadOutcome:
    """Predict every photo with the head that saw nothing of its cluster."""
    name = f"{bench.run.model.display_name} + {tried.method.name}"
    settings = list(tried.settings)
    about: dict[str, Any] = {
        "mitigation": {"method": tried.method.name, "settings": settings, "seed": bench.seed}
    }
    if bench.classes != "all":
        about["mitigation"]["classes"] = bench.classes
    if bench.masks is not None:
        about["mitigation"]["masks"] = bench.masks
    digest = hashlib.sha256()
    for head in tried.heads:
        digest.update(json.dumps(dict(head.inputs), sort_keys=True).encode())
        for array in (head.weight, head.bias, head.projection, head.shift):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return HeadOutcome(name, _predictions_of(tried, bench, name), about, digest.hexdigest())


def _predictions_of(tried: Tried, bench: Bench, name: str) -> pl.DataFrame:
    """Return what a model called ``name`` predicts: each photo by the head of the fold that judges it."""
    part = bench.divided.rotation.part

    def score(rows: np.ndarray) -> np.ndarray:
        found: np.ndarray | None = None
        for number in np.unique(part[rows]):
            here = part[rows] == number
            logits = bench.logits(tried.heads[number], rows[here])
            found = np.empty((len(rows), logits.shape[1]), np.float32) if found is None else found
            found[here] = logits
        assert found is not None
        return found

    return bench.run.predictions(name, score)
