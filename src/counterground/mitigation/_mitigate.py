"""Mitigate one model: fit, choose and judge each method on different clusters, and write a run of all."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.files import write_text
from counterground.inference import EncoderRun, HeadOutcome, Settings, encoder_run
from counterground.metrics import (
    Contrast,
    Side,
    balanced_accuracy,
    compare_models,
    score_contrast,
    score_predictions,
    selection,
    tests_against,
)
from counterground.mitigation._export import obstacle, write_head
from counterground.mitigation._inputs import features_of, parts_of_photos, why_no_parts
from counterground.mitigation._method import FitData, Input, Mended, Mitigation
from counterground.mitigation._registry import find_mitigations
from counterground.mitigation._side_effects import (
    SIZE,
    WATERMARK,
    Watermarked,
    with_object_size,
    with_watermark,
)
from counterground.mitigation._split import PARTS, Fold, Rotation, rotate_clusters
from counterground.models import AnyModel, DualEncoder, Encoder
from counterground.photos import Benchmark
from counterground.privacy import shareable
from counterground.progress import progress_bar
from counterground.results import (
    MITIGATION_FILE,
    Accuracies,
    ExportedHead,
    Figure,
    MethodRecord,
    MitigationRecord,
    Run,
)

HEADS = "heads"
_NAMED = 3
_EFFECTS = {
    "size": (SIZE, "accuracy on photos with a large object of their class less that with a small one"),
    "watermark": (WATERMARK, "accuracy on the photos less that on the same photos with a watermark"),
}
_BY_LABELS = "the lower of common and counter accuracy, averaged over classes"
_WITHOUT = "accuracy, averaged over classes"
_WARNING = (
    "Heads of models called MODEL + METHOD were fitted and chosen on parts of this benchmark, each photo "
    "predicted by one that saw nothing of its cluster; how they do on other photos is another question."
)


@dataclass(frozen=True)
class Mitigated:
    """The run of a model and its mended versions, and what the methods did."""

    run: Run
    record: MitigationRecord


def mitigate_model(
    benchmark: Benchmark,
    model: AnyModel,
    methods: str | Mitigation | Sequence[str | Mitigation],
    settings: Settings,
    out: Path,
    *,
    watermark: bool = True,
    seed: int = 0,
    overwrite: bool = False,
    warn: Callable[[str], object] = warnings.warn,
) -> Mitigated:
    """Mend one model by several methods, and write the run, ``mitigation.json`` and the mended heads.

    Clusters are divided into three parts, which take turns: a method is fitted on one, its setting chosen on
    the next, and judged on the last, so that each photo is judged once. The heads of ``heads/`` are fitted on
    all photos, with the setting that was chosen most often, and are not what was judged.

    Args:
        benchmark: with photos on both sides of its own contrast.
        model: a dual encoder or a classifier.
        methods: names, ``all``, or methods.
        settings: how the model is run.
        out: the folder.
        watermark: measure what a watermark does, which encodes every photo once more.
        seed: of the parts, and of what methods draw.
        overwrite: replace another run in ``out``.
        warn: called with one line for each method of another package that cannot be loaded.

    Raises:
        UsageError: an unknown method, or one that this model or benchmark cannot have; no photos to compare;
            too few clusters.
        CounterGroundError: see `evaluate_models`; a method fails.
    """
    named = [methods] if isinstance(methods, str | Mitigation) else list(methods)
    chosen = find_mitigations(named, warn)
    contrast, side = _sides(benchmark)
    rotation = rotate_clusters(benchmark.photos, side, seed)
    about = {"methods": [each.name for each in chosen], "watermark": watermark, "seed": seed}
    with encoder_run(benchmark, model, settings, out, about=about, overwrite=overwrite) as run:
        separate = any("masks" in each.needs for each in chosen) and not why_no_parts(benchmark)
        bench = _Bench(run, rotation, contrast, side, seed, separate)
        usable, left_out = _usable(chosen, bench, refuse=tuple(each for each in named if each != "all"))
        tried: list[_Tried] = []
        with progress_bar("Methods", total=len(usable), shown=settings.show_progress) as bar:
            for method in usable:
                try:
                    tried.append(_try(method, bench))
                except UsageError as error:
                    if method.name in named or method in named:
                        raise
                    left_out[method.name] = str(error)
                bar.advance(1)
        if not tried:
            reasons = " ".join(left_out.values())
            raise UsageError(f"No method can be used here. {reasons}")
        used = {name for each in tried for head in each.heads for name in head.inputs}
        marked = bench.inputs_of(Watermarked(run.model), used) if watermark else None
        heads = {each.method.name: each.final for each in tried}
        told = [_WARNING, *_notes(benchmark, rotation)]
        written = run.write([_outcome(each, bench) for each in tried], told)
        record = _record(bench, written, tried, left_out, marked)
    for each in record.methods:
        if each.head is not None:
            about = {"method": each.name, "model": record.model, "benchmark": record.benchmark}
            write_head(heads[each.name], out / each.head.file, {**about, **_provenance(each.head)})
    write_text(out / "mitigation.csv", record.rows.write_csv())
    told = shareable(json.loads(record.model_dump_json()))
    write_text(out / MITIGATION_FILE, json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    return Mitigated(written, record)


def _sides(benchmark: Benchmark) -> tuple[Contrast, np.ndarray]:
    """Return the benchmark's own contrast, and on which side each photo is: common, counter or None.

    Raises:
        UsageError: no class has photos on both.
    """
    contrast, photos = benchmark.design.contrasts[0], benchmark.photos
    left, right = (_on(side, photos) for side in contrast.sides)
    side = np.full(len(photos), None, dtype=object)
    side[left & ~right], side[right & ~left] = "common", "counter"
    both = set(photos["class_index"].to_numpy()[left]) & set(photos["class_index"].to_numpy()[right])
    if not both or (left & right).all():
        raise UsageError(
            f"{benchmark.name} has no class with photos on both sides of {contrast}, so there is no drop "
            "to make smaller. To choose common and counter backgrounds: counterground discover BENCHMARK "
            "--referee MODEL --split swap --out PAIRS"
        )
    return contrast, side


def _on(side: Side, photos: pl.DataFrame) -> np.ndarray:
    chosen = photos.select(selection(side, photos.schema)).to_series().fill_null(value=False).to_numpy()
    return np.asarray(np.broadcast_to(chosen, len(photos)))


@dataclass(frozen=True)
class _Bench:
    """What all methods share: the features, the folds, and the sides that photos are on."""

    run: EncoderRun
    rotation: Rotation
    contrast: Contrast
    side: np.ndarray
    seed: int
    separate: bool

    @cached_property
    def folds(self) -> list[Fold]:
        """The folds, of photos that could be read.

        Raises:
            UsageError: with the others, all photos of a side in one of the parts are gone.
        """
        folds = self.rotation.folds(self.run.features.readable)
        for name in ("common", "counter"):
            if not all((self.side[fold.judge] == name).any() for fold in folds):
                raise UsageError(
                    f"No {name} photo of one of the {PARTS} parts can be read: replace the photos that "
                    "cannot be read, or add photos of other clusters."
                )
        return folds

    @cached_property
    def inputs(self) -> dict[Input, np.ndarray]:
        """``[n, d]`` of the photos and, where they are needed and there are masks, of their parts."""
        return {"photo": self.run.features.matrix, **self._parts(self.run.model)}

    def inputs_of(self, variant: Encoder, used: Collection[Input]) -> dict[Input, np.ndarray]:
        """Return the same by a variant of the encoder, those that are used."""
        parts = self._parts(variant) if {*used} - {"photo"} else {}
        return {"photo": self.run.encode(variant).matrix, **parts}

    def _parts(self, encoder: Encoder) -> dict[Input, np.ndarray]:
        if not self.separate:
            return {}
        readable = self.run.features.readable
        return {
            name: features_of(name, self.run.encode(encoder, part), readable)
            for name, part in parts_of_photos(self.run.benchmark)
        }

    @cached_property
    def true(self) -> np.ndarray:
        """``[n]``: the name of each photo, -1 where it does not compete."""
        known = self.run.candidates.true_index
        index = [-1 if (at := known[each]) is None else at for each in range(len(known))]
        classes = self.run.benchmark.photos["class_index"].to_numpy()
        return np.asarray(np.array(index, dtype=np.int64)[classes])

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
            class_index=self.true,
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
        data, rows = self.data, rows[self.true[rows] >= 0]
        unknown = np.full(len(rows), None, dtype=object)
        alone, removed = data.foreground_features, data.background_features
        return replace(
            data,
            features=data.features[rows],
            class_index=data.class_index[rows],
            background=data.background[rows] if labels else unknown,
            group=data.group[rows] if labels else unknown,
            background_features=None if removed is None else removed[rows],
            foreground_features=None if alone is None else alone[rows],
        )

    def logits(self, mended: Mended, rows: np.ndarray, inputs: Mapping[Input, np.ndarray]) -> np.ndarray:
        """Return ``[m, k]`` logits of some photos."""
        needed = {name: inputs[name][rows] for name in mended.inputs}
        return mended.logits(mended.mix(needed))

    def worth(self, mended: Mended, rows: np.ndarray, *, labels: bool) -> float:
        """Return how good a head is on the choosing photos, with or without a look at their groups."""
        correct = self.run.correct(self.logits(mended, rows, self.inputs), rows)
        classes, side = self.run.benchmark.photos["class_index"].to_numpy()[rows], self.side[rows]
        masks = [side == name for name in ("common", "counter")] if labels else [np.full(len(rows), True)]
        values = [balanced_accuracy(correct[mask], classes[mask]) for mask in masks if mask.any()]
        return min(value for value in values if value is not None)


def _usable(
    methods: Sequence[Mitigation], bench: _Bench, refuse: Sequence[str | Mitigation]
) -> tuple[list[Mitigation], dict[str, str]]:
    """Return the methods that this model and benchmark can have, and why the others cannot be used.

    Raises:
        UsageError: one of the latter was asked for by name.
    """
    lacking = {}
    data, name = bench.data, bench.run.model.display_name
    if bench.run.head.starts is not None:
        raise UsageError(
            f"{bench.run.benchmark.name} has classes with several names each, and a mended head has one "
            "column for each class: use a label space with one name a class, such as --label-space benchmark."
        )
    if data.encode_texts is None:
        lacking["texts"] = f"a model with texts, and {name} is a {bench.run.model.kind.replace('_', ' ')}"
    if not data.background_names:
        lacking["backgrounds"] = f"labels of backgrounds, and {bench.run.benchmark.name} has none"
    if data.background_features is None:
        lacking["masks"] = why_no_parts(bench.run.benchmark) or "masks"
    usable, left_out = [], {}
    for method in methods:
        missing = sorted(need for need in method.needs if need in lacking)
        if not missing:
            usable.append(method)
            continue
        reason = f"{method.name} needs {lacking[missing[0]]}."
        if method.name in refuse or method in refuse:
            raise UsageError(f"{reason} Leave it out, or take --method all for those that can be used.")
        left_out[method.name] = reason
    return usable, left_out


@dataclass(frozen=True)
class _Tried:
    """One method: the head of each fold with its setting, and one fitted on all photos."""

    method: Mitigation
    heads: tuple[Mended, ...]
    settings: tuple[dict[str, Any], ...]
    final: Mended
    final_setting: dict[str, Any]
    tried: int
    seconds: float


def _try(method: Mitigation, bench: _Bench) -> _Tried:
    """Fit and choose in each fold.

    Raises:
        UsageError: the method cannot be fitted on these photos.
        CounterGroundError: it fails, or returns something else than logits.
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
    return _Tried(method, tuple(heads), tuple(settings), final, grid[often], len(grid), seconds)


def _grid(method: Mitigation) -> Iterator[dict[str, Any]]:
    names = list(method.settings)
    for values in product(*method.settings.values()):
        yield dict(zip(names, values, strict=True))


def _fit(
    method: Mitigation, data: FitData, setting: dict[str, Any], bench: _Bench, tested: np.ndarray
) -> Mended:
    """Fit one setting, and see that it gives logits."""
    try:
        mended = method.fit(data, **setting)
        logits = bench.logits(mended, tested, bench.inputs)
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
    return mended


def _outcome(tried: _Tried, bench: _Bench) -> HeadOutcome:
    """Predict every photo by the head that saw nothing of its cluster."""
    name = f"{bench.run.model.display_name} + {tried.method.name}"
    settings = list(tried.settings)
    about = {"mitigation": {"method": tried.method.name, "settings": settings, "seed": bench.seed}}
    digest = hashlib.sha256()
    for head in tried.heads:
        digest.update(json.dumps(dict(head.inputs), sort_keys=True).encode())
        for array in (head.weight, head.bias, head.projection, head.shift):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return HeadOutcome(name, _predictions(tried, bench, bench.inputs, name), about, digest.hexdigest())


def _predictions(tried: _Tried, bench: _Bench, inputs: Mapping[Input, np.ndarray], name: str) -> pl.DataFrame:
    part = bench.rotation.part

    def score(rows: np.ndarray) -> np.ndarray:
        found: np.ndarray | None = None
        for number in np.unique(part[rows]):
            here = part[rows] == number
            logits = bench.logits(tried.heads[number], rows[here], inputs)
            found = np.empty((len(rows), logits.shape[1]), np.float32) if found is None else found
            found[here] = logits
        assert found is not None
        return found

    return bench.run.predictions(name, score)


def _record(
    bench: _Bench,
    run: Run,
    tried: Sequence[_Tried],
    left_out: dict[str, str],
    marked: Mapping[Input, np.ndarray] | None,
) -> MitigationRecord:
    """Read off what each method changed."""
    own, clean = run.info.models[0].name, run.predictions
    contrast, benchmark = bench.contrast, bench.run.benchmark
    main = _Effect.of(clean, contrast, own)
    effects, not_measured = {}, {}
    sized = with_object_size(clean)
    if isinstance(sized, str):
        not_measured["size"] = sized
    else:
        effects["size"] = _Effect.of(sized, SIZE, own)
    if marked is None:
        not_measured["watermark"] = "it was not asked for"
    else:
        effects["watermark"] = _Effect.of(
            with_watermark(clean, _marked(bench, tried, marked)), WATERMARK, own
        )
    worst = run.scores.filter(pl.col("metric") == "worst_group_accuracy", pl.col("class_index").is_null())
    lowest = dict(worst.select("model", "value").iter_rows())

    def accuracies(model: str) -> Accuracies:
        sides = main.sides[model]
        drops = {name: effect.sides[model]["difference"] for name, effect in effects.items()}
        return Accuracies(
            common=sides["left"],
            counter=sides["right"],
            drop=sides["difference"],
            worst_group=lowest.get(model),
            side_effects=drops,
        )

    methods = []
    for each in tried:
        name = f"{own} + {each.method.name}"
        changes = main.changes[name]
        relief = {at: effect.changes[name]["difference"] for at, effect in effects.items()}
        found = accuracies(name)
        methods.append(_method_record(each, bench, name, mended=found, changes=changes, relief=relief))
    return MitigationRecord(
        model=own,
        benchmark=f"{benchmark.name}@{benchmark.version[:8]}",
        contrast=str(contrast),
        parts=bench.rotation.sizes(),
        seed=bench.seed,
        unmended=accuracies(own),
        methods=methods,
        left_out=left_out,
        side_effects={name: _EFFECTS[name][1] for name in effects},
        not_measured=not_measured,
        notes=_notes(benchmark, bench.rotation),
    )


def _method_record(
    tried: _Tried,
    bench: _Bench,
    model: str,
    *,
    mended: Accuracies,
    changes: Mapping[str, Figure],
    relief: dict[str, Figure],
) -> MethodRecord:
    method, used, reason = tried.method, tried.method.group_labels, obstacle(tried.final)
    chosen = tried.tried > 1
    fitted = np.flatnonzero(bench.run.features.readable & (bench.true >= 0))
    head = ExportedHead(
        file=f"{HEADS}/{method.name}-all-photos.safetensors",
        setting=tried.final_setting,
        photos=len(fitted),
        clusters=len(np.unique(bench.rotation.clusters[fitted])),
    )
    return MethodRecord(
        name=method.name,
        title=method.title,
        source=method.source,
        model=model,
        group_labels={
            "fit": "used" if used == "fit" else "not used",
            "choose": "used" if used != "none" and chosen else "not used",
        },
        chosen_by=(_BY_LABELS if used != "none" else _WITHOUT) if chosen else None,
        tried=tried.tried,
        settings=list(tried.settings),
        mended=mended,
        cost=changes["left"],
        gain=changes["difference"],
        relief=relief,
        head=None if reason else head,
        not_exported=reason,
        cpu_seconds=tried.seconds,
    )


def _marked(bench: _Bench, tried: Sequence[_Tried], inputs: Mapping[Input, np.ndarray]) -> pl.DataFrame:
    """Predict the photos with a watermark by the model itself and by each method."""
    own, head = bench.run.model.display_name, bench.run.head
    features = inputs["photo"]
    frames = [bench.run.predictions(own, lambda rows: head.scale * head.scores(features[rows]))]
    frames += [_predictions(each, bench, inputs, f"{own} + {each.method.name}") for each in tried]
    return pl.concat(frames)


@dataclass(frozen=True)
class _Effect:
    """A contrast of each model, and how each differs from the unmended one (the latter minus the former)."""

    sides: dict[str, dict[str, Figure]]
    changes: dict[str, dict[str, Figure]]

    @classmethod
    def of(cls, predictions: pl.DataFrame, contrast: Contrast, own: str) -> _Effect:
        left, right = contrast.side_keys
        keys = {left: "left", right: "right", contrast.difference_key: "difference"}
        sides: dict[str, dict[str, Figure]] = {}
        scores = score_contrast(predictions, contrast)
        if contrast.name == "drop":
            scores = score_predictions(predictions, by_class=False)
        for row in scores.filter(pl.col("class_index").is_null()).iter_rows(named=True):
            if name := keys.get((row["metric"], row["group"])):
                figure = Figure(value=row["value"], low=row["low"], high=row["high"])
                sides.setdefault(row["model"], {})[name] = figure
        changes: dict[str, dict[str, Figure]] = {}
        tests = tests_against(compare_models(predictions, contrast=contrast), own)
        for row in tests.iter_rows(named=True):
            if name := keys.get((row["metric"], row["group"])):
                value, low, high = row["difference"], row["low"], row["high"]
                figure = Figure(
                    value=None if value is None else -value,
                    low=None if high is None else -high,
                    high=None if low is None else -low,
                    p_holm=row["p_holm"],
                )
                changes.setdefault(row["model_a"], {})[name] = figure
        return cls(sides, changes)


def _notes(benchmark: Benchmark, rotation: Rotation) -> list[str]:
    """Say what selected the photos, and which photos a part lacks."""
    notes = []
    if benchmark.discovery is not None and benchmark.discovery.split == "none":
        notes.append(
            f"{benchmark.discovery.referee} chose which backgrounds are common and counter on these very "
            "photos: chance makes its drop larger, and any change of the model then seems a gain. Pairs "
            "chosen on other photos do not have this fault: counterground discover --split half, or swap."
        )
    if not rotation.lacking:
        return notes
    some = ", ".join(rotation.lacking[:_NAMED])
    more = f" and {len(rotation.lacking) - _NAMED} more" if len(rotation.lacking) > _NAMED else ""
    sentence = (
        f"Clusters are too few for each of the {PARTS} parts to have every class on each side: one part or "
        f"more lacks {some}{more}."
    )
    return [*notes, sentence]


def _provenance(head: ExportedHead) -> dict[str, Any]:
    return {
        "setting": head.setting,
        "fitted_on": f"all {head.photos} photos of {head.clusters} clusters",
        "judged": "no: accuracies in mitigation.json are those of heads fitted on a third of the clusters",
    }
