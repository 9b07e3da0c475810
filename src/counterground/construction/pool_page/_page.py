"""The page of a pool, and its heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from counterground.construction.pool_page._summary import (
    FEW_IN_CLASS,
    REASONS,
    SIDES,
    AgreementWords,
    PoolSummary,
    agreement_words,
    pool_sentence,
    summarise_pool,
)
from counterground.errors import CounterGroundError
from counterground.files import write_text
from counterground.reporting.page import Gallery, make_gallery
from counterground.reporting.photo_sources import PhotoSource
from counterground.reporting.shell import page_path, render_page
from counterground.text import count, counted, percent

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


WEAK_BELOW = 5
_DARKEST = 9  # the page's style has a shade for each number from 0, the palest


class Cell(NamedTuple):
    """One cell: its short text, shade (None unshaded), and the full words.

    ``weak`` marks it as doubtful, because few photos are behind it.
    """

    text: str
    shade: int | None
    title: str
    weak: bool = False


@dataclass(frozen=True)
class HeatMap:
    """Rows of cells; ``beside`` says something about each row; ``grid`` is ``[rows][columns]``."""

    rows: list[str]
    columns: list[str]
    grid: list[list[Cell]]
    beside: list[str]


def background_counts(summary: PoolSummary) -> HeatMap:
    """Count photos that stand, by class and background."""
    beside = [
        f"{count(labelled)} of {count(kept + undecided)} labelled"
        for labelled, kept, undecided in summary.classes.select("labelled", "kept", "undecided").iter_rows()
    ]
    return _count_map(summary, summary.backgrounds, "background", summary.labels, beside)


def discard_counts(summary: PoolSummary) -> HeatMap:
    """Count discarded photos, by class and reason."""
    beside = [
        f"{count(discarded)} of {count(photos)}"
        for discarded, photos in summary.classes.select("discarded", "photos").iter_rows()
    ]
    return _count_map(summary, summary.discards, "reason", REASONS, beside)


def referee_accuracy(cells: pl.DataFrame, labels: Sequence[str]) -> HeatMap:
    """Return the accuracy of a referee by class and background, over all photos it saw.

    Args:
        cells: ``class_name, background, n, accuracy`` (fractions); halves are weighted by their photos.
        labels: order of backgrounds; others follow.
    """
    found = {
        (row["class_name"], row["background"]): row
        for row in cells.filter(pl.col("n") > 0)
        .group_by("class_name", "background", maintain_order=True)
        .agg(n=pl.col("n").sum(), accuracy=(pl.col("accuracy") * pl.col("n")).sum() / pl.col("n").sum())
        .iter_rows(named=True)
    }
    rows = sorted(set(cells["class_name"]), key=lambda name: (name.lower(), name))
    used = set(cells["background"])
    columns = [*(name for name in labels if name in used), *sorted(used - set(labels))]
    grid = [[_accuracy_cell(found.get((row, name)), row, name) for name in columns] for row in rows]
    seen = [sum(found[key]["n"] for key in found if key[0] == name) for name in rows]
    return HeatMap(rows, columns, grid, [counted(n, "photo") for n in seen])


def _count_map(
    summary: PoolSummary, frame: pl.DataFrame, by: str, columns: Sequence[str], beside: list[str]
) -> HeatMap:
    rows = summary.classes["class_name"].to_list()
    counts = {(row["class_name"], row[by]): row["n"] for row in frame.iter_rows(named=True)}
    most = max(counts.values(), default=1)
    grid = [[_count_cell(counts.get((row, name), 0), most, row, name) for name in columns] for row in rows]
    return HeatMap(rows, list(columns), grid, beside)


def _count_cell(n: int, most: int, row: str, name: str) -> Cell:
    return Cell(count(n), _DARKEST * n // most if n else None, f"{row}, {name}: {counted(n, 'photo')}")


def _accuracy_cell(found: Mapping[str, Any] | None, row: str, name: str) -> Cell:
    if found is None:
        return Cell("", None, f"{row}, {name}: no photos")
    title = f"{row}, {name}: {percent(found['accuracy'])} % of {counted(found['n'], 'photo')}"
    shown = f"{100 * found['accuracy']:.0f}"
    return Cell(shown, min(_DARKEST, int(shown) // 10), title, found["n"] < WEAK_BELOW)


PER_CLASS = 6


class Shown(NamedTuple):
    """A photo on the page; ``background`` is None if it has no label that annotators agree on."""

    picture: str
    background: str | None


@dataclass(frozen=True)
class PoolPhotos:
    """Photos by class, and their credits and size (``gallery``)."""

    classes: dict[str, list[Shown]]
    gallery: Gallery


def pool_photos(pool: Pool, budget: float) -> PoolPhotos:
    """Return small copies of photos that stand, at most ``PER_CLASS`` of each class.

    Args:
        pool: an open pool.
        budget: megabytes that they may take in the page.
    """
    stands = pool.verdicts("review").filter("stands").select("path")
    backgrounds = pool.verdicts("background").select("path", background="label")
    among = pl.int_range(pl.len()).over("class_name", "background", order_by="photo_id")
    order = ["among", pl.col("background").is_null().alias("unlabelled"), "background", "photo_id"]
    turn = pl.int_range(pl.len()).over("class_name", order_by=order)
    chosen = (
        pool.photos()
        .join(stands, on="path")
        .join(backgrounds, on="path")
        .unique("photo_id", keep="first", maintain_order=True)
        .with_columns(among=among)
        .with_columns(turn=turn)
        .filter(pl.col("turn") < PER_CLASS)
        .sort("turn", "class_name")
    )
    sources: dict[str, PhotoSource] = {}
    lost: list[tuple[str, str]] = []
    for path, identity, *about in chosen.select(
        "path", "photo_id", "licence", "attribution", "source"
    ).iter_rows():
        try:
            sources[identity] = PhotoSource(pool.photo_file(path), *about)
        except CounterGroundError:
            lost.append((path, "missing from the pool"))
    gallery = make_gallery(chosen.filter(pl.col("photo_id").is_in(list(sources))), sources, budget)
    gallery.thumbnails.unreadable.extend(lost)
    classes: dict[str, list[Shown]] = {}
    for name, identity, background in chosen.select("class_name", "photo_id", "background").iter_rows():
        if picture := gallery.thumbnails.pictures.get(identity):
            classes.setdefault(name, []).append(Shown(picture, background))
    return PoolPhotos(dict(sorted(classes.items(), key=lambda item: item[0].lower())), gallery)


def write_pool_report(
    pool: Pool | PoolSummary,
    out: Path,
    *,
    photos: Pool | None = None,
    photo_budget: float = 15.0,
    cells: pl.DataFrame | None = None,
    referee: str = "",
) -> Path:
    """Write one self-contained HTML file about a pool and return its path.

    The page holds no script and loads nothing (its content security policy forbids both).

    Args:
        pool: an open pool, or what ``summarise_pool`` returned for it.
        out: the file, or an existing folder (the file is then ``pool.html`` in it).
        photos: the pool whose photos the page shows; None shows none.
        photo_budget: megabytes that they may add to the page.
        cells: accuracy of a referee per class and background, with the columns of a discovery's
            ``cells.parquet`` (``class_name, background, n, accuracy, low, high, half``; fractions).
        referee: the model whose accuracy this is.

    Raises:
        UsageError: the photo budget is not positive, or the file does not end in .html.
        CounterGroundError: the pool cannot be read, or the file cannot be written.
    """
    summary = pool if isinstance(pool, PoolSummary) else summarise_pool(pool)
    path = page_path(Path(out), "pool.html")
    heats = {"backgrounds": background_counts(summary), "discards": discard_counts(summary)}
    if cells is not None:
        heats["accuracy"] = referee_accuracy(cells, summary.labels)
    page = render_page(
        "pool/page.html.j2",
        "counterground.construction.pool_page",
        summary=summary,
        photos=photos and pool_photos(photos, photo_budget),
        per_class=PER_CLASS,
        sentence=pool_sentence(summary),
        sides=SIDES,
        heats=heats,
        cells=[] if cells is None else cells.to_dicts(),
        referee=referee,
        agreement=_agreement(summary),
        few_in_class=FEW_IN_CLASS,
        weak_below=WEAK_BELOW,
    )
    write_text(path, page)
    return path


def _agreement(summary: PoolSummary) -> list[tuple[str, list[tuple[str, str, AgreementWords]]]]:
    """Return per task the kind, the name and the words of each row: all photos, labels, then classes."""
    found = []
    for task in summary.agreement["task"].unique(maintain_order=True):
        rows = []
        for row in summary.agreement.filter(task=task).to_dicts():
            kind = "class" if row["class_name"] else "label" if row["label"] else "all"
            rows.append((kind, row["class_name"] or row["label"] or "", agreement_words(row)))
        found.append((task, sorted(rows, key=lambda row: ("all", "label", "class").index(row[0]))))
    return found
