"""One method, fitted and chosen in each fold, and what its heads predict for photos they did not see."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, error_summary
from counterground.inference import HeadOutcome
from counterground.mitigation._bench import Bench
from counterground.mitigation._method import FitData, MitigatedHead, Mitigation


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
