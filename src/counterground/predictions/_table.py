"""Predictions of a file joined with the photos, and what could not be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError
from counterground.metrics import CLASSIFICATION, COMPETING, KEYS, PHOTO_COLUMNS, attributes
from counterground.photos import Benchmark, prompt_templates
from counterground.predictions._candidates import (
    BUILT_IN_NAMES,
    BUILT_IN_PROMPTS,
    CandidateLabels,
    named_by_content,
)
from counterground.predictions._formats import GivenPredictions
from counterground.predictions._match import match_names, match_photos
from counterground.results import PREDICTIONS_SCHEMA
from counterground.settings import EvaluateSettings
from counterground.text import and_more, count, counted

_LISTED = 20
_ROUNDING = 1e-6
_RANKED = 5  # candidates that a rank, and top-5 accuracy, need
_ROW, _KEY, _TEXT = " row", " key", " prediction"  # which no attribute of photos is called
_OPTIONAL = ("confidence", "true_rank", "top2_gap")


@dataclass(frozen=True)
class ScoredPredictions:
    """Predictions of photos.

    Attributes:
        table: the columns of ``predictions.parquet``.
        models: their names.
        unreadable: ``path, photo_id, reason`` of the photos that a model has no prediction for.
        left_out: ``file, row, name, reason`` of predictions that do not count.
        warnings: what readers must know of both.
    """

    table: pl.LazyFrame
    models: list[str]
    unreadable: pl.DataFrame
    left_out: pl.DataFrame
    warnings: list[str]


def scored_predictions(
    benchmark: Benchmark,
    whole: pl.DataFrame,
    given: GivenPredictions,
    labels: CandidateLabels,
    settings: EvaluateSettings,
) -> ScoredPredictions:
    """Join predictions with the photos they are for, and with what is true.

    Predictions for photos of the ``whole`` manifest that the benchmark does not have are not asked for.

    Raises:
        UsageError: names that are no candidate labels.
        CounterGroundError: bad rows, several predictions of a model for one photo, or for none of the photos.
    """
    photos, file = benchmark.photos, Path(settings.predictions or "")
    rows, bad = _good_rows(given.rows.with_row_index("line", 1), file, skip=settings.skip_bad_rows)
    rows, no_confidence = _with_confidence(rows)
    matches = match_photos(whole, rows["photo"].unique().cast(pl.String), benchmark.root)
    here = (
        whole.select("path")
        .with_row_index("whole")
        .join(photos.select("path").with_row_index("row"), on="path", how="left")
    )
    matches = matches.join(here.select("whole", "row"), on="whole").cast({"photo": rows.schema["photo"]})
    rows = rows.join(matches, on="photo", how="left", maintain_order="left")
    strange = rows.filter(pl.col("whole").is_null())
    if len(strange) == len(rows):
        raise CounterGroundError(
            f"No prediction of {file} is for a photo of {benchmark.name}: the first is for "
            f"{strange['photo'][0]!r}, and the first photo is {photos['path'][0]!r}."
        )
    rows, keys = _with_keys(
        rows.filter(pl.col("row").is_not_null()).drop("photo", "whole"), labels, settings, file
    )
    _refuse_repeated(rows, keys, benchmark, file)
    predicted = rows["row"].value_counts().filter(pl.col("count") == len(keys))["row"].implode()
    rows = rows.filter(pl.col("row").is_in(predicted))
    if rows.is_empty():
        raise CounterGroundError(
            f"{file} has no photo that all {len(keys)} models predict: score them apart."
        )
    missing = ~pl.int_range(pl.len(), dtype=pl.UInt32).is_in(predicted)
    unreadable = photos.filter(missing).select("path", "photo_id", reason=pl.lit("no prediction"))
    columns = [rows["prediction"], *([rows["candidates"].explode()] if "candidates" in rows.columns else [])]
    texts = pl.concat([column.unique().cast(pl.String) for column in columns]).unique().sort()
    names = match_names(
        texts, given.ways, labels, settings.drop_classes, others_are_wrong=settings.other_names == "wrong"
    )
    others = [text for text, place in names.items() if place is None]
    wrong = rows["prediction"].filter(rows["prediction"].is_in(others)).value_counts(sort=True)
    left_out = _listed(strange.with_columns(reason=pl.lit("no such photo")), file)
    return ScoredPredictions(
        _joined(rows, keys, names, benchmark, labels),
        keys["model"].unique(maintain_order=True).to_list(),
        unreadable,
        pl.concat([bad, left_out]),
        [
            *_warnings(benchmark, len(unreadable), len(strange), len(bad), dict(wrong.iter_rows())),
            *(_never_named(benchmark, names, labels) if len(wrong) else ()),
            *_numbered(names, labels),
            *no_confidence,
        ],
    )


def _listed(rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    line, name = pl.col("line").cast(pl.Int64), pl.col("photo").cast(pl.String)
    return rows.select(pl.lit(file.name).alias("file"), line.alias("row"), name.alias("name"), "reason")


def _good_rows(rows: pl.DataFrame, file: Path, *, skip: bool) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that say something, and those that are left out because they do not.

    Raises:
        CounterGroundError: there are some, and they are not to be skipped; or no row is left.
    """
    reason = (
        pl.when(pl.col("photo").is_null())
        .then(pl.lit("no photo"))
        .when(pl.col("prediction").is_null())
        .then(pl.lit("no prediction"))
    )
    bad = _listed(rows.with_columns(reason=reason).filter(pl.col("reason").is_not_null()), file)
    if len(bad) and not skip:
        listed = [f"row {row} ({why})" for _, row, _, why in bad.iter_rows()]
        raise CounterGroundError(
            f"{file} has {counted(len(bad), 'bad row')}: {and_more(listed, _LISTED)}. Correct them, or leave "
            "them out with --skip-bad-rows."
        )
    kept = (
        rows.join(bad, left_on="line", right_on="row", how="anti", maintain_order="left")
        if len(bad)
        else rows
    )
    if kept.is_empty():
        raise CounterGroundError(f"{file} has no predictions.")
    return kept, bad


def _with_confidence(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Return rows with a confidence if all of them have one that is a probability, and warnings."""
    if "confidence" not in rows.columns:
        return rows, []
    number = pl.col("confidence").cast(pl.Float64, strict=False)
    probable = number.is_between(-_ROUNDING, 1 + _ROUNDING).fill_null(value=False)
    strange = rows.filter(pl.col("confidence").is_not_null() & ~probable)
    if strange.is_empty() and not rows["confidence"].has_nulls():
        return rows.with_columns(number.cast(pl.Float32)), []
    warnings = [
        f"The confidence is not used, since it is no probability: row {row} has {value!r}."
        for row, value in strange.select("line", "confidence").head(1).iter_rows()
    ]
    return rows.drop("confidence"), warnings


def _with_keys(
    rows: pl.DataFrame, labels: CandidateLabels, settings: EvaluateSettings, file: Path
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return rows with ``key`` for the columns of ``metrics.KEYS``, and these by ``key``.

    What the file does not say of a model, the settings say: they are those of a run that it is compared with.
    """
    templates = prompt_templates(settings.prompts)
    stated = {
        "model": file.stem,
        "names": named_by_content(settings.names, BUILT_IN_NAMES, labels.all_texts),
        "prompts": named_by_content(settings.prompts, BUILT_IN_PROMPTS, templates),
        "protocol": CLASSIFICATION,
        "answer_score": None,
        COMPETING: labels.space.name,
    }
    given = [name for name in stated if name in rows.columns]
    if "model" in given:
        rows = rows.with_columns(pl.col("model").fill_null(file.stem))
    keys = rows.select(given).unique(maintain_order=True) if given else pl.DataFrame({"key": [0]})
    keys = keys.with_columns(
        *(pl.lit(value, pl.String).alias(name) for name, value in stated.items() if name not in given),
        key=pl.int_range(pl.len(), dtype=pl.UInt32),
    )
    if not given:
        return rows.with_columns(key=pl.lit(0, pl.UInt32)), keys
    joined = rows.join(
        keys.select("key", *given), on=given, how="left", nulls_equal=True, maintain_order="left"
    )
    return joined.drop(given), keys.select("key", *KEYS)


def _refuse_repeated(rows: pl.DataFrame, keys: pl.DataFrame, benchmark: Benchmark, file: Path) -> None:
    number = pl.col("key").cast(pl.UInt64) * len(benchmark.photos) + pl.col("row")
    twice = rows.select(number).to_series().is_duplicated()
    if twice.any():
        key, row = rows.filter(twice).select("key", "row").row(0)
        model = keys.filter(pl.col("key") == key)["model"][0]
        raise CounterGroundError(
            f"{file} has {counted(int(twice.sum()), 'row')} that repeat a photo under one model, first "
            f"{benchmark.photos['path'][row]!r} under {model!r}: keep one of each."
        )


def _joined(
    rows: pl.DataFrame,
    keys: pl.DataFrame,
    names: Mapping[str, int | None],
    benchmark: Benchmark,
    labels: CandidateLabels,
) -> pl.LazyFrame:
    """Return the columns of ``predictions.parquet``; millions of rows are joined as they are written."""
    true = [labels.true_index[index] for index in benchmark.photos["class_index"].to_list()]
    further = attributes(benchmark.photos.schema)
    photos = benchmark.photos.select(*PHOTO_COLUMNS, *further).with_columns(
        pl.Series("true_index", true, pl.Int32), pl.int_range(pl.len(), dtype=pl.UInt32).alias(_ROW)
    )
    predicted = pl.DataFrame(
        [(text, at, text if at is None else labels.space.names[at]) for text, at in names.items()],
        {"prediction": pl.String, "predicted_index": pl.Int32, "predicted_name": pl.String},
        orient="row",
    ).cast({"prediction": rows.schema["prediction"]})
    if "candidates" in rows.columns:
        rows = _with_ranks(rows, predicted, photos)
    held = [name for name in _OPTIONAL if name in rows.columns]
    predicted, keys = predicted.rename({"prediction": _TEXT}), keys.rename({"key": _KEY})
    table = rows.select(
        pl.col("row").alias(_ROW), pl.col("key").alias(_KEY), pl.col("prediction").alias(_TEXT), *held
    ).lazy()
    for other, on in ((photos, _ROW), (keys, _KEY), (predicted, _TEXT)):
        table = table.join(other.lazy(), on=on, how="left", maintain_order="left")
    absent = [name for name in (*_OPTIONAL, "loss_sum", "loss_mean") if name not in held]
    correct = (pl.col("predicted_index") == pl.col("true_index")).fill_null(value=False)
    table = table.with_columns(correct.alias("correct"), *(pl.lit(None).alias(name) for name in absent))
    return table.select(pl.col(name).cast(kind) for name, kind in {**PREDICTIONS_SCHEMA, **further}.items())


def _with_ranks(rows: pl.DataFrame, predicted: pl.DataFrame, photos: pl.DataFrame) -> pl.DataFrame:
    """Add the rank of the true name among the candidates, if each prediction has at least five."""
    places = pl.col("candidates").list.len()
    if rows.select(places.min()).item() < _RANKED:
        return rows
    ranked = (
        rows.select("line", "row", "candidates", true_rank=pl.int_ranges(places))
        .explode("candidates", "true_rank")
        .cast({"candidates": predicted.schema["prediction"]})
        .join(predicted.rename({"prediction": "candidates"}), on="candidates")
        .join(photos.select(pl.col(_ROW).alias("row"), "true_index"), on="row")
        .filter(pl.col("predicted_index") == pl.col("true_index"))
        .group_by("line")
        .agg(pl.col("true_rank").min())
    )
    return rows.join(ranked, on="line", how="left", maintain_order="left")


def _never_named(
    benchmark: Benchmark, names: Mapping[str, int | None], labels: CandidateLabels
) -> Iterator[str]:
    """Warn of classes that no prediction names, perhaps because the file writes them in another way."""
    named = {place for place in names.values() if place is not None}
    sizes = benchmark.photos["class_index"].value_counts(sort=True).iter_rows()
    never = [
        f"{benchmark.classes.names[index]!r} ({counted(size, 'photo')})"
        for index, size in sizes
        if labels.true_index[index] not in named
    ]
    if never:
        yield f"No prediction names {and_more(never, 5)}: does the file write it in another way?"


def _numbered(names: Mapping[str, int | None], labels: CandidateLabels) -> Iterator[str]:
    """Say what numbers were taken for."""
    read = [
        f"{text} = {labels.space.names[at]}"
        for text, at in names.items()
        if at is not None and text[0].isdigit()
    ]
    if len(read) == len(names):
        yield f"Predictions are numbers, read in the order of the candidate labels: {and_more(read, 5)}."


def _warnings(
    benchmark: Benchmark, missing: int, strange: int, bad: int, wrong: Mapping[str, int]
) -> list[str]:
    """Return what readers must know of photos and predictions that do not count, or count as wrong."""
    photos = counted(len(benchmark.photos), "photo")
    numbers = {
        f"{missing:,} of {photos} have no prediction, or not of each model, and are left out for all; "
        "unreadable.csv lists them.": missing,
        f"{counted(strange, 'prediction')} for photos that {benchmark.name} does not have; left_out.csv "
        "lists them.": strange,
        f"{counted(bad, 'bad row')} of the predictions left out; left_out.csv lists them.": bad,
        f"{counted(sum(wrong.values()), 'prediction')} name no candidate label and count as wrong: "
        f"{and_more([f'{name!r} ({count(number)})' for name, number in wrong.items()], 5)}.": len(wrong),
    }
    return [text for text, number in numbers.items() if number]
