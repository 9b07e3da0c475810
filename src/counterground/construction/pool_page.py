"""What a pool holds and what was decided, counted once: for the terminal, a data card and a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground.construction.pool import LATER, REVIEW_LABELS
from counterground.files import write_text
from counterground.metrics import agreement
from counterground.reporting.shell import page_path, render_page
from counterground.text import NOTHING, count, counted, decimal, percent

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


_SIDES = ("kept", "discarded", "disagreed", "undecided")
_FEW_PHOTOS = 50
_AGREEMENT = (
    "Photos with two annotators or more: percent of annotator pairs that agree, Cohen's kappa, "
    "Krippendorff's alpha with its 95 % interval. Alpha is 1 where annotators always agree and 0 where they "
    "agree as often as by chance; below 0.67 it supports no conclusion, by its author."
)


@dataclass(frozen=True)
class PoolTable:
    """A table with its cells as texts; the first ``heads`` columns are names, the others figures."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    heads: int = 1


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
        agreement: as ``metrics.agreement`` gives it: of each task all photos, classes and labels.
        licences: ``licence`` (null: unknown), ``photos``, ``standing`` (kept or undecided).
    """

    name: str
    classes: pl.DataFrame
    backgrounds: pl.DataFrame
    labels: list[str]
    discards: pl.DataFrame
    annotators: pl.DataFrame
    agreement: pl.DataFrame
    licences: pl.DataFrame

    def total(self, column: str) -> int:
        """Return the sum of a column of ``classes``."""
        return int(self.classes[column].sum())

    def sentence(self) -> str:
        """Say in one or two sentences what the pool holds and what is left to do."""
        sides = [f"{count(self.total(side))} {side}" for side in _SIDES]
        return (
            f"{counted(self.total('photos'), 'photo')} of {counted(len(self.classes), 'class')}: "
            f"{', '.join(sides)}. Of those kept or undecided, {count(self.total('unlabelled'))} without a "
            f"background label, {count(self.total('unsettled'))} with one on which annotators disagree."
        )

    @property
    def _whole(self) -> pl.DataFrame:
        return self.agreement.filter(pl.col("class_name").is_null(), pl.col("label").is_null())

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the agreement."""
        return [
            f"{counted(photos, 'photo')} with {task} decisions from two annotators: agreement is uncertain."
            for task, photos in self._whole.select("task", "photos").iter_rows()
            if photos < _FEW_PHOTOS
        ]

    def tables(self, *, details: bool = False) -> list[PoolTable]:
        """Return the tables that have rows; ``details`` adds those by class and label, and the licences."""
        counts = ("photos", *_SIDES, "unlabelled")
        classes = [*self.classes.select("class_name", *counts).rows(), ("all", *map(self.total, counts))]
        reasons = self.discards.group_by("label").agg(pl.col("n").sum()).sort("n", "label", descending=True)
        shown = self.agreement if details else self._whole
        tables = [
            _counts("Photos per class", "Undecided: nobody has reviewed them.", "class", counts, classes),
            _counts("Discarded photos", "By the first reason given.", "reason", ("photos",), reasons.rows()),
            PoolTable(
                "Decisions and pace per annotator",
                "Decisions in force; seconds are the median per decision.",
                ("annotator", "task", "decisions", "photos", "postponed", "undone", "median s"),
                [
                    (name, task, *map(count, numbers), decimal(seconds, 1))
                    for name, task, *numbers, seconds in self.annotators.iter_rows()
                ],
                heads=2,
            ),
            PoolTable(
                "Agreement of annotators",
                _AGREEMENT,
                ("task", "of", "photos", "agree %", "kappa", "alpha", "95 %"),
                [
                    (
                        row["task"],
                        row["class_name"] or row["label"] or "all, first labels",
                        count(row["photos"]),
                        percent(row["agreement"]),
                        *(decimal(row[name]) for name in ("kappa", "alpha")),
                        NOTHING if row["low"] is None else f"{decimal(row['low'])} to {decimal(row['high'])}",
                    )
                    for row in shown.iter_rows(named=True)
                    if row["photos"]
                ],
                heads=2,
            ),
        ]
        if details:
            licences = self.licences.with_columns(pl.col("licence").fill_null("unknown")).rows()
            tables += [
                self._by_class("Classes and backgrounds", self.backgrounds, self.labels),
                self._by_class("Reasons to discard by class", self.discards, REVIEW_LABELS[1:]),
                _counts(
                    "Licences", "Photos by licence.", "licence", ("photos", "kept or undecided"), licences
                ),
            ]
        return [table for table in tables if table.rows]

    def _by_class(self, title: str, counts: pl.DataFrame, labels: Sequence[str]) -> PoolTable:
        """Return a row for each class and a column for each label; a 0 says that there is no photo."""
        cells = {(name, label): n for name, label, n in counts.iter_rows()}
        rows = [
            (name, *(cells.get((name, label), 0) for label in labels)) for name in self.classes["class_name"]
        ]
        return _counts(title, "Photos by class and first label.", "class", labels, rows if cells else [])


def _counts(
    title: str, caption: str, head: str, columns: Sequence[str], rows: Sequence[Sequence[str | int]]
) -> PoolTable:
    cells = [(str(name), *(count(int(n)) for n in numbers)) for name, *numbers in rows]
    return PoolTable(title, caption, (head, *columns), cells)


def summarise_pool(pool: Pool) -> PoolSummary:
    """Count what a pool holds; write nothing.

    Raises:
        CounterGroundError: the pool's database is damaged or locked for too long.
    """
    status = pl.col("status")
    decided = pl.when("stands").then(pl.lit("kept")).otherwise(pl.lit("discarded"))
    undecided = pl.when(status == "none").then(pl.lit("undecided"))
    side = undecided.when(status == "disagreed").then(status).otherwise(decided)
    background = pool.verdicts("background").select("path", label="label", labelling="status")
    review = pool.verdicts("review").select("path", "class_name", "stands", reason="label", side=side)
    state = review.join(background, on="path")
    backgrounds = _by_label(state.filter("stands"))
    known = pool.background_labels()
    licences = pool.photos().select("path", "licence").join(state, on="path").group_by("licence")
    return PoolSummary(
        pool.root.name,
        _classes(state, pool.candidates()),
        backgrounds,
        [*known, *(label for label in backgrounds["label"].unique().sort() if label not in known)],
        _by_label(state.filter(side="discarded").with_columns(label="reason")),
        _annotators(pool.decisions()),
        agreement(pool.votes()),
        licences.agg(photos=pl.len(), standing=pl.col("stands").sum()).sort(
            "photos", "licence", descending=[True, False], nulls_last=True
        ),
    )


def _classes(state: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    stands, labelling = pl.col("stands"), pl.col("labelling")
    counts = state.group_by("class_name").agg(
        photos=pl.len(),
        **{name: (pl.col("side") == name).sum() for name in _SIDES},
        labelled=(stands & pl.col("label").is_not_null()).sum(),
        unlabelled=(stands & (labelling == "none")).sum(),
        unsettled=(stands & (labelling == "disagreed")).sum(),
    )
    names = pl.concat([frame.select("class_name") for frame in (state, candidates)]).unique()
    joined = names.join(counts, on="class_name", how="left").with_columns(
        pl.exclude("class_name").fill_null(0)
    )
    return joined.sort(pl.col("class_name").str.to_lowercase(), "class_name")


def _by_label(frame: pl.DataFrame) -> pl.DataFrame:
    counts = frame.drop_nulls("label").group_by("class_name", "label").agg(n=pl.len())
    return counts.sort("class_name", "label")


def _annotators(decisions: pl.DataFrame) -> pl.DataFrame:
    stand, later = ~pl.col("undone"), pl.col("labels").list.first() == LATER
    counts = stand & ~later
    return (
        decisions.filter(pl.col("undoes").is_null())
        .group_by("annotator", "task")
        .agg(
            decisions=counts.sum(),
            photos=pl.col("path").filter(counts).n_unique(),
            postponed=(later & stand).sum(),
            undone=pl.col("undone").sum(),
            seconds=pl.col("seconds").filter(counts).median(),
        )
        .sort("task", "annotator", descending=[True, False])
    )


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
    write_text(path, render_page("pool.html.j2", "counterground.construction", summary=summary))
    return path
