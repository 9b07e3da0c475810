"""From a pool to a benchmark: the photos that stand, and notes that count the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from counterground.construction.pool._names import spelling_of
from counterground.errors import CounterGroundError
from counterground.photos import (
    MANIFEST_SCHEMA,
    Benchmark,
    assign_classes,
    describe_gaps,
    name_key,
    quoted_ways,
    respelled,
)
from counterground.text import and_more


def freeze(
    root: Path, photos: pl.DataFrame, review: pl.DataFrame, background: pl.DataFrame, labels: Iterable[str]
) -> Benchmark:
    """Return the benchmark of the photos that stand; see ``Pool.freeze``.

    Args:
        root: the pool's folder.
        photos: photos as ``PHOTO_SCHEMA``, sorted by path.
        review: review verdicts on them, as ``VERDICT_SCHEMA``.
        background: background verdicts, likewise.
        labels: the pool's background labels.
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
    names = [classes.label_space.names[index] for index in indices]
    places, notes_on_spelling = _in_one_spelling(backgrounds["label"], labels)
    manifest = kept.with_columns(
        pl.Series("class_index", indices, pl.Int32),
        pl.Series("class_name", names, pl.String),
        places.alias("background"),
        pl.lit(None, pl.String).alias("group"),
    ).select(*MANIFEST_SCHEMA)
    notes = (*classes.notes, *notes_on_spelling, *_notes(review, backgrounds, stands, len(photos)))
    notes += (*_notes_on_classes(photos, kept), *_notes_on_clusters(kept))
    benchmark = Benchmark(root.name, root, manifest, classes.label_space, notes)
    return benchmark.described(notes=(*notes, *describe_gaps(benchmark)))


def _in_one_spelling(found: pl.Series, labels: Iterable[str]) -> tuple[pl.Series, tuple[str, ...]]:
    """Write labels that differ only in spelling as the first of them in the pool, and note which they are.

    A benchmark refuses them, but a label that was used in a pool can be neither renamed nor removed.
    """
    used = found.drop_nulls().unique().sort().to_list()
    spelling = spelling_of([*labels, *used])
    ways = [(spelling[name_key(same[0])], same) for same in respelled(used)]
    notes = [f"Backgrounds written as {first!r}: {', '.join(quoted_ways(same))}." for first, same in ways]
    return found.replace({way: first for first, same in ways for way in same}), tuple(notes)


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
    """Note photos that count as independent although others do not, or although their source relates them."""
    without = kept.filter(pl.col("cluster").is_null())
    origins = [pl.when(pl.col(name) != "").then(name) for name in ("observer", "observation")]
    related = pl.any_horizontal(origin.is_duplicated() & origin.is_not_null() for origin in origins)
    alike = len(kept.filter(related & pl.col("cluster").is_null()))
    if without.is_empty() or (len(without) == len(kept) and not alike):
        return ()
    note = f"{len(without)} of {len(kept)} photos have no cluster, so each counts as independent"
    if alike:
        note += (
            f", though {alike} share an observer or an observation with others: intervals may be too "
            "narrow. To change this, import their source again with clusters in a column 'cluster'"
        )
    return (f"{note}.",)
