"""Which photos tell most about a class, and what its photos are taken for."""

from __future__ import annotations

import polars as pl

NO_GROUP = "all"
_SIDES = pl.col("group").fill_null(NO_GROUP).alias("side")


def telling_photos(predictions: pl.DataFrame, per_cell: int) -> pl.DataFrame:
    """Choose up to ``per_cell`` photos of each class and group, the most telling first.

    Counter photos tell most where most models are wrong and, among those, where they are surest of the wrong
    name; common photos where most models are right, and surest of it. Photos without a group count as
    counter photos.

    Args:
        predictions: ``path, photo_id, class_index, group, correct, confidence`` of all models.
        per_cell: photos of a class and group.

    Returns:
        ``path, photo_id, class_index, side, background, rank`` (from 0), in turns over classes: all photos of
        rank 0 by class, common before counter, then those of rank 1, and so on.
    """
    # A wrong counter photo and a right common photo are the two that belong on the page.
    fits = pl.col("correct") == (pl.col("side") == "common")
    ranked = (
        predictions.with_columns(_SIDES)
        .with_columns(fits=fits)
        .group_by("class_index", "side", "path", "photo_id", "background")
        .agg(
            share=pl.col("fits").mean(),
            sure=pl.col("confidence").filter("fits").mean().fill_null(0.0),
        )
        .sort(["class_index", "side", "share", "sure", "path"], descending=[False, False, True, True, False])
        .with_columns(rank=pl.int_range(pl.len()).over("class_index", "side"))
    )
    chosen = ranked.filter(pl.col("rank") < per_cell).sort("rank", "class_index", "side", "path")
    return chosen.select("path", "photo_id", "class_index", "side", "background", "rank")


def confusions(predictions: pl.DataFrame, names: int = 3) -> pl.DataFrame:
    """Count what the photos of each class and group are taken for, most frequent wrong names first.

    Args:
        predictions: ``model`` (its label), ``class_index, group, correct, predicted_name``.
        names: wrong names that are kept in each cell.

    Returns:
        ``model, class_index, side, n`` (photos), ``right`` (of them), ``wrong``: a list of structs of
        ``name`` (null: an answer that names no class) and ``count``.
    """
    cells = ["model", "class_index", "side"]
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
    return sizes.join(wrong, on=cells, how="left").sort(cells)


def telling_confusions(counted: pl.DataFrame, model: str, at_most: int = 5) -> pl.DataFrame:
    """The confusions of one model that the counter background brings most often.

    Returns:
        ``class_index, name, count, n`` (counter photos), ``before`` and ``n_before`` (the same confusion
        among common photos), by the difference of the two shares; only where it is positive.
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
