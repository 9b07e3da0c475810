"""One class at a time: every model's numbers and predictions, and the most informative photos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from counterground.findings import DROP_WORDS, Words
from counterground.metrics import KEYS, Contrast
from counterground.reporting._gallery import PER_CELL, UNKNOWN_LICENCE, Gallery, make_gallery
from counterground.reporting.shown_photos import ClassFacts, PhotoSource, on_sides
from counterground.results import ModelScores, Run
from counterground.text import isolated

_NAMES_KEPT = 3
_PHOTO = ("path", "photo_id", "class_index", "group", "background")
_OUTCOME = ("predicted_name", "correct", "confidence")
_COLUMNS = (*_PHOTO, *_OUTCOME)


@dataclass(frozen=True)
class ClassPage:
    """All classes, and what they share (models, names), as JSON for the script.

    ``sided`` says whether any of the chosen photos is on a side, which decides what makes it informative.
    """

    classes: dict[int, dict[str, Any]]
    shared: dict[str, Any]
    gallery: Gallery
    sided: bool


@dataclass(frozen=True)
class _LabelledRows:
    """The predictions of each model on the page, under its label, with one model in memory at a time.

    ``group`` is the side of the contrast that a photo is on.
    """

    runs: Sequence[Run]
    models: Sequence[Sequence[ModelScores]]
    contrast: Contrast

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for run, own in zip(self.runs, self.models, strict=True):
            labels = {model.setting[: len(KEYS)]: model.label for model in own}
            needed = tuple(dict.fromkeys((*_COLUMNS, *self.contrast.of_classes().columns)))
            for key, rows in run.by_setting(needed) if own else ():
                if key in labels:
                    yield on_sides(rows, self.contrast).with_columns(model=pl.lit(labels[key]))


def make_class_page(
    runs: Sequence[Run],
    by_run: Sequence[Sequence[ModelScores]],
    models: Sequence[ModelScores],
    facts: Mapping[int, ClassFacts],
    *,
    lead: str | None,
    sources: Mapping[str, PhotoSource],
    budget: float | None,
    words: Words = DROP_WORDS,
) -> ClassPage:
    """Gather what the page shows of every class.

    Args:
        runs: the runs of a section.
        by_run: their labelled models.
        models: all of these in the page's order.
        facts: names and backgrounds of the classes, in the page's order.
        lead: label of the model that is shown first.
        sources: files of photos by photo_id.
        budget: megabytes that photos may take; None shows none.
        words: words for the contrast whose sides the groups are.
    """
    predictions = _LabelledRows(runs, by_run, words.contrast)
    chosen = informative_photos(predictions, PER_CELL)
    shown = Gallery(requested=False) if budget is None else make_gallery(chosen, sources, budget)
    gallery = replace(shown, of_composites=runs[0].info.intervention is not None)
    labels = [model.label for model in models]
    names: dict[str | None, int] = {}
    predicted = _predicted(confusions(predictions), labels, names)
    photos = _photos(predictions, chosen, labels, gallery, names)
    classes = {
        index: {
            **{name: isolated(text) for name, text in of._asdict().items()},
            "drops": [_drop(model, index, words) for model in models],
            "predicted": predicted.get(index, {}),
            "photos": photos.get(index, []),
        }
        for index, of in facts.items()
    }
    shared = {
        "models": labels,
        "lead": labels.index(lead) if lead else 0,
        "names": [None if name is None else isolated(name) for name in names],
        **({} if words.is_drop else {"titles": words.titles}),
    }
    return ClassPage(classes, shared, gallery, bool((chosen["side"] != NO_GROUP).any()))


def _drop(model: ModelScores, index: int, words: Words) -> list[float | None]:
    drop = model.of(words.contrast, index).difference
    return [None if value is None else round(100 * value, 1) for value in (drop.value, drop.low, drop.high)]


def _predicted(
    counted: pl.DataFrame, labels: Sequence[str], names: dict[str | None, int]
) -> dict[int, dict[str, list[Any]]]:
    """Return by class and side, for each model: photos, how many are right, most frequent wrong names."""
    places = {label: k for k, label in enumerate(labels)}
    found: dict[int, dict[str, list[Any]]] = {}
    for label, index, side, n, right, wrong in counted.iter_rows():
        cells = found.setdefault(index, {}).setdefault(side, [None] * len(labels))
        listed = [[names.setdefault(item["name"], len(names)), item["count"]] for item in wrong or []]
        cells[places[label]] = [n, right, listed]
    return found


def _photos(
    predictions: Iterable[pl.DataFrame],
    chosen: pl.DataFrame,
    labels: Sequence[str],
    gallery: Gallery,
    names: dict[str | None, int],
) -> dict[int, list[dict[str, Any]]]:
    pictures = gallery.thumbnails.pictures
    shown = chosen.filter(pl.col("photo_id").is_in(list(pictures)))
    places = {label: k for k, label in enumerate(labels)}
    outcomes: dict[str, list[Any]] = {}
    paths = shown.select("path")
    for rows in predictions if paths.height else ():
        needed = rows.select("path", "model", *_OUTCOME).join(paths, on="path", how="semi")
        for path, label, name, right, sure in needed.iter_rows():
            cells = outcomes.setdefault(path, [None] * len(labels))
            confidence = None if sure is None else float(f"{sure:.3g}")
            cells[places[label]] = [names.setdefault(name, len(names)), int(right), confidence]
    found: dict[int, list[dict[str, Any]]] = {}
    for path, identity, index, side, background, _ in shown.iter_rows():
        found.setdefault(index, []).append(
            {
                "side": side,
                "where": isolated(background or ""),
                "path": path,
                "credit": _credit(gallery, identity),
                "picture": pictures[identity],
                "by": outcomes.get(path, []),
            }
        )
    return found


def _credit(gallery: Gallery, identity: str) -> str:
    _, source = gallery.credits[identity]
    # Without a name, there is only the entry in the list of photo credits.
    return f"{source.attribution}, {source.licence or UNKNOWN_LICENCE}" if source.attribution else ""


NO_GROUP = "all"
_SIDES = pl.col("group").fill_null(NO_GROUP).alias("side")


def informative_photos(predictions: Iterable[pl.DataFrame], per_cell: int) -> pl.DataFrame:
    """Choose up to ``per_cell`` photos of each class and group, the most informative first.

    These are counter photos that most models get wrong, with high confidence, and common photos that most get
    right, with high confidence. Photos without a group are ranked like counter photos, and chosen only in
    classes that have no others: beside common and counter photos the page has no place for them.

    Args:
        predictions: ``path, photo_id, class_index, group, background, correct, confidence`` of each model.
        per_cell: photos per class and group.

    Returns:
        ``path, photo_id, class_index, side, background, rank`` (from 0), in turns over classes: all photos of
        rank 0 by class, common before counter, then those of rank 1, and so on.
    """
    ranked = (
        _fitting(predictions)
        .with_columns(share=pl.col("fits") / pl.col("n"), sure=pl.col("sure") / pl.col("known"))
        .with_columns(_SIDES, pl.col("sure").fill_nan(0.0))
        .sort(["class_index", "side", "share", "sure", "path"], descending=[False, False, True, True, False])
        .filter((pl.col("side") != NO_GROUP) | pl.col("group").is_null().all().over("class_index"))
        .with_columns(rank=pl.int_range(pl.len()).over("class_index", "side"))
    )
    chosen = ranked.filter(pl.col("rank") < per_cell).sort("rank", "class_index", "side", "path")
    return chosen.select("path", "photo_id", "class_index", "side", "background", "rank")


def _fitting(predictions: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return each photo with ``n`` models, how many of them fit, and the sum of their ``known`` confidences.

    A photo fits if it is a counter photo that is wrong or a common photo that is right.
    """
    fits = pl.col("correct") == pl.col("group").eq_missing("common")
    sure = pl.when(fits).then(pl.col("confidence").cast(pl.Float64))
    tallies = {"n": pl.lit(1), "fits": fits, "known": sure.is_not_null(), "sure": sure.fill_null(0.0)}
    total = pl.DataFrame()
    for rows in predictions:
        tally = rows.select(*_PHOTO, **{name: of.cast(pl.Float64) for name, of in tallies.items()})
        total = pl.concat([total, tally] if total.height else [tally]).group_by(_PHOTO).sum()
    return total


def confusions(predictions: Iterable[pl.DataFrame], names: int = _NAMES_KEPT) -> pl.DataFrame:
    """Count what the photos of each class and group are predicted as, most frequent wrong names first.

    Args:
        predictions: ``model`` (its label), ``class_index, group, correct, predicted_name`` of each model.
        names: number of wrong names kept in each cell.

    Returns:
        ``model, class_index, side, n`` (photos), ``right`` (of them), ``wrong``: a list of structs of
        ``name`` (null: an answer that names no class) and ``count``.
    """
    cells = ["model", "class_index", "side"]
    return pl.concat([_confusions(rows, cells, names) for rows in predictions]).sort(cells)


def _confusions(predictions: pl.DataFrame, cells: list[str], names: int) -> pl.DataFrame:
    sided = predictions.with_columns(_SIDES)
    sizes = sided.group_by(cells).agg(n=pl.len(), right=pl.col("correct").sum())
    wrong = (
        sided.filter(~pl.col("correct"))
        .group_by(*cells, name="predicted_name")
        .agg(count=pl.len())
        .sort("count", "name", descending=[True, False], nulls_last=True)
        .group_by(cells, maintain_order=True)
        .agg(wrong=pl.struct("name", "count").head(names))
    )
    return sizes.join(wrong, on=cells, how="left")
