"""Which photos are on which side of a contrast, and which strata have photos on one side only."""

from __future__ import annotations

import polars as pl

from counterground.metrics import DROP, GROUPS, Contrast, selection


def on_sides(rows: pl.DataFrame, contrast: Contrast) -> pl.DataFrame:
    """Set ``group`` to the side each photo is on (``common`` is left); a photo on both appears twice.

    What counts in no class is left out: photos on no side, and strata with photos on one side only. For the
    drop, all rows are returned unchanged.

    Args:
        rows: photos or predictions, with the columns that the contrast reads.
        contrast: the contrast whose sides they are on.
    """
    if contrast == DROP:
        return rows
    both = _sided(rows, contrast)
    if _has_strata(contrast):
        within = contrast.of_classes().within
        both = both.drop_nulls(within).filter(pl.col("side").n_unique().over(within) == len(GROUPS))
    return both.with_columns(group="side").drop("side")


def strata_left_out(photos: pl.DataFrame, contrast: Contrast) -> list[str]:
    """Name the strata with photos on one side only, and the side: ``landbird · boat (only place=water)``."""
    if contrast == DROP or not contrast.within or not _has_strata(contrast):
        return []
    sides = dict(zip(GROUPS, contrast.titles, strict=True))
    strata = _sided(photos, contrast).drop_nulls(contrast.within).group_by(contrast.within)
    alone = strata.agg(pl.col("side").unique()).filter(pl.col("side").list.len() == 1).sort(contrast.within)
    return [f"{' · '.join(values)} (only {sides[side[0]]})" for *values, side in alone.iter_rows()]


def _sided(rows: pl.DataFrame, contrast: Contrast) -> pl.DataFrame:
    sides = [
        rows.filter(selection(side, rows.schema)).with_columns(side=pl.lit(group))
        for group, side in zip(GROUPS, contrast.sides, strict=True)
    ]
    return pl.concat(sides)


def _has_strata(contrast: Contrast) -> bool:
    return all(side.average is None for side in contrast.sides)
