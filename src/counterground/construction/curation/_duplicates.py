"""Duplicates: the same file, a close perceptual hash or close features; the better photo is not flagged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from counterground.construction.curation._settings import CurateSettings
from counterground.construction.curation._signals import Floats, Ints, signal_rows

DUPLICATE_SIGNALS = ("same content", "perceptual hash", "copy in another class")
SIMILARITY_SIGNALS = ("similar features", "similar photo in another class")
_ROWS = 1024

_Vectors = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Neighbours:
    """Each photo's nearest neighbour of two kinds, ``[n]`` each: its row (-1: none) and the inner product.

    ``better`` is from the earlier rows with other content, ``other_class`` from all rows of another class.
    Ties go to the first row.
    """

    better: Ints
    better_product: _Vectors
    other_class: Ints
    other_class_product: _Vectors


def hash_vectors(hashes: np.ndarray[Any, np.dtype[np.uint64]]) -> _Vectors:
    """Return the bits of 64-bit hashes as -1 and 1, ``[n, 64]``: their inner product is 64 - 2 x distance.

    Sums of 64 ones are exact in float32, so the matrix product, the fastest routine there is, gives exact
    Hamming distances.
    """
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    return bits.astype(np.float32) * 2 - 1


def find_neighbours(vectors: _Vectors, contents: Ints, classes: Ints, least: float) -> Neighbours:
    """Return the nearest neighbours of rows whose inner product is at least ``least``.

    Every pair is compared: nothing is missed.

    Args:
        vectors: ``[n, d]``, the best photo first.
        contents: ``[n]``; rows with the same number have the same content.
        classes: ``[n]``.
        least: the smallest inner product of near duplicates.
    """
    count = len(vectors)
    found = Neighbours(*(_nothing(count) + _nothing(count)))
    for later, earlier, products in _close_pairs(vectors, least):
        differ = contents[later] != contents[earlier]
        _keep(found.better, found.better_product, later[differ], earlier[differ], products[differ])
        differ = classes[later] != classes[earlier]
        pair = later[differ], earlier[differ]
        _keep(found.other_class, found.other_class_product, *pair, products[differ])
        _keep(found.other_class, found.other_class_product, *pair[::-1], products[differ])
    return found


def _nothing(count: int) -> tuple[Ints, _Vectors]:
    return np.full(count, -1), np.full(count, -np.inf, dtype=np.float32)


def _close_pairs(vectors: _Vectors, least: float) -> Iterator[tuple[Ints, Ints, _Vectors]]:
    """Yield (later row, earlier row, inner product) of close pairs, a block of later rows at a time."""
    for start in range(0, len(vectors), _ROWS):
        for first in range(0, start + 1, 16 * _ROWS):
            block = vectors[start : start + _ROWS]
            other = vectors[first : min(first + 16 * _ROWS, start + len(block))]
            products = block @ other.T
            place, earlier = np.divmod(np.flatnonzero(products >= least), len(other))
            value = products[place, earlier]
            later, earlier = place + start, earlier + first
            before = earlier < later
            yield later[before], earlier[before], value[before]


def _keep(best: Ints, product: _Vectors, who: Ints, other: Ints, products: _Vectors) -> None:
    """Keep the most similar neighbour of each row; ties go to the first row."""
    order = np.lexsort((other, -products, who))
    who, other, products = who[order], other[order], products[order]
    first = np.ones(len(who), dtype=bool)
    first[1:] = who[1:] != who[:-1]
    who, other, products = who[first], other[first], products[first]
    closer = (products > product[who]) | ((products == product[who]) & (other < best[who]))
    best[who[closer]] = other[closer]
    product[who[closer]] = products[closer]


_BITS = 64


@dataclass(frozen=True)
class _Similarity:
    """One kind of similarity: the names of its signals, and what an inner product of vectors means.

    ``value`` is the figure of the signal, ``strength`` its priority (1 for equal photos, 0.5 at the limit),
    ``sentence`` the beginning of the explanation, from a value and the path of the other photo.
    """

    signal: str
    other_class_signal: str
    value: Callable[[Floats], Floats]
    strength: Callable[[Floats], Floats]
    sentence: Callable[[float, str], str]


def best_first(measured: pl.DataFrame) -> pl.DataFrame:
    """Return the readable photos, larger ones (pixels, then bytes) first, then those added earlier."""
    readable = measured.filter(pl.col("unreadable").is_null())
    area = (pl.col("width") * pl.col("height")).alias("area")
    order = ("area", "bytes", "added_at", "path")
    return readable.with_columns(area).sort(*order, descending=[True, True, False, False], nulls_last=True)


def duplicate_signals(measured: pl.DataFrame, settings: CurateSettings) -> pl.DataFrame:
    """Return the signals for equal contents and for close perceptual hashes, over the whole pool."""
    photos, radius = best_first(measured), settings.hash_radius
    similarity = _Similarity(
        *DUPLICATE_SIGNALS[1:],
        value=lambda product: (_BITS - product) / 2,
        strength=lambda product: 1 - (_BITS - product) / 4 / max(1, radius),
        sentence=lambda value, other: (
            f"It differs in {value:.0f} of {_BITS} bits of the perceptual hash (limit {radius}) from {other}"
        ),
    )
    vectors = hash_vectors(photos["phash"].to_numpy().astype(np.uint64))
    return pl.concat([_same_content(photos), _near(photos, vectors, _BITS - 2 * radius, similarity)])


def similarity_signals(
    measured: pl.DataFrame, paths: list[str], features: np.ndarray, model: str, settings: CurateSettings
) -> pl.DataFrame:
    """Return the signals for the cosine between features, ``[n, d]``, of the photos at ``paths``."""
    place = {path: row for row, path in enumerate(paths)}
    photos, least = best_first(measured).filter(pl.col("path").is_in(paths)), settings.min_similarity
    similarity = _Similarity(
        *SIMILARITY_SIGNALS,
        value=lambda product: product.clip(-1, 1),
        strength=lambda product: 0.5 + 0.5 * (product - least) / max(1e-6, 1 - least),
        sentence=lambda value, other: (
            f"Its features in {model} have cosine {value:.3f} (limit {least:g}) to {other}"
        ),
    )
    vectors = features[[place[path] for path in photos["path"]]].astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return _near(photos, vectors, least, similarity)


def _same_content(photos: pl.DataFrame) -> pl.DataFrame:
    first = photos.select(
        "path",
        original=pl.col("path").first().over("photo_id"),
        later=pl.len().over("photo_id").cast(pl.Int64) - 1,
    ).with_columns(copy=pl.col("path") != pl.col("original"))
    explanations, related = [], []
    for _, original, later, copy in first.iter_rows():
        related.append(original if copy else None)
        if copy:
            explanations.append(f"It is the same file as {original}, which came first.")
        else:
            explanations.append(
                f"It is the first of {later + 1} identical files." if later else "No other file is identical."
            )
    return signal_rows(
        DUPLICATE_SIGNALS[0],
        "duplicate",
        first["path"],
        value=first["later"].to_list(),
        flagged=first["copy"].to_list(),
        priority=first["copy"].cast(pl.Float64).to_list(),
        explanation=explanations,
        related=related,
    )


def _near(photos: pl.DataFrame, vectors: np.ndarray, least: float, similarity: _Similarity) -> pl.DataFrame:
    contents, classes = (
        photos[name].rank("dense").cast(pl.Int64).to_numpy() for name in ("photo_id", "class_name")
    )
    found = find_neighbours(vectors, contents, classes, least)
    sides = zip(photos["width"], photos["height"], photos["bytes"], strict=True)
    sizes, filed = list(sides), photos["class_name"].to_list()
    better = _pairs(
        photos["path"].to_list(),
        (similarity.signal, "duplicate"),
        (found.better, found.better_product),
        similarity,
        lambda row, other: _why_better(sizes[row], sizes[other]),
    )
    other_class = _pairs(
        photos["path"].to_list(),
        (similarity.other_class_signal, "label noise"),
        (found.other_class, found.other_class_product),
        similarity,
        lambda _, other: f"is filed under {filed[other]!r}",
    )
    return pl.concat([better, other_class])


def _pairs(
    paths: list[str],
    names: tuple[str, str],
    nearest: tuple[np.ndarray, np.ndarray],
    similarity: _Similarity,
    which: Callable[[int, int], str],
) -> pl.DataFrame:
    """Return a row per photo, flagged if it has a ``nearest`` one; ``which`` describes that one."""
    flagged = nearest[0] >= 0
    product = np.where(flagged, nearest[1], 0).astype(np.float64)
    value = [
        figure if flag else None for figure, flag in zip(similarity.value(product), flagged, strict=True)
    ]
    kind = "better photo" if names[1] == "duplicate" else "photo of another class"
    explanations, related = [], []
    for row, (other, figure) in enumerate(zip(nearest[0].tolist(), value, strict=True)):
        related.append(None if figure is None else paths[other])
        explanations.append(
            f"No {kind} is nearly the same."
            if figure is None
            else f"{similarity.sentence(figure, paths[other])}, which {which(row, other)}."
        )
    return signal_rows(
        *names,
        paths,
        value=value,
        flagged=flagged,
        priority=np.where(flagged, similarity.strength(product).clip(0, 1), 0.0),
        explanation=explanations,
        related=related,
    )


def _why_better(size: tuple[int, int, int | None], other: tuple[int, int, int | None]) -> str:
    (width, height, weight), (other_width, other_height, other_weight) = size, other
    if other_width * other_height > width * height:
        return f"is larger ({other_width:,} x {other_height:,} pixels against {width:,} x {height:,})"
    if (other_weight or 0) > (weight or 0):
        return f"has more bytes ({other_weight:,} against {weight or 0:,})"
    return "came first"
