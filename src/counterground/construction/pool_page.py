"""What a pool holds and what was decided, counted once for the terminal and for one self-contained page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.pool import LATER, REVIEW_LABELS
from counterground.files import write_text
from counterground.metrics import agreement
from counterground.reporting.shell import page_path, render_page
from counterground.text import NOTHING, count, counted, decimal, percent

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


SIDES = ("kept", "undecided", "disagreed", "discarded")
FEW_PHOTOS = 50
FEW_IN_CLASS = 10
_BY_NAME = (pl.col("class_name").str.to_lowercase(), pl.col("class_name"))


@dataclass(frozen=True)
class PoolSummary:
    """A pool in frames; every count is of photos unless its name says otherwise.

    Attributes:
        name: the pool's folder.
        classes: ``class_name``, ``photos`` = ``kept`` + ``discarded`` + ``disagreed`` (annotators differ)
            + ``undecided`` (nobody reviewed it); of those kept or undecided (as in ``Pool.freeze``)
            ``labelled``, ``unlabelled`` and ``unsettled`` backgrounds. Classes of which only candidates are
            known have 0 photos.
        backgrounds: ``class_name, label, n`` of photos kept or undecided, where there are any.
        labels: the pool's background labels in order, then others that occur in ``backgrounds``.
        discards: ``class_name, label, n``; the label is the first reason that was given.
        annotators: ``annotator, task, decisions`` (in force, repeated ones included), ``photos``,
            ``postponed`` and ``undone`` (decisions) and ``seconds``, the median time of a decision;
            null if no time was kept.
        agreement: as ``metrics.agreement`` gives it: all photos, then classes, then labels in order.
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
    licences: pl.DataFrame
    warnings: tuple[str, ...]

    def total(self, column: str) -> int:
        """Return the sum of a column of ``classes``."""
        return int(self.classes[column].sum())

    def sentence(self) -> str:
        """Say in one or two sentences what the pool holds and what is left to do."""
        sides = [f"{count(self.total(side))} {side}" for side in ("kept", "discarded", *SIDES[2:0:-1])]
        return (
            f"{counted(self.total('photos'), 'photo')} of {counted(len(self.classes), 'class')}: "
            f"{', '.join(sides)}. Of those kept or undecided, {count(self.total('unlabelled'))} without a "
            f"background label, {count(self.total('unsettled'))} with one on which annotators disagree."
        )


def summarise_pool(pool: Pool) -> PoolSummary:
    """Count what a pool holds; write nothing.

    Raises:
        CounterGroundError: the pool's database is damaged or locked for too long.
    """
    photos, review = pool.photos(), pool.verdicts("review")
    background = pool.verdicts("background").select("path", label="label", labelling="status")
    state = review.select("path", "class_name", "stands", reason="label", side=_side()).join(
        background, on="path"
    )
    standing = state.filter("stands")
    known = pool.background_labels()
    used = standing["label"].drop_nulls().unique().sort()
    labels = [*known, *(label for label in used if label not in known)]
    found = _in_order(agreement(pool.votes_by_cluster()), labels)
    discarded = state.filter(pl.col("side") == "discarded").with_columns(label="reason")
    return PoolSummary(
        pool.root.name,
        _classes(state, pool.candidates()),
        _counts_by_class(standing),
        labels,
        _counts_by_class(discarded),
        _annotators(pool.decisions()),
        found,
        photos.select("path", "licence")
        .join(state, on="path")
        .group_by("licence")
        .agg(photos=pl.len().cast(pl.Int64), standing=pl.col("stands").sum().cast(pl.Int64))
        .sort("photos", "licence", descending=[True, False], nulls_last=True),
        tuple(_warnings(found)),
    )


def _side() -> pl.Expr:
    """Return the side of ``SIDES`` on which a photo is after the review."""
    status = pl.col("status").replace({"none": "undecided"})
    decided = pl.when("stands").then(pl.lit("kept")).otherwise(pl.lit("discarded"))
    return pl.when(status.is_in(SIDES)).then(status).otherwise(decided)


def _classes(state: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    stands, labelling = pl.col("stands"), pl.col("labelling")
    counts = state.group_by("class_name").agg(
        photos=pl.len(),
        **{name: (pl.col("side") == name).sum() for name in SIDES},
        labelled=(stands & pl.col("label").is_not_null()).sum(),
        unlabelled=(stands & (labelling == "none")).sum(),
        unsettled=(stands & (labelling == "disagreed")).sum(),
    )
    names = pl.concat([frame.select("class_name") for frame in (state, candidates)]).unique()
    whole = pl.all().exclude("class_name").cast(pl.Int64).fill_null(0)
    return names.join(counts, on="class_name", how="left").with_columns(whole).sort(*_BY_NAME)


def _counts_by_class(frame: pl.DataFrame) -> pl.DataFrame:
    labelled = frame.drop_nulls("label").group_by("class_name", "label")
    return labelled.agg(n=pl.len().cast(pl.Int64)).sort(*_BY_NAME, "label")


def _in_order(found: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    """Return rows of all photos, of classes, then of labels in the order in which annotators see them."""
    order = {label: number for number, label in enumerate([*REVIEW_LABELS, *labels])}
    rank = pl.col("label").replace_strict(order, default=len(order), return_dtype=pl.Int64)
    rank = pl.when(pl.col("label").is_null()).then(-1).otherwise(rank)
    return found.sort("task", rank, descending=[True, False], maintain_order=True)


def _annotators(decisions: pl.DataFrame) -> pl.DataFrame:
    stand, later = ~pl.col("undone"), pl.col("labels").list.first() == LATER
    counts = stand & ~later
    columns = {
        "decisions": counts.sum(),
        "photos": pl.col("path").filter(counts).n_unique(),
        "postponed": (later & stand).sum(),
        "undone": pl.col("undone").sum(),
    }
    return (
        decisions.filter(pl.col("undoes").is_null())
        .group_by("annotator", "task")
        .agg(
            **{name: column.cast(pl.Int64) for name, column in columns.items()},
            seconds=pl.col("seconds").filter(counts).median(),
        )
        .sort("task", "annotator", descending=[True, False])
    )


def _warnings(found: pl.DataFrame) -> Iterator[str]:
    for row in whole_pool(found):
        if row["photos"] < FEW_PHOTOS:
            two = f"{counted(row['photos'], 'photo')} with {row['task']} decisions from two annotators"
            yield f"{two}: agreement is uncertain."


def whole_pool(found: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of ``metrics.agreement`` that are about all photos, one for each task."""
    return found.filter(pl.col("class_name").is_null(), pl.col("label").is_null()).to_dicts()


def agreement_words(row: Mapping[str, Any]) -> list[str]:
    """Write a row of ``metrics.agreement``: photos, percent, kappa, alpha, interval."""
    interval = NOTHING if row["low"] is None else f"{decimal(row['low'])} to {decimal(row['high'])}"
    figures = decimal(row["kappa"]), decimal(row["alpha"])
    return [count(row["photos"]), percent(row["agreement"]), *figures, interval]


def count_map(counts: pl.DataFrame, columns: Sequence[str], beside: Mapping[str, str]) -> dict[str, Any]:
    """Return ``columns`` and ``rows`` (``name``, ``beside``, ``counts``) of a table of classes by labels."""
    cells = {(name, label): n for name, label, n in counts.iter_rows()}
    rows = [
        {"name": name, "beside": said, "counts": [cells.get((name, label), 0) for label in columns]}
        for name, said in beside.items()
    ]
    return {"columns": columns, "rows": rows}


def write_pool_report(summary: PoolSummary, out: Path) -> Path:
    """Write one self-contained HTML file about a pool and return its path.

    The page holds no script and loads nothing (its content security policy forbids both).

    Args:
        summary: what ``summarise_pool`` returned.
        out: the file, or an existing folder (the file is then ``pool.html`` in it).

    Raises:
        UsageError: the file does not end in .html.
        CounterGroundError: the file cannot be written.
    """
    path = page_path(Path(out), "pool.html")
    classes = summary.classes.to_dicts()
    labelled = {
        row["class_name"]: f"{count(row['labelled'])} of {count(row['kept'] + row['undecided'])} labelled"
        for row in classes
    }
    discarded = {row["class_name"]: f"{count(row['discarded'])} of {count(row['photos'])}" for row in classes}
    rows = [(row["task"], row["class_name"] or row["label"], row) for row in summary.agreement.to_dicts()]
    tasks = summary.agreement["task"].unique(maintain_order=True)
    page = render_page(
        "pool.html.j2",
        "counterground.construction",
        summary=summary,
        sides=SIDES,
        backgrounds=count_map(summary.backgrounds, summary.labels, labelled),
        discards=count_map(summary.discards, REVIEW_LABELS[1:], discarded),
        agreement=[
            (task, [(name, agreement_words(row)) for of, name, row in rows if of == task]) for task in tasks
        ],
        few_in_class=FEW_IN_CLASS,
    )
    write_text(path, page)
    return path
