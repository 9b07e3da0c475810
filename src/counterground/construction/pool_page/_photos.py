"""Photos of a pool for its page: a few of each class, on as many backgrounds as it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

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
