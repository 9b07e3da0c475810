"""Evaluate photos in a random order, look by look, until the drop of every model is decided.

The verdicts on all models share the 5 % error (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl

from counterground.decision import Until, look
from counterground.errors import UsageError
from counterground.inference._ready import ReadyEncoder, make_ready
from counterground.inference.encoding import NoReadablePhotoError, run_encoding
from counterground.inference.generative import announce_calls, evaluate_generative, refuse_encoder
from counterground.inference.request import Request
from counterground.metrics import KEYS, Interval
from counterground.models import Encoder, Generative, NamedModel, left_unchanged
from counterground.photos import Benchmark
from counterground.progress import progress_bar
from counterground.results import DecisionRecord, StoppingRecord

_Decisions = dict[tuple[object, ...], DecisionRecord]


def stop_early(request: Request, until: Until) -> tuple[Benchmark, StoppingRecord]:
    """Return the benchmark with the photos that were needed, and what was decided after how many photos.

    Models are evaluated one after another, each until its drop is decided; the photos are those of the
    slowest, because models are compared on the same photos. Features and answers are stored, so evaluating
    the returned benchmark reads them.

    Raises:
        UsageError: no class has both groups.
        CounterGroundError: a model fails.
    """
    looks = until.looks(request.benchmark.photos)
    decisions: list[DecisionRecord] = []
    most = 0
    for given in request.models:
        used, found = _decide(request, until, given, looks)
        decisions += found
        most = max(most, used)
    rows = np.sort(np.concatenate(looks[:most]))
    record = StoppingRecord(
        max_drop=until.max_drop,
        seed=until.seed,
        photos=len(rows),
        of=sum(map(len, looks)),
        looks=most,
        decisions=decisions,
    )
    benchmark = request.benchmark
    notes = (*benchmark.notes, *record.sentences)
    return replace(benchmark, photos=benchmark.photos[rows.tolist()], notes=notes), record


def _decide(
    request: Request, until: Until, given: NamedModel, looks: Sequence[np.ndarray]
) -> tuple[int, list[DecisionRecord]]:
    """Return after how many looks a model is decided in every setting, and what was decided in each."""
    found: _Decisions = {}
    seen: list[pl.DataFrame] = []
    total, design = sum(map(len, looks)), request.benchmark.design
    shown = request.settings.show_progress
    with progress_bar(f"{given.name}, until decided", total=total, shown=shown, keep=True) as bar:
        for number, part in enumerate(_predictions(request, given, looks), start=1):
            bar.advance(len(looks[number - 1]))
            if part is None:
                continue
            seen.append(part)
            for setting, drop in look(pl.concat(seen), models=len(request.models), design=design):
                key = tuple(setting[name] for name in KEYS)
                if key not in found or found[key].verdict is None:
                    found[key] = _record(setting, drop, until)
            if found and all(record.verdict for record in found.values()):
                break
    return number, list(found.values())


def _record(setting: dict[str, object], drop: Interval, until: Until) -> DecisionRecord:
    return DecisionRecord(
        model=str(setting["model"]),
        prompts=str(setting["prompts"]),
        verdict=until.verdict(drop),
        photos=drop.n,
        clusters=drop.clusters,
        value=drop.value,
        low=drop.low,
        high=drop.high,
    )


def _predictions(
    request: Request, given: NamedModel, looks: Sequence[np.ndarray]
) -> Iterator[pl.DataFrame | None]:
    """Yield the predictions of the photos that each look adds, None if none of them can be read."""
    photos = request.benchmark.photos
    quiet = replace(request, settings=replace(request.settings, show_progress=False))
    with left_unchanged(given.made):
        model = request.settings.load(given)
        if isinstance(model, Generative):
            announce_calls(request, model)
            predict = partial(_answers, model)
        else:
            assert isinstance(model, Encoder)
            refuse_encoder(request, given.name)
            predict = partial(_classes, _ready(quiet, model))
        for rows in looks:
            part = replace(quiet, benchmark=replace(request.benchmark, photos=photos[rows.tolist()]))
            try:
                predictions = predict(part)
            except NoReadablePhotoError:
                predictions = None
            yield predictions


def _answers(model: Generative, request: Request) -> pl.DataFrame:
    """Return the predictions of a generative model for the photos of a request."""
    return evaluate_generative(request, model).predictions


def _classes(ready: ReadyEncoder, request: Request) -> pl.DataFrame:
    """Return the predictions of an encoder for the photos of a request."""
    ready = ready.look_at(request)
    run_encoding([ready.job], show_progress=False)
    return ready.predictions(ready.features())


def _ready(request: Request, model: Encoder) -> ReadyEncoder:
    """Make an encoder ready; a head is fitted at once, on photos that are not evaluated.

    Raises:
        UsageError: there are no such photos.
    """
    if model.head and request.training is None:
        raise UsageError(
            f"{model.display_name}: --until decided begins with few photos, and this head is fitted on those "
            "that are evaluated: add --train BENCHMARK."
        )
    ready = make_ready(request, model)
    if ready.training:
        run_encoding([ready.training], request.settings.show_progress)
    return ready.fitted()
