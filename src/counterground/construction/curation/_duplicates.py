"""Duplicates: the same file, a close perceptual hash or close features; the better photo is not flagged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from counterground.construction.curation._signals import CurateSettings, Ints, signal_rows

DUPLICATE_SIGNALS = ("same content", "perceptual hash")
SIMILARITY = "similar features"
_ROWS = 1024

_Vectors = np.ndarray[Any, np.dtype[np.float32]]


def hash_vectors(hashes: np.ndarray[Any, np.dtype[np.uint64]]) -> _Vectors:
    """Return the bits of 64-bit hashes as -1 and 1, ``[n, 64]``: their inner product is 64 - 2 x distance.

    Sums of 64 ones are exact in float32, so the matrix product, the fastest routine there is, gives exact
    Hamming distances.
    """
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    return bits.astype(np.float32) * 2 - 1


def find_better(vectors: _Vectors, contents: Ints, least: float) -> tuple[Ints, _Vectors]:
    """Return each row's nearest earlier row of other content (-1: none), and their inner product, ``[n]``.

    Every pair is compared: nothing is missed. Ties go to the first row.

    Args:
        vectors: ``[n, d]``, the best photo first.
        contents: ``[n]``; rows with the same number have the same content.
        least: the smallest inner product of near duplicates.
    """
    count = len(vectors)
    best, product = np.full(count, -1), np.full(count, -np.inf, dtype=np.float32)
    for later, earlier, products in _close_pairs(vectors, least):
        differ = contents[later] != contents[earlier]
        _keep(best, product, later[differ], earlier[differ], products[differ])
    return best, product


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


def best_first(measured: pl.DataFrame) -> pl.DataFrame:
    """Return the readable photos, larger ones (pixels, then bytes) first, then those added earlier."""
    readable = measured.filter(pl.col("unreadable").is_null())
    area = (pl.col("width") * pl.col("height")).alias("area")
    order = ("area", "bytes", "added_at", "path")
    return readable.with_columns(area).sort(*order, descending=[True, True, False, False], nulls_last=True)


def duplicate_signals(measured: pl.DataFrame, settings: CurateSettings) -> pl.DataFrame:
    """Return the signals for equal contents and for close perceptual hashes, over the whole pool."""
    photos, radius = best_first(measured), settings.hash_radius
    near = _near(
        photos,
        DUPLICATE_SIGNALS[1],
        hash_vectors(photos["phash"].to_numpy().astype(np.uint64)),
        _BITS - 2 * radius,
        value=lambda product: (_BITS - product) / 2,
        strength=lambda product: 1 - (_BITS - product) / 4 / max(1, radius),
        sentence=f"It differs in {{:.0f}} of {_BITS} bits of the perceptual hash (limit {radius}) from",
    )
    return pl.concat([_same_content(photos), near])


def similarity_signals(
    measured: pl.DataFrame, paths: list[str], features: np.ndarray, model: str, settings: CurateSettings
) -> pl.DataFrame:
    """Return the signal for the cosine between features, ``[n, d]``, of the photos at ``paths``."""
    place = {path: row for row, path in enumerate(paths)}
    photos, least = best_first(measured).filter(pl.col("path").is_in(paths)), settings.min_similarity
    vectors = features[[place[path] for path in photos["path"]]].astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return _near(
        photos,
        SIMILARITY,
        vectors,
        least,
        value=lambda product: product.clip(-1, 1),
        strength=lambda product: 0.5 + 0.5 * (product - least) / max(1e-6, 1 - least),
        sentence=f"Its features in {model} have cosine {{:.3f}} (limit {least:g}) to",
    )


def _same_content(photos: pl.DataFrame) -> pl.DataFrame:
    first = photos.select(
        "path",
        original=pl.col("path").first().over("photo_id"),
        later=pl.len().over("photo_id").cast(pl.Int64) - 1,
    ).with_columns(copy=pl.col("path") != pl.col("original"))
    explanations = [
        f"It is the same file as {original}, which came first."
        if copy
        else f"Identical later files: {later}."
        for _, original, later, copy in first.iter_rows()
    ]
    return signal_rows(
        DUPLICATE_SIGNALS[0],
        "duplicate",
        first["path"],
        value=first["later"].to_list(),
        flagged=first["copy"].to_list(),
        priority=first["copy"].cast(pl.Float64).to_list(),
        explanation=explanations,
        related=first.select(pl.when("copy").then("original")).to_series().to_list(),
    )


def _near(
    photos: pl.DataFrame,
    signal: str,
    vectors: np.ndarray,
    least: float,
    *,
    value: Callable[[np.ndarray], np.ndarray],
    strength: Callable[[np.ndarray], np.ndarray],
    sentence: str,
) -> pl.DataFrame:
    """Return a row per photo, flagged if a better one has an inner product of at least ``least`` with it.

    ``value`` is the figure of the signal and ``strength`` its priority (1 for equal photos, 0.5 at the
    limit), both of inner products; ``sentence`` begins the explanation.
    """
    best, product = find_better(vectors, photos["photo_id"].rank("dense").cast(pl.Int64).to_numpy(), least)
    flagged, paths = best >= 0, photos["path"].to_list()
    product = np.where(flagged, product, 0).astype(np.float64)
    values, explanations, related = [], [], []
    for other, figure in zip(best.tolist(), value(product).tolist(), strict=True):
        found = other >= 0
        values.append(figure if found else None)
        related.append(paths[other] if found else None)
        explanations.append(
            f"{sentence.format(figure)} {paths[other]}, which is larger or came first."
            if found
            else "No better photo is nearly the same."
        )
    return signal_rows(
        signal,
        "duplicate",
        paths,
        value=values,
        flagged=flagged,
        priority=np.where(flagged, strength(product).clip(0, 1), 0.0),
        explanation=explanations,
        related=related,
    )
