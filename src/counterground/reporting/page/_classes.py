"""One class at a time: every model's numbers and predictions, and the most informative photos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from counterground.findings import DROP_WORDS, Words
from counterground.reporting.class_facts import ClassFacts
from counterground.reporting.page._gallery import Gallery
from counterground.results import ModelScores
from counterground.text import isolated

_NAMES_KEPT = 3
_PHOTO = ("path", "photo_id", "class_index", "group", "background")
_OUTCOME = ("predicted_name", "correct", "confidence", "top2_gap", "true_rank")
COLUMNS = (*_PHOTO, *_OUTCOME)
"""Columns of the predictions that the page reads."""


class ClassData(NamedTuple):
    """A class for the script: ``data`` is JSON, ``choice`` its entry in the list of classes."""

    class_index: int
    choice: str
    data: dict[str, Any]


class ConfusionWords(NamedTuple):
    """A confusion that is more frequent on the counter background: the class and a sentence."""

    class_index: int
    text: str


@dataclass(frozen=True)
class ClassPage:
    """All classes, what they share (models, names), and confusions more frequent on counter backgrounds.

    ``sided`` says whether any of the chosen photos is on a side, which decides what makes it informative.
    """

    classes: list[ClassData]
    shared: dict[str, Any]
    lead: str | None
    confusions: list[ConfusionWords]
    gallery: Gallery
    chosen_per_cell: int
    sided: bool


def make_class_page(
    predictions: Iterable[pl.DataFrame],
    chosen: pl.DataFrame,
    models: Sequence[tuple[ModelScores, str]],
    order: Sequence[tuple[int, ClassFacts]],
    *,
    gallery: Gallery,
    lead: str | None,
    per_cell: int,
    words: Words = DROP_WORDS,
) -> ClassPage:
    """Gather what the page shows of every class.

    Args:
        predictions: predictions of each model, under its label; ``group`` is the side of a photo.
        chosen: the most informative photos, as `informative_photos` returns them.
        models: models in the page's order, with the CSS class of their mark.
        order: classes in the order listed, with their facts.
        gallery: the photos on the page.
        lead: label of the model whose confusions come first.
        per_cell: most photos chosen per class and group.
        words: words for the contrast whose sides the groups are.
    """
    counted = confusions(predictions, names=1_000_000)
    names = _Names()
    predicted = _predicted(counted, [model.label for model, _ in models], names)
    photos = _photos(predictions, chosen, [model.label for model, _ in models], gallery, names)
    classes = [
        ClassData(
            index,
            facts.name,
            {
                "name": isolated(facts.name),
                "common": isolated(facts.common),
                "counter": isolated(facts.counter),
                "rows": [_figures(model, index, words) for model, _ in models],
                "predicted": predicted.get(index, {}),
                "photos": photos.get(index, []),
            },
        )
        for index, facts in order
    ]
    shared = {
        "models": [{"label": model.label, "css": css} for model, css in models],
        "lead": next((k for k, (model, _) in enumerate(models) if model.label == lead), 0),
        "names": names.listed,
        **({} if words.is_drop else {"titles": words.titles}),
    }
    listed = _lead_confusions(counted, lead, dict(order)) if lead else []
    sided = bool((chosen["side"] != NO_GROUP).any())
    return ClassPage(classes, shared, lead, listed, gallery, per_cell, sided)


class _Names:
    """Predicted names, each written once and referred to by its place."""

    def __init__(self) -> None:
        self.listed: list[str | None] = []
        self._places: dict[str | None, int] = {}

    def place(self, name: str | None) -> int:
        if name not in self._places:
            self._places[name] = len(self.listed)
            self.listed.append(None if name is None else isolated(name))
        return self._places[name]


def _figures(model: ModelScores, index: int, words: Words) -> list[float | int | None]:
    common, counter, drop = model.of(words.contrast, index)
    every = model.get("accuracy", None, index)
    values = (drop.value, drop.low, drop.high, common.value, counter.value, every.value)
    return [*(None if v is None else round(100 * v, 1) for v in values), common.n, counter.n, every.n]


def _predicted(
    counted: pl.DataFrame, labels: Sequence[str], names: _Names
) -> dict[int, dict[str, list[Any]]]:
    """Return by class and side, for each model: photos, how many are right, most frequent wrong names."""
    places = {label: k for k, label in enumerate(labels)}
    found: dict[int, dict[str, list[Any]]] = {}
    for label, index, side, n, right, wrong in counted.iter_rows():
        cells = found.setdefault(index, {}).setdefault(side, [None] * len(labels))
        listed = [[names.place(item["name"]), item["count"]] for item in (wrong or [])[:_NAMES_KEPT]]
        cells[places[label]] = [n, right, listed]
    return found


def _photos(
    predictions: Iterable[pl.DataFrame],
    chosen: pl.DataFrame,
    labels: Sequence[str],
    gallery: Gallery,
    names: _Names,
) -> dict[int, list[dict[str, Any]]]:
    pictures = gallery.thumbnails.pictures
    shown = chosen.filter(pl.col("photo_id").is_in(list(pictures)))
    places = {label: k for k, label in enumerate(labels)}
    outcomes: dict[str, list[Any]] = {}
    paths = shown.select("path")
    for rows in predictions if paths.height else ():
        needed = rows.select("path", "model", *_OUTCOME).join(paths, on="path", how="semi")
        for path, label, name, right, sure, gap, rank in needed.iter_rows():
            cells = outcomes.setdefault(path, [None] * len(labels))
            cells[places[label]] = [names.place(name), int(right), _short(sure), _short(gap), rank]
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
    credit = gallery.credits[identity]
    # Without a name, there is only the entry in the list of photo credits.
    return f"{credit.attribution}, {credit.licence}" if credit.attribution else ""


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


def _lead_confusions(
    counted: pl.DataFrame, lead: str, facts: Mapping[int, ClassFacts]
) -> list[ConfusionWords]:
    found = []
    for index, name, times, n, before, n_before in background_confusions(counted, lead).iter_rows():
        class_name, common, counter = map(isolated, facts[index])
        where = f"{class_name} on {counter}" if counter else f"{class_name} (counter photos)"
        there = f"on {common}" if common else "common photos"
        text = f"{where}: {times} of {n} predicted {isolated(name)} ({there}: {before} of {n_before})"
        found.append(ConfusionWords(index, text))
    return found


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
    tallies: list[tuple[pl.DataFrame, np.ndarray]] = []
    for rows in predictions:
        photos = rows.select(_PHOTO)
        fits = rows["correct"].to_numpy() == (photos["group"].fill_null("") == "common").to_numpy()
        sure = rows["confidence"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        known = fits & ~np.isnan(sure)
        tally = np.stack([np.ones(len(fits)), fits, known, np.where(known, sure, 0.0)])
        if tallies and tallies[-1][0].equals(photos):  # usually all models saw the same photos
            tally += tallies.pop()[1]
        tallies.append((photos, tally))
    frames = [
        photos.hstack(pl.DataFrame(tally.T, schema=["n", "fits", "known", "sure"]).get_columns())
        for photos, tally in tallies
    ]
    return pl.concat(frames).group_by(_PHOTO).sum()


def confusions(predictions: Iterable[pl.DataFrame], names: int = 3) -> pl.DataFrame:
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


def background_confusions(counted: pl.DataFrame, model: str, at_most: int = 5) -> pl.DataFrame:
    """Return the confusions of one model whose share rises most from the common to the counter background.

    Returns:
        ``class_index, name, count, n`` (counter photos), ``before`` and ``n_before`` (the same confusion
        among common photos), largest difference of the two shares first; only if it is positive.
    """
    flat = counted.filter(pl.col("model") == model).explode("wrong").unnest("wrong")
    counter = flat.filter((pl.col("side") == "counter") & pl.col("name").is_not_null())
    common = flat.filter(pl.col("side") == "common")
    sizes = common.select("class_index", n_before="n").unique()
    before = common.select("class_index", "name", before="count")
    share = pl.col("count") / pl.col("n") - pl.col("before") / pl.col("n_before")
    return (
        counter.join(sizes, on="class_index")
        .join(before, on=["class_index", "name"], how="left")
        .with_columns(pl.col("before").fill_null(0))
        .with_columns(gain=share)
        .filter((pl.col("gain") > 0) & (pl.col("count") > 1))
        .sort("gain", "count", "class_index", descending=[True, True, False])
        .select("class_index", "name", "count", "n", "before", "n_before")
        .head(at_most)
    )
