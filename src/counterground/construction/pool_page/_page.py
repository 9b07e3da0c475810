"""A pool as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from counterground.construction.pool_page._heat import (
    SHADES,
    WEAK_BELOW,
    HeatMap,
    background_counts,
    discard_counts,
    referee_accuracy,
)
from counterground.construction.pool_page._summary import (
    FEW_IN_CLASS,
    SIDES,
    AgreementWords,
    PoolSummary,
    agreement_words,
    failures_by_reason,
    pool_sentence,
    summarise_pool,
)
from counterground.files import write_text
from counterground.reporting.shell import page_path, render_page
from counterground.results import count

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


from typing import TYPE_CHECKING

from counterground.errors import CounterGroundError
from counterground.reporting.page import Gallery, make_gallery
from counterground.reporting.photo_sources import PhotoSource

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


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


_ALPHA_FROM = -0.25
_ALPHA_TICKS = ((0.0, "0"), (2 / 3, "0.67"), (0.8, "0.8"), (1.0, "1"))
_HEAD_AT_MOST = 18
_LETTER = 7
_WIDEST_CELL = 96
_ROOM = 790  # pixels beside the class names, in the narrowest window with level heads


class Segment(NamedTuple):
    """A piece of a bar: its side, start and width in percent of the strip, and what it says."""

    side: str
    start: float
    width: float
    title: str


class Bar(NamedTuple):
    """A class and its photos by what was decided."""

    name: str
    segments: list[Segment]
    counts: Mapping[str, Any]


class Dot(NamedTuple):
    """Agreement on something: alpha and its interval in percent of the strip, None where undefined."""

    name: str
    kind: str
    at: float | None
    span: tuple[float, float] | None
    weak: bool
    words: AgreementWords


class Head(NamedTuple):
    """The name of a column, cut if it is too long."""

    text: str
    name: str


class Block(NamedTuple):
    """Columns side by side.

    ``flat``: wide windows have room for level heads; others turn them, which takes ``height`` pixels.
    ``widest`` is the most the block takes, in pixels.
    """

    columns: range
    heads: list[Head]
    flat: bool
    height: int
    widest: int


@dataclass(frozen=True)
class Heat:
    """A heat map for the template."""

    heat: HeatMap
    blocks: list[Block]


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
        shades=SHADES,
        sides=SIDES,
        bars=_bars(summary),
        heats={name: Heat(heat, _blocks(heat)) for name, heat in heats.items()},
        cells=[] if cells is None else cells.to_dicts(),
        referee=referee,
        agreement=_agreement(summary),
        ticks=[(_at(value), text) for value, text in _ALPHA_TICKS],
        failures=failures_by_reason(summary).to_dicts(),
        few_in_class=FEW_IN_CLASS,
        weak_below=WEAK_BELOW,
    )
    write_text(path, page)
    return path


def _bars(summary: PoolSummary) -> list[Bar]:
    most = max([1, *summary.classes["photos"]])
    bars = []
    for row in summary.classes.iter_rows(named=True):
        segments, start = [], 0.0
        for side in SIDES:
            width = round(100 * row[side] / most, 3)
            if row[side]:
                title = f"{row['class_name']}: {count(row[side])} of {count(row['photos'])} {side}"
                segments.append(Segment(side, round(start, 3), width, title))
            start += width
        bars.append(Bar(row["class_name"], segments, row))
    return bars


def _blocks(heat: HeatMap) -> list[Block]:
    blocks = []
    for columns in heat.blocks():
        heads = [Head(_cut(heat.columns[k]), heat.columns[k]) for k in columns]
        longest = _LETTER * max((len(head.text) for head in heads), default=0)
        flat = longest + 4 <= min(_WIDEST_CELL, _ROOM // max(1, len(columns)))
        blocks.append(Block(columns, heads, flat, 10 + longest, _WIDEST_CELL * len(columns)))
    return blocks


def _cut(name: str) -> str:
    return name if len(name) <= _HEAD_AT_MOST else f"{name[: _HEAD_AT_MOST - 1]}…"


def _agreement(summary: PoolSummary) -> list[tuple[str, AgreementWords, Sequence[Dot]]]:
    """Return per task the words for all photos, then a dot for each label and each class."""
    found: list[tuple[str, AgreementWords, Sequence[Dot]]] = []
    for task in summary.agreement["task"].unique(maintain_order=True):
        rows = summary.agreement.filter(pl.col("task") == task).to_dicts()
        whole = next(row for row in rows if row["class_name"] is None and row["label"] is None)
        dots = [_dot(row) for row in rows if row is not whole]
        found.append((task, agreement_words(whole), sorted(dots, key=lambda dot: dot.kind != "label")))
    return found


def _dot(row: Mapping[str, Any]) -> Dot:
    kind, name = ("label", row["label"]) if row["class_name"] is None else ("class", row["class_name"])
    at = None if row["alpha"] is None else _at(row["alpha"])
    span = None if row["low"] is None else (_at(row["low"]), _at(row["high"]))
    return Dot(name, kind, at, span, row["photos"] < FEW_IN_CLASS, agreement_words(row))


def _at(alpha: float) -> float:
    """Convert alpha to percent of the strip; values below its left end are drawn there."""
    return round(100 * (max(alpha, _ALPHA_FROM) - _ALPHA_FROM) / (1 - _ALPHA_FROM), 3)
