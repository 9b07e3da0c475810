"""From a pool to a benchmark: the photos that stand, and notes that count the others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError
from counterground.photos import (
    MANIFEST_SCHEMA,
    Benchmark,
    assign_classes,
    describe_gaps,
)
from counterground.text import and_more


def freeze(root: Path, photos: pl.DataFrame, review: pl.DataFrame, background: pl.DataFrame) -> Benchmark:
    """Return the benchmark of the photos that stand; see ``Pool.freeze``.

    Args:
        root: the pool's folder.
        photos: photos as ``PHOTO_SCHEMA``, sorted by path.
        review: review verdicts on them, as ``VERDICT_SCHEMA``.
        background: background verdicts, likewise.
    """
    stands = review["stands"]
    kept, backgrounds = photos.filter(stands), background.filter(stands)
    if kept.is_empty():
        raise CounterGroundError(
            f"The pool {root} has no photo to keep: all {len(photos)} were discarded, or annotators disagree "
            "on them. Collect or import photos, or keep some with `counterground data label`."
        )
    classes = assign_classes(kept["class_name"].unique().sort().to_list())
    indices = [classes.index[name] for name in kept["class_name"]]
    names = [classes.classes.names[index] for index in indices]
    manifest = kept.with_columns(
        pl.Series("class_index", indices, pl.Int32),
        pl.Series("class_name", names, pl.String),
        backgrounds["label"].alias("background"),
        pl.lit(None, pl.String).alias("group"),
    ).select(*MANIFEST_SCHEMA)
    notes = (*classes.notes, *_notes(review, backgrounds, stands, len(photos)))
    notes += (*_notes_on_classes(photos, kept), *_notes_on_clusters(kept))
    benchmark = Benchmark(root.name, root, manifest, classes.classes, notes)
    return benchmark.described(notes=(*notes, *describe_gaps(benchmark)))


def _notes(review: pl.DataFrame, backgrounds: pl.DataFrame, stands: pl.Series, total: int) -> tuple[str, ...]:
    discarded = review.filter(~stands & (pl.col("status") != "disagreed"))["label"].to_list()
    reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(discarded).most_common())
    unsettled = int((review["status"] == "disagreed").sum())
    unseen = int((review["status"] == "none").sum())
    unlabelled = int((backgrounds["status"] == "none").sum())
    no_background = int((backgrounds["status"] == "disagreed").sum())
    kept = int(stands.sum())
    settle = "since annotators disagree on %s: settle this in `counterground data label`, page Disagreements"
    notes = (
        (len(discarded), f"{len(discarded)} of {total} photos of the pool were discarded ({reasons})."),
        (unsettled, f"{unsettled} of {total} photos are left out, {settle % 'keeping them'}."),
        (unseen, f"{unseen} of {total} photos were included without a review."),
        (unlabelled, f"{unlabelled} of {kept} photos have no background label yet."),
        (no_background, f"{no_background} of {kept} photos have no background, {settle % 'it'}."),
    )
    return tuple(sentence for count, sentence in notes if count)


def _notes_on_classes(photos: pl.DataFrame, kept: pl.DataFrame) -> tuple[str, ...]:
    """Note classes without a photo that stands: the label space of the benchmark lacks them."""
    classes = photos["class_name"].unique().sort()
    gone = classes.filter(~classes.is_in(kept["class_name"].unique().to_list())).to_list()
    if not gone:
        return ()
    return (f"No photo is left of {len(gone)} of {len(classes)} classes of the pool: {and_more(gone, 5)}.",)


def _notes_on_clusters(kept: pl.DataFrame) -> tuple[str, ...]:
    """Note photos that count as independent although others do not."""
    without = kept["cluster"].null_count()
    if not 0 < without < len(kept):
        return ()
    return (f"{without} of {len(kept)} photos have no cluster, so each counts as independent.",)
