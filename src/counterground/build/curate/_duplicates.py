"""Duplicates: the same file, a close perceptual hash or close features; the better photo is not flagged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from counterground.build.curate._neighbours import find_neighbours, hash_vectors
from counterground.build.curate._rows import Numbers, signal_rows
from counterground.build.curate._settings import CurateSettings

_BITS = 64


@dataclass(frozen=True)
class _Likeness:
    """One way of being alike: the names of its signals, and what an inner product of vectors means.

    ``value`` is the figure of the signal, ``strength`` its priority (1 for equal photos, 0.5 at the limit),
    ``told`` the beginning of the sentence, from a value and the path of the other photo.
    """

    signal: str
    foreign_signal: str
    value: Callable[[Numbers], Numbers]
    strength: Callable[[Numbers], Numbers]
    told: Callable[[float, str], str]


def best_first(measured: pl.DataFrame) -> pl.DataFrame:
    """Return the readable photos, larger ones (pixels, then bytes) first, then those added earlier."""
    readable = measured.filter(pl.col("unreadable").is_null())
    area = (pl.col("width") * pl.col("height")).alias("area")
    order = ("area", "bytes", "added_at", "path")
    return readable.with_columns(area).sort(*order, descending=[True, True, False, False], nulls_last=True)


def copies(measured: pl.DataFrame, settings: CurateSettings) -> pl.DataFrame:
    """Return the signals of equal contents and of close perceptual hashes, over the whole pool."""
    photos, radius = best_first(measured), settings.hash_radius
    likeness = _Likeness(
        "perceptual hash",
        "copy in another class",
        value=lambda product: (_BITS - product) / 2,
        strength=lambda product: 1 - (_BITS - product) / 4 / max(1, radius),
        told=lambda value, other: (
            f"It differs in {value:.0f} of {_BITS} bits of the perceptual hash (limit {radius}) from {other}"
        ),
    )
    vectors = hash_vectors(photos["phash"].to_numpy().astype(np.uint64))
    return pl.concat([_same_content(photos), _near(photos, vectors, _BITS - 2 * radius, likeness)])


def similar_photos(
    measured: pl.DataFrame, paths: list[str], features: np.ndarray, model: str, settings: CurateSettings
) -> pl.DataFrame:
    """Return the signals of the cosine between features, ``[n, d]`` of the photos at ``paths``."""
    place = {path: row for row, path in enumerate(paths)}
    photos, least = best_first(measured).filter(pl.col("path").is_in(paths)), settings.min_similarity
    likeness = _Likeness(
        "similar features",
        "similar photo in another class",
        value=lambda product: product.clip(-1, 1),
        strength=lambda product: 0.5 + 0.5 * (product - least) / max(1e-6, 1 - least),
        told=lambda value, other: (
            f"Its features in {model} have cosine {value:.3f} (limit {least:g}) to {other}"
        ),
    )
    vectors = features[[place[path] for path in photos["path"]]].astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return _near(photos, vectors, least, likeness)


def _same_content(photos: pl.DataFrame) -> pl.DataFrame:
    first = photos.select(
        "path",
        original=pl.col("path").first().over("photo_id"),
        later=pl.len().over("photo_id").cast(pl.Int64) - 1,
    ).with_columns(copy=pl.col("path") != pl.col("original"))
    told, related = [], []
    for _, original, later, copy in first.iter_rows():
        related.append(original if copy else None)
        if copy:
            told.append(f"It is the same file as {original}, which came first.")
        else:
            told.append(
                f"It is the first of {later + 1} equal files." if later else "No other file is equal."
            )
    return signal_rows(
        "same content",
        "duplicate",
        first["path"],
        value=first["later"].to_list(),
        flagged=first["copy"].to_list(),
        priority=first["copy"].cast(pl.Float64).to_list(),
        explanation=told,
        related=related,
    )


def _near(photos: pl.DataFrame, vectors: np.ndarray, least: float, likeness: _Likeness) -> pl.DataFrame:
    contents, classes = (
        photos[name].rank("dense").cast(pl.Int64).to_numpy() for name in ("photo_id", "class_name")
    )
    found = find_neighbours(vectors, contents, classes, least)
    sides = zip(photos["width"], photos["height"], photos["bytes"], strict=True)
    sizes, filed = list(sides), photos["class_name"].to_list()
    better = _pairs(
        photos["path"].to_list(),
        (likeness.signal, "duplicate"),
        (found.better, found.better_product),
        likeness,
        lambda row, other: _why_better(sizes[row], sizes[other]),
    )
    foreign = _pairs(
        photos["path"].to_list(),
        (likeness.foreign_signal, "label noise"),
        (found.foreign, found.foreign_product),
        likeness,
        lambda _, other: f"is filed under {filed[other]!r}",
    )
    return pl.concat([better, foreign])


def _pairs(
    paths: list[str],
    names: tuple[str, str],
    nearest: tuple[np.ndarray, np.ndarray],
    likeness: _Likeness,
    which: Callable[[int, int], str],
) -> pl.DataFrame:
    """Return a row per photo: flagged where it has a ``nearest`` one, of which ``which`` says what it is."""
    flagged = nearest[0] >= 0
    product = np.where(flagged, nearest[1], 0).astype(np.float64)
    value = [figure if flag else None for figure, flag in zip(likeness.value(product), flagged, strict=True)]
    kind = "better photo" if names[1] == "duplicate" else "photo of another class"
    told, related = [], []
    for row, (other, figure) in enumerate(zip(nearest[0].tolist(), value, strict=True)):
        related.append(None if figure is None else paths[other])
        told.append(
            f"No {kind} is nearly the same."
            if figure is None
            else f"{likeness.told(figure, paths[other])}, which {which(row, other)}."
        )
    return signal_rows(
        *names,
        paths,
        value=value,
        flagged=flagged,
        priority=np.where(flagged, likeness.strength(product).clip(0, 1), 0.0),
        explanation=told,
        related=related,
    )


def _why_better(size: tuple[int, int, int | None], other: tuple[int, int, int | None]) -> str:
    (width, height, weight), (other_width, other_height, other_weight) = size, other
    if other_width * other_height > width * height:
        return f"is larger ({other_width:,} x {other_height:,} pixels against {width:,} x {height:,})"
    if (other_weight or 0) > (weight or 0):
        return f"has more bytes ({other_weight:,} against {weight or 0:,})"
    return "came first"
