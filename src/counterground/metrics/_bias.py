"""Whether mistakes on counter photos follow the background."""

from __future__ import annotations

import polars as pl

_NEEDED = ("group", "background", "true_index", "predicted_index")


def background_errors(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the wrong predictions on counter photos that name another class of the benchmark.

    A class is of the benchmark if the background of its common photos is known.

    Args:
        rows: rows of ``predictions.parquet`` of one model in one setting.

    Returns:
        Their rows with ``follows``: whether the background is a common one of the class that is named; and
        ``chance``: the share of the other classes of which it is. Empty if a column is missing.
    """
    if not set(_NEEDED) <= set(rows.columns):
        return rows.clear()
    common = rows.filter(pl.col("group") == "common").select("true_index", "background")
    common = common.drop_nulls().unique(maintain_order=True)
    classes = common["true_index"].unique()
    known = pl.col("background").is_not_null() & pl.col("predicted_index").is_in(classes.implode())
    other = pl.col("predicted_index").ne_missing(pl.col("true_index"))
    wrong = rows.filter(pl.col("group") == "counter", ~pl.col("correct"), known, other)
    fitting = common.group_by("background", maintain_order=True).agg(here="true_index")
    wrong = wrong.join(fitting, on="background", how="left", maintain_order="left")
    here, own = pl.col("here").fill_null([]), pl.col("true_index")
    others = here.list.len() - here.list.contains(own).fill_null(value=False)
    return wrong.with_columns(
        follows=here.list.contains(pl.col("predicted_index")),
        chance=others / (len(classes) - own.is_in(classes.implode()).fill_null(value=False).cast(pl.Int64)),
    )
