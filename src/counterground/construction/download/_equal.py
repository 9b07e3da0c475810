"""Notes on photos with the same content: each address gives a photo of its own, even if they are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from counterground.construction.pool import Pool

_CONTENT = ("photo_id", "class_name")


def note_equal(pool: Pool, known: pl.DataFrame) -> tuple[str, ...]:
    """Note new photos that their class has from another address.

    Args:
        pool: the pool, with the new photos.
        known: path, photo_id and class_name of those that it had before.
    """
    new = pool.photos().join(known, on="path", how="anti").sort("path")
    had = new.join(known, on=_CONTENT, how="semi")
    others = new.join(known, on=_CONTENT, how="anti")
    number = len(had) + len(others) - others.select(_CONTENT).n_unique()
    if not number:
        return ()
    gone = known.filter(pl.col("path").is_in(discarded_paths(pool)))
    again = len(had.join(gone, on=_CONTENT, how="semi"))
    photos = "1 photo is identical to one" if number == 1 else f"{number:,} photos are identical to others"
    discarded = f", {again:,} of them discarded" if again else ""
    remedy = "added again. `counterground data curate` finds duplicates."
    return (f"{photos} that the pool has from another address{discarded}: {remedy}",)


def discarded_paths(pool: Pool) -> set[str]:
    """Return the photos that annotators discarded."""
    return set(pool.verdicts("review").filter(~pl.col("stands") & (pl.col("status") != "disagreed"))["path"])
