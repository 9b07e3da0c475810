"""Signals that need a model: what it says about each photo, and what follows."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from counterground.construction.curation._signals import (
    SIMILARITY,
    Floats,
    Ints,
    judged,
    percent,
    share_better,
    signal_rows,
    similarity_signals,
)
from counterground.construction.pool import SIGNAL_SCHEMA, Pool
from counterground.construction.settings import CurateSettings
from counterground.errors import UsageError
from counterground.files import cache_dir
from counterground.inference import (
    Head,
    build_head,
    choose_runtime,
    encode_photos,
    load_requested,
)
from counterground.models import Classifier, Encoder, check_specs, expand_specs
from counterground.photos import Benchmark, LabelSpace, assign_classes, imagenet_classes, prompt_templates
from counterground.predictions import candidate_labels
from counterground.settings import Settings


@dataclass(frozen=True)
class Judgement:
    """A model's judgement of ``n`` photos: rank of the class (1 is first), two best names, probabilities.

    ``own``, ``first`` and ``second`` are columns of the scores; probabilities are fractions.
    """

    rank: Ints
    own: Ints
    first: Ints
    second: Ints
    first_probability: Floats
    second_probability: Floats

    @property
    def margin(self) -> Floats:
        """Lead of the first name over the second."""
        return self.first_probability - self.second_probability


def judgement(logits: np.ndarray, own: Ints) -> Judgement:
    """Return the judgement that ``logits`` ``[n, k]`` give on photos whose class is column ``own`` ``[n]``.

    Equal logits share the better rank; of two that tie for first place, the lower column comes first.
    """
    logits = logits.astype(np.float64)
    row = np.arange(len(logits))
    rank = 1 + (logits > logits[row, own][:, None]).sum(axis=1)
    first = logits.argmax(axis=1)
    odds = np.exp(logits - logits[row, first][:, None])
    total = odds.sum(axis=1)
    odds[row, first] = -1
    second = odds.argmax(axis=1)
    return Judgement(rank, own, first, second, 1 / total, odds[row, second] / total)


_ROWS = 1024


@dataclass(frozen=True)
class Referee:
    """A loaded model, its distinct names (columns of ``head``) and each class's column.

    ``index`` is the number in ``space`` of each class of the pool.
    """

    spec: str
    model: Encoder
    space: LabelSpace
    index: dict[str, int]
    head: Head
    names: tuple[str, ...]
    column: dict[int, int]

    def judge(self, features: np.ndarray, class_indices: Iterable[int]) -> Judgement:
        """Return the judgement on photos with these features and classes."""
        own = np.array([self.column[index] for index in class_indices], dtype=np.int64)
        logits = [
            self.head.scores(features[start : start + _ROWS]) * self.head.scale
            for start in range(0, len(features), _ROWS)
        ]
        return judgement(np.concatenate(logits), own)


def load_referee(spec: str, pool: Pool, photos: pl.DataFrame, running: Settings) -> Referee:
    """Load the model and check that it can rank every class of the pool.

    The candidate names are those of ``running.label_space``. Without one, they are a classifier's outputs, or
    for a dual encoder ImageNet's 1,000 names and those of the pool's classes that ImageNet lacks: a photo
    that shows something else needs a name that fits.

    Raises:
        UsageError: several models, a generative one, an unknown model, label space or name list, or a class
            without an output.
        CounterGroundError: weights that cannot be loaded, or class names that cannot be resolved.
    """
    specs = expand_specs([spec])
    check_specs(specs)
    model = load_requested(specs[0], running) if len(specs) == 1 else None
    if not isinstance(model, Encoder):
        raise UsageError(f"curate needs one CLIP or classifier, and {spec} is something else.")
    assigned = assign_classes(photos["class_name"].unique().sort().to_list())
    space, index = assigned.classes, assigned.index
    if running.label_space is None:
        space = _with_others(space, model)
    benchmark = _benchmark(pool, photos, space, index)
    candidates = candidate_labels(benchmark, running.label_space or "benchmark", running.names)
    if candidates.space.candidates is not None:
        raise UsageError(
            "curate ranks each class among all names: use --label-space benchmark, imagenet or a file."
        )
    templates = prompt_templates(running.prompts)
    head = build_head(model, candidates.space, candidates.texts, templates, cache_dir() / "heads")
    model, _ = choose_runtime(model, len(photos), running.runtime)
    # Equal names count as one: they share a column, and would tie.
    columns, first, place = np.unique(head.columns, return_index=True, return_inverse=True)
    if len(columns) < 2:
        raise UsageError("A rank needs at least two names: add more with --label-space imagenet or a file.")
    return Referee(
        spec=specs[0],
        model=model,
        space=space,
        index=index,
        head=replace(head, columns=columns),
        names=tuple(candidates.space.names[index] for index in first),
        column={index: int(place[true]) for index, true in candidates.true_index.items() if true is not None},
    )


def _with_others(own: LabelSpace, model: Encoder) -> LabelSpace:
    """Return the classes, then those of ImageNet or of a classifier's outputs that are none of them."""
    space = imagenet_classes()
    names, indices = space.names, space.imagenet
    if isinstance(model, Classifier):
        names, indices = tuple(model.class_names), tuple(model.imagenet_columns)
    others = [
        (name, index)
        for name, index in zip(names, indices, strict=True)
        if name not in own.names and (index is None or index not in own.imagenet)
    ]
    return LabelSpace(
        "names",
        (*own.names, *(name for name, _ in others)),
        (*own.imagenet, *(index for _, index in others)),
    )


def _benchmark(pool: Pool, photos: pl.DataFrame, space: LabelSpace, index: dict[str, int]) -> Benchmark:
    indices = [index[name] for name in photos["class_name"]]
    names = [space.names[own] for own in indices]
    manifest = photos.select("path", "photo_id").with_columns(
        pl.Series("class_index", indices, pl.Int32), pl.Series("class_name", names, pl.String)
    )
    return Benchmark(pool.root.name, pool.root, manifest, space)


CLASS_RANK = "class rank"
_SECOND_CLASS = "second class"
_MARGIN = "margin"
MODEL_SIGNALS = (CLASS_RANK, _SECOND_CLASS, SIMILARITY, _MARGIN)


def model_signals(
    pool: Pool,
    measured: pl.DataFrame,
    referee: Referee,
    settings: CurateSettings,
    masked: Collection[str],
) -> pl.DataFrame:
    """Return the signals that need a model.

    Args:
        pool: pool of the photos.
        measured: the photos that can be read, as ``measure_photos`` returns them.
        referee: the model.
        settings: limits of the signals.
        masked: paths of photos whose clarity a mask decides.
    """
    if measured.is_empty():
        return pl.DataFrame(schema=SIGNAL_SCHEMA)
    benchmark = _benchmark(pool, measured, referee.space, referee.index)
    features = encode_photos(
        referee.model,
        benchmark,
        cache_dir() / "features",
        batch_size=settings.batch_size,
        show_progress=settings.show_progress,
    )
    readable, matrix = features.readable, features.matrix[features.readable]
    paths = benchmark.photos["path"].filter(pl.Series(readable)).to_list()
    photos = measured.filter(pl.col("path").is_in(paths))
    judgement = referee.judge(matrix, benchmark.photos["class_index"].filter(pl.Series(readable)))
    signals = [
        _class_rank(photos, judgement, referee, settings),
        _second_class(photos, judgement, referee, settings),
        similarity_signals(measured, paths, matrix, referee.spec, settings),
    ]
    unmasked = ~photos["path"].is_in(list(masked)).to_numpy()
    signals.append(_clarity(photos["path"].filter(unmasked), judgement.margin[unmasked], referee, settings))
    return pl.concat(signals)


def _class_rank(
    photos: pl.DataFrame, judgement: Judgement, referee: Referee, settings: CurateSettings
) -> pl.DataFrame:
    names, rank = len(referee.names), judgement.rank.astype(np.float64)
    limit = min(settings.max_rank, max(1, int(settings.max_rank_share * names)))
    explanations, related = [], []
    for filed, place, first, chance in zip(
        photos["class_name"],
        judgement.rank.tolist(),
        judgement.first,
        judgement.first_probability,
        strict=True,
    ):
        best = referee.names[first]
        related.append(best if place > 1 else None)
        explanations.append(
            f"{referee.spec} ranks {filed!r} {place:,} of {names:,} names (limit {limit:,}); "
            f"{best!r} is first and has {percent(chance)}."
        )
    paths = photos["path"]
    return judged(
        CLASS_RANK, "label noise", paths, rank, explanations, limit=limit, low_is_bad=False, related=related
    )


def _second_class(
    photos: pl.DataFrame, judgement: Judgement, referee: Referee, settings: CurateSettings
) -> pl.DataFrame:
    """Return the signal for two likely classes, the photo's among them, of which neither leads by much."""
    both = judgement.first_probability + judgement.second_probability
    among = (judgement.first == judgement.own) | (judgement.second == judgement.own)
    close = (judgement.margin < settings.min_gap) & (both >= settings.min_both)
    explanations, related = [], []
    for own, first, second, chance, other in zip(
        judgement.own,
        judgement.first,
        judgement.second,
        judgement.first_probability,
        judgement.second_probability,
        strict=True,
    ):
        rival = second if own == first else first
        related.append(referee.names[rival] if own in (first, second) else None)
        explanations.append(
            f"{referee.spec} gives {referee.names[first]!r} {percent(chance)} and "
            f"{referee.names[second]!r} {percent(other)} (limit of the gap {percent(settings.min_gap)})."
        )
    return signal_rows(
        _SECOND_CLASS,
        "ambiguity",
        photos["path"],
        value=judgement.margin,
        flagged=among & close,
        priority=share_better(judgement.margin, low_is_bad=True),
        explanation=explanations,
        related=related,
    )


def _clarity(paths: pl.Series, lead: Floats, referee: Referee, settings: CurateSettings) -> pl.DataFrame:
    """Return the signal for photos on which the model has no confident prediction."""
    least = settings.min_margin
    explanations = [
        f"The first name of {referee.spec} leads by {percent(each)} (limit {percent(least)})."
        for each in lead
    ]
    return judged(_MARGIN, "clarity", paths, lead, explanations, limit=least, low_is_bad=True)
