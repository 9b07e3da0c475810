"""What a pool holds and what was decided, counted once for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from counterground.construction.pool import LATER, REVIEW_LABELS
from counterground.metrics import agreement
from counterground.text import NOTHING, count, counted, decimal, percent

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


REASONS = REVIEW_LABELS[1:]
SIDES = ("kept", "undecided", "disagreed", "discarded")
FEW_PHOTOS = 50
FEW_IN_CLASS = 10
_WHOLE = pl.col("class_name").is_null() & pl.col("label").is_null()
_BY_NAME = (pl.col("class_name").str.to_lowercase(), pl.col("class_name"))


@dataclass(frozen=True)
class PoolSummary:
    """A pool in frames; every count is of photos unless its name says otherwise.

    Attributes:
        name: the pool's folder.
        classes: ``class_name``, ``photos`` = ``kept`` + ``discarded`` + ``disagreed`` (annotators differ)
            + ``undecided`` (nobody reviewed it), ``reviewed`` (all but the undecided); of those kept
            or undecided (as in ``Pool.freeze``) ``labelled``, ``unlabelled`` and ``unsettled``
            backgrounds. Classes of which only candidates are known have 0 photos.
        backgrounds: ``class_name, background, n`` of photos kept or undecided, where there are any.
        labels: the pool's background labels in order, then others that occur in ``backgrounds``.
        discards: ``class_name, reason, n``; the reason is the first that was given.
        annotators: ``annotator, task, decisions`` (in force, repeated ones included), ``photos``,
            ``postponed`` and ``undone`` (decisions), ``suggested`` (decisions with a model's suggestion on
            screen) and ``seconds``, the median time of a decision; null if no time was kept.
        agreement: as ``metrics.agreement`` gives it.
        candidates: ``class_name, wanted, got, failed`` (candidates).
        failures: ``reason, n`` of candidates that failed, the most frequent first.
        licences: ``licence`` (null: unknown), ``photos``, ``standing``.
        warnings: what a reader must know before believing the figures, one sentence each.
    """

    name: str
    classes: pl.DataFrame
    backgrounds: pl.DataFrame
    labels: list[str]
    discards: pl.DataFrame
    annotators: pl.DataFrame
    agreement: pl.DataFrame
    candidates: pl.DataFrame
    failures: pl.DataFrame
    licences: pl.DataFrame
    warnings: tuple[str, ...]

    def total(self, column: str) -> int:
        """Return the sum of a column of ``classes``."""
        return int(self.classes[column].sum())


def summarise_pool(pool: Pool) -> PoolSummary:
    """Count what a pool holds; write nothing.

    Raises:
        CounterGroundError: the pool's database is damaged or locked for too long.
    """
    photos, decisions, candidates = pool.photos(), pool.decisions(), pool.candidates()
    state = _state(pool.verdicts("review"), pool.verdicts("background"))
    labels = _labels(pool.background_labels(), state.filter("stands"))
    found = _in_order(agreement(pool.votes_by_cluster()), labels)
    annotators = _annotators(decisions)
    return PoolSummary(
        pool.root.name,
        _classes(state, candidates),
        _counts_by_class(state.filter("stands"), "background", "background"),
        labels,
        _counts_by_class(state.filter(pl.col("side") == "discarded"), "review", "reason"),
        annotators,
        found,
        _candidates(candidates),
        candidates.filter(pl.col("status") == "failed")
        .group_by("reason")
        .agg(n=pl.len().cast(pl.Int64))
        .sort("n", "reason", descending=[True, False]),
        _licences(photos, state),
        tuple(_warnings(found, annotators)),
    )


def _state(review: pl.DataFrame, background: pl.DataFrame) -> pl.DataFrame:
    """Return each photo's side, whether it stands, its labels, and the status of its background."""
    status = pl.col("status")
    side = (
        pl.when(status == "none")
        .then(pl.lit("undecided"))
        .when(status == "disagreed")
        .then(pl.lit("disagreed"))
        .when("stands")
        .then(pl.lit("kept"))
        .otherwise(pl.lit("discarded"))
    )
    return review.select("path", "class_name", "stands", pl.col("label").alias("review"), side=side).join(
        background.select("path", pl.col("label").alias("background"), status.alias("labelling")), on="path"
    )


def _classes(state: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    stands, side = pl.col("stands"), pl.col("side")
    counted = state.group_by("class_name").agg(
        photos=pl.len(),
        reviewed=(side != "undecided").sum(),
        **{name: (side == name).sum() for name in SIDES},
        labelled=(stands & pl.col("background").is_not_null()).sum(),
        unlabelled=(stands & (pl.col("labelling") == "none")).sum(),
        unsettled=(stands & (pl.col("labelling") == "disagreed")).sum(),
    )
    names = pl.concat([frame.select("class_name") for frame in (state, candidates)]).unique()
    counts = pl.all().exclude("class_name").cast(pl.Int64).fill_null(0)
    return names.join(counted, on="class_name", how="left").with_columns(counts).sort(*_BY_NAME)


def _counts_by_class(frame: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """Return ``class_name``, the column's values as ``name`` (without nulls) and ``n``."""
    return (
        frame.select("class_name", pl.col(column).alias(name))
        .drop_nulls(name)
        .group_by("class_name", name)
        .agg(n=pl.len().cast(pl.Int64))
        .sort(*_BY_NAME, name)
    )


def _labels(known: list[str], state: pl.DataFrame) -> list[str]:
    used = state["background"].drop_nulls().unique().sort()
    return [*known, *(label for label in used if label not in known)]


def _in_order(found: pl.DataFrame, labels: list[str]) -> pl.DataFrame:
    """Return rows of all photos, of classes, then of labels in the order in which annotators see them."""
    place = {label: number for number, label in enumerate([*REVIEW_LABELS, *labels])}
    ranks = [-1 if label is None else place.get(label, len(place)) for label in found["label"]]
    rank = pl.Series("rank", ranks, dtype=pl.Int64)
    return (
        found.with_columns(rank)
        .sort("task", "rank", descending=[True, False], maintain_order=True)
        .drop("rank")
    )


def _annotators(decisions: pl.DataFrame) -> pl.DataFrame:
    events = decisions.filter(pl.col("undoes").is_null())
    later = pl.col("labels").list.first() == LATER
    counts = ~later & ~pl.col("undone")
    return (
        events.group_by("annotator", "task")
        .agg(
            decisions=counts.sum().cast(pl.Int64),
            photos=pl.col("path").filter(counts).n_unique().cast(pl.Int64),
            postponed=(later & ~pl.col("undone")).sum().cast(pl.Int64),
            undone=pl.col("undone").sum().cast(pl.Int64),
            suggested=(counts & pl.col("suggestion").is_not_null()).sum().cast(pl.Int64),
            seconds=pl.col("seconds").filter(counts).median(),
        )
        .sort("task", "annotator", descending=[True, False])
    )


def _candidates(candidates: pl.DataFrame) -> pl.DataFrame:
    states = {name: (pl.col("status") == name).sum().cast(pl.Int64) for name in ("wanted", "got", "failed")}
    return candidates.group_by("class_name").agg(**states).sort("class_name")


def _licences(photos: pl.DataFrame, state: pl.DataFrame) -> pl.DataFrame:
    return (
        photos.select("path", "licence")
        .join(state.select("path", "stands"), on="path")
        .group_by("licence")
        .agg(photos=pl.len().cast(pl.Int64), standing=pl.col("stands").sum().cast(pl.Int64))
        .sort(pl.col("photos"), pl.col("licence"), descending=[True, False], nulls_last=True)
    )


def _warnings(found: pl.DataFrame, annotators: pl.DataFrame) -> Iterator[str]:
    for task, photos in found.filter(_WHOLE).select("task", "photos").iter_rows():
        if photos < FEW_PHOTOS:
            two = f"{counted(photos, 'photo')} with {task} decisions from two annotators"
            yield f"{two}: agreement is uncertain."
    for task, suggested, decisions in (
        annotators.group_by("task", maintain_order=True)
        .agg(pl.col("suggested", "decisions").sum())
        .filter(pl.col("suggested") > 0)
        .iter_rows()
    ):
        yield (
            f"{suggested:,} of {decisions:,} decisions on {task} were made with a model's suggestion on "
            "screen, which biases annotators towards it and towards each other."
        )


def pool_sentence(summary: PoolSummary) -> str:
    """Say in one or two sentences what the pool holds and what is left to do."""
    photos, classes = summary.total("photos"), summary.classes.height
    sides = [
        f"{count(summary.total(side))} {side}" for side in ("kept", "discarded", "disagreed", "undecided")
    ]
    sentence = f"{counted(photos, 'photo')} of {counted(classes, 'class')}: {', '.join(sides)}."
    return (
        f"{sentence} Of those kept or undecided, {count(summary.total('unlabelled'))} without a background "
        f"label, {count(summary.total('unsettled'))} with one on which annotators disagree."
    )


class AgreementWords(NamedTuple):
    """One row of agreement as texts; en dashes where a figure is unknown."""

    photos: str
    agreement: str
    kappa: str
    alpha: str
    interval: str


def agreement_words(row: Mapping[str, Any]) -> AgreementWords:
    """Write a row of ``metrics.agreement``: percent, kappa and alpha with two decimals."""
    kappa, alpha = decimal(row["kappa"]), decimal(row["alpha"])
    interval = NOTHING if row["low"] is None else f"{decimal(row['low'])} to {decimal(row['high'])}"
    return AgreementWords(count(row["photos"]), percent(row["agreement"]), kappa, alpha, interval)
