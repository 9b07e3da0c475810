"""One method, fitted and chosen in each fold, and what its heads predict for photos they did not see."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from counterground.composites import Composite, MaskedPhoto
from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.inference import EncoderRun, HeadOutcome
from counterground.mitigation._method import FitData, Input, MitigatedHead, Mitigation
from counterground.mitigation._split import Divided, Fold
from counterground.models import DualEncoder
from counterground.photos import Benchmark, UnreadablePhoto, photo_id
from counterground.text import counted

_OF_PHOTOS = (
    *("features", "class_index", "background", "group"),
    *("background_features", "foreground_features"),
)


@dataclass(frozen=True)
class Bench:
    """What all methods share.

    Attributes:
        run: the features, and the model's own head.
        divided: the clusters, divided into parts.
        asked: what was requested besides methods: seed, classes and masks, as records name them.
        mask_ids: the SHA-256 of each photo's mask; empty unless objects and backgrounds are needed apart.
    """

    run: EncoderRun
    divided: Divided
    asked: Mapping[str, Any]
    mask_ids: Sequence[str]

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds, with the photos that could be read."""
        return self.divided.rotation.folds(self.run.features.readable)

    @cached_property
    def inputs(self) -> dict[Input, np.ndarray]:
        """``[n, d]`` of the photos and, if they are needed apart, of their objects and backgrounds.

        Raises:
            CounterGroundError: a photo that can be read cannot be taken apart.
        """
        whole, benchmark = self.run.features, self.run.benchmark
        found: dict[Input, np.ndarray] = {"photo": whole.matrix}
        if not self.mask_ids:
            return found
        rows = benchmark.photos.select("path", "photo_id", "mask").rows()
        masked = {
            path: MaskedPhoto(benchmark.photo_path(path), photo, benchmark.mask_path(mask), content)
            for (path, photo, mask), content in zip(rows, self.mask_ids, strict=True)
        }
        parts: dict[Input, dict[str, Composite]] = {
            "foreground": {path: Composite(each, None) for path, each in masked.items()},
            "background": {path: Composite(None, each) for path, each in masked.items()},
        }
        for name, made in parts.items():
            names = pl.Series("photo_id", [recipe.photo_id for recipe in made.values()])
            part = replace(benchmark, photos=benchmark.photos.with_columns(names), made=made)
            features = self.run.encode(part)
            if len(lost := np.flatnonzero(whole.readable & ~features.readable)):
                raise CounterGroundError(
                    f"The {name} of {counted(len(lost), 'photo')} cannot be shown alone "
                    f"({features.reasons[int(lost[0])]}): correct the masks, or leave out the methods that "
                    "need them."
                )
            found[name] = features.matrix
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
            group=self.divided.side,
            head=np.ascontiguousarray(weights[:, head.columns], dtype=np.float32),
            scale=float(head.scale),
            class_names=tuple(run.candidates.texts),
            background_names=tuple(background.drop_nulls().unique().sort()),
            encode_texts=run.encode_texts if texts else None,
            templates=run.templates if texts else (),
            background_features=self.inputs.get("background"),
            foreground_features=self.inputs.get("foreground"),
            seed=self.asked["seed"],
        )

    def part(self, rows: np.ndarray, *, labels: bool) -> FitData:
        """Return what a method is fitted on: some photos, with or without their backgrounds and groups."""
        rows = rows[self.run.true[rows] >= 0]
        every = {name: getattr(self.data, name) for name in _OF_PHOTOS}
        chosen: dict[str, Any] = {
            name: None if array is None else array[rows] for name, array in every.items()
        }
        if not labels:
            chosen |= dict.fromkeys(("background", "group"), np.full(len(rows), None, dtype=object))
        return replace(self.data, head=self.data.head.copy(), **chosen)  # a method may change its own arrays

    def logits(self, head: MitigatedHead, rows: np.ndarray) -> np.ndarray:
        """Return ``[m, k]`` logits of some photos."""
        needed = {name: self.inputs[name][rows] for name in head.inputs}
        return head.logits(head.mix(needed))

    def worth(self, head: MitigatedHead, rows: np.ndarray, *, labels: bool) -> float:
        """Return how good a head is on the photos for choosing, with or without using their groups."""
        correct = self.run.correct(self.logits(head, rows), rows)
        classes, side = self.run.benchmark.photos["class_index"].to_numpy()[rows], self.divided.side[rows]
        values = []
        for name in ("common", "counter") if labels else (None,):
            mask = np.full(len(rows), True) if name is None else side == name
            if mask.any():
                of_class = np.unique(classes[mask], return_inverse=True)[1]
                hits = np.bincount(of_class, weights=correct[mask])
                values.append(float((hits / np.bincount(of_class)).mean()))
        return min(values, default=0.0)


def why_no_parts(benchmark: Benchmark) -> str | None:
    """Return what is missing to separate objects from backgrounds, to follow "needs"; None if nothing is."""
    missing = benchmark.photos["mask"].null_count()
    if benchmark.made:
        return f"photos that are files, and those of {benchmark.name} are composites"
    if missing:
        return (
            f"masks of all objects, and {counted(missing, 'photo')} of {benchmark.name} have none: name "
            "their source with --masks"
        )
    return None


def mask_contents(benchmark: Benchmark) -> list[str]:
    """Return the SHA-256 of the mask of each photo, all of which have one.

    Raises:
        CounterGroundError: a mask cannot be read.
    """
    with ThreadPoolExecutor() as threads:
        try:
            return list(threads.map(photo_id, map(benchmark.mask_path, benchmark.photos["mask"])))
        except UnreadablePhoto as error:
            raise CounterGroundError(f"The mask {error.path} cannot be read: {error.reason}.") from error


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


def try_method(method: Mitigation, bench: Bench, lacking: Mapping[str, str]) -> Tried:
    """Fit and choose in each fold; ``lacking`` says in words what of a method's needs is not there.

    Raises:
        UsageError: the method lacks what it needs, or cannot be fitted on these photos.
        CounterGroundError: it fails, or returns something other than logits.
    """
    if missing := sorted(set(method.needs) & lacking.keys()):
        raise UsageError(f"{method.name} needs {lacking[missing[0]]}.")
    started = time.process_time()
    names = list(method.settings)
    grid = [dict(zip(names, values, strict=True)) for values in product(*method.settings.values())]
    heads, settings = [], []
    for fold in bench.folds:
        data = bench.part(fold.fit, labels=method.group_labels == "fit")
        fitted = [_fit(method, data, setting, bench, fold.choose) for setting in grid]
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
    about = {"method": tried.method.name, "settings": list(tried.settings), **bench.asked}
    digest = hashlib.sha256()
    for head in tried.heads:
        digest.update(json.dumps(dict(head.inputs), sort_keys=True).encode())
        for array in (head.weight, head.bias, head.projection, head.shift):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    part = bench.divided.rotation.part

    def score(rows: np.ndarray) -> np.ndarray:
        logits = np.empty((len(rows), bench.data.head.shape[1]), np.float32)
        for number in np.unique(part[rows]):
            here = part[rows] == number
            logits[here] = bench.logits(tried.heads[number], rows[here])
        return logits

    predictions = bench.run.predictions(name, score)
    return HeadOutcome(name, predictions, {"mitigation": about}, digest.hexdigest())
