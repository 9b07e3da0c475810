"""Near duplicates among all pairs: exact, in memory that grows with the photos and not with their pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_ROWS = 1024

_Vectors = np.ndarray[Any, np.dtype[np.float32]]
_Whole = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Neighbours:
    """Per photo the most similar one of two kinds, ``[n]`` each: its row (-1: none) and the inner product.

    ``better`` is among the rows before it that have another content, ``foreign`` among all rows of another
    class. Of equally similar ones it is the first row.
    """

    better: _Whole
    better_product: _Vectors
    foreign: _Whole
    foreign_product: _Vectors


def hash_vectors(hashes: np.ndarray[Any, np.dtype[np.uint64]]) -> _Vectors:
    """Return the bits of 64-bit hashes as -1 and 1, ``[n, 64]``: their inner product is 64 - 2 x distance.

    Sums of 64 ones are exact in float32, so the fastest routine there is, the matrix product, finds Hamming
    distances without an error.
    """
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    return bits.astype(np.float32) * 2 - 1


def find_neighbours(vectors: _Vectors, contents: _Whole, classes: _Whole, least: float) -> Neighbours:
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
        _keep(found.foreign, found.foreign_product, *pair, products[differ])
        _keep(found.foreign, found.foreign_product, *pair[::-1], products[differ])
    return found


def _nothing(count: int) -> tuple[_Whole, _Vectors]:
    return np.full(count, -1), np.full(count, -np.inf, dtype=np.float32)


def _close_pairs(vectors: _Vectors, least: float) -> Iterator[tuple[_Whole, _Whole, _Vectors]]:
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


def _keep(best: _Whole, product: _Vectors, who: _Whole, other: _Whole, products: _Vectors) -> None:
    """Take over the most similar neighbour of each row, and of equal ones the first row."""
    order = np.lexsort((other, -products, who))
    who, other, products = who[order], other[order], products[order]
    first = np.ones(len(who), dtype=bool)
    first[1:] = who[1:] != who[:-1]
    who, other, products = who[first], other[first], products[first]
    closer = (products > product[who]) | ((products == product[who]) & (other < best[who]))
    best[who[closer]] = other[closer]
    product[who[closer]] = products[closer]
