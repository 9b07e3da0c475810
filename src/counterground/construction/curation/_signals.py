"""Signals of photos alone: their limits, feature noise, clarity by masks, and duplicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from counterground.construction.pool import SIGNAL_SCHEMA, Pool
from counterground.construction.settings import CurateSettings
from counterground.errors import CounterGroundError
from counterground.photos import UnreadablePhoto, mask_place

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


def signal_rows(
    signal: str,
    reason: str,
    paths: Sequence[str] | pl.Series,
    *,
    value: Sequence[float | None] | Floats,
    flagged: Sequence[bool] | Flags,
    priority: Sequence[float] | Floats,
    explanation: Sequence[str],
    related: Sequence[str | None] | None = None,
) -> pl.DataFrame:
    """Return one row per path, as ``SIGNAL_SCHEMA``."""
    count = len(paths)
    columns: dict[str, Any] = {
        "path": paths,
        "signal": [signal] * count,
        "reason": [reason] * count,
        "value": value,
        "flagged": flagged,
        "priority": priority,
        "explanation": explanation,
        "related": [None] * count if related is None else related,
    }
    series = [pl.Series(name, list(columns[name]), kind) for name, kind in SIGNAL_SCHEMA.items()]
    return pl.DataFrame(series)


def judged(
    signal: str,
    reason: str,
    paths: Sequence[str] | pl.Series,
    value: Floats,
    explanation: Sequence[str],
    *,
    limit: float,
    low_is_bad: bool,
    related: Sequence[str | None] | None = None,
) -> pl.DataFrame:
    """Return one row per path: flagged beyond the limit, the worst of the pool first."""
    return signal_rows(
        signal,
        reason,
        paths,
        value=value,
        flagged=value < limit if low_is_bad else value > limit,
        priority=share_better(value, low_is_bad=low_is_bad),
        explanation=explanation,
        related=related,
    )


def share_better(values: Floats, *, low_is_bad: bool) -> Floats:
    """Return the fraction of the other photos that are strictly better: 1 for the single worst."""
    if not low_is_bad:
        values = -values
    better = len(values) - np.searchsorted(np.sort(values), values, side="right")
    return better / max(1, len(values) - 1)


def percent(fraction: float) -> str:
    """Format a fraction as percent: "83 %", "2.5 %"."""
    return f"{100 * fraction:.0f} %" if fraction >= 0.0995 else f"{100 * fraction:.2g} %"


_REASON = "feature noise"


class _Check(NamedTuple):
    """A figure (a column), the name of its limit, which side is bad, and the sentence that explains it."""

    signal: str
    limit: str
    low_is_bad: bool
    sentence: str


_CHECKS = (
    _Check("size", "min_side", True, "Its shorter side has {value:,.0f} pixels (limit {limit:,.0f})."),
    _Check("sharpness", "min_sharpness", True, "Its sharpness is {value:.2f} (limit {limit:g})."),
    _Check("shadows", "max_dark", False, "{percent} of its pixels are nearly black (limit {limit_percent})."),
    _Check(
        "highlights",
        "max_bright",
        False,
        "{percent} of its pixels are nearly white (limit {limit_percent}).",
    ),
    _Check(
        "contrast",
        "min_contrast",
        True,
        "The middle 90 % of its pixels span {value:.0f} of 256 grey levels (limit {limit:.0f}).",
    ),
    _Check("entropy", "min_entropy", True, "Its grey levels hold {value:.1f} of 8 bits (limit {limit:g})."),
)
NOISE_SIGNALS = ("unreadable", *(check.signal for check in _CHECKS))


def feature_noise(measured: pl.DataFrame, settings: CurateSettings) -> pl.DataFrame:
    """Return the signals of feature noise; see ``measure_photos`` for the columns of ``measured``."""
    readable = measured.filter(pl.col("unreadable").is_null()).with_columns(
        size=pl.min_horizontal("width", "height").cast(pl.Float64),
        shadows="dark",
        highlights="bright",
    )
    return pl.concat([_unreadable(measured), *(_checked(readable, check, settings) for check in _CHECKS)])


def _unreadable(measured: pl.DataFrame) -> pl.DataFrame:
    reasons = measured["unreadable"]
    unread = reasons.is_not_null().to_numpy()
    explanations = [
        "It can be read." if reason is None else f"It cannot be read: {reason}." for reason in reasons
    ]
    return signal_rows(
        NOISE_SIGNALS[0],
        _REASON,
        measured["path"],
        value=unread.astype(np.float64),
        flagged=unread,
        priority=unread.astype(np.float64),
        explanation=explanations,
    )


def _checked(readable: pl.DataFrame, check: _Check, settings: CurateSettings) -> pl.DataFrame:
    values, limit, bad = readable[check.signal].to_numpy(), getattr(settings, check.limit), check.low_is_bad
    limits = {"limit": limit, "limit_percent": percent(limit)}
    explanations = [check.sentence.format(value=v, percent=percent(v), **limits) for v in values.tolist()]
    return judged(check.signal, _REASON, readable["path"], values, explanations, limit=limit, low_is_bad=bad)


OBJECT_SIGNALS = ("object area", "object offset")


class MaskedPhotos(NamedTuple):
    """Signals of the photos whose masks could be read, their paths, and why other masks could not."""

    signals: pl.DataFrame
    paths: list[str]
    failures: list[str]


def object_signals(pool: Pool, photos: pl.DataFrame, settings: CurateSettings) -> MaskedPhotos:
    """Return the signals of all photos that have a mask."""
    paths, areas, offsets, failures = [], [], [], []
    for path, mask in photos.drop_nulls("mask").select("path", "mask").iter_rows():
        try:
            place = mask_place(pool.photo_file(mask))
        except (UnreadablePhoto, CounterGroundError) as error:
            reason = error.reason if isinstance(error, UnreadablePhoto) else str(error).rstrip(".")
            failures.append(f"{mask} ({reason})")
            continue
        paths.append(path)
        areas.append(place.area)
        offsets.append(place.offset)
    least, most = settings.min_area, settings.max_offset
    covers = [
        f"The object covers {100 * area:.2g} % of the photo (limit {100 * least:g} %)." for area in areas
    ]
    lies = [
        f"The object's centre lies {100 * offset:.0f} % of the way from the photo's centre to its edge "
        f"(limit {100 * most:.0f} %)."
        for offset in offsets
    ]
    area, offset = np.array(areas, dtype=np.float64), np.array(offsets, dtype=np.float64)
    signals = [
        judged(OBJECT_SIGNALS[0], "clarity", paths, area, covers, limit=least, low_is_bad=True),
        judged(OBJECT_SIGNALS[1], "clarity", paths, offset, lies, limit=most, low_is_bad=False),
    ]
    return MaskedPhotos(pl.concat(signals), paths, failures)


DUPLICATE_SIGNALS = ("same content", "perceptual hash")
SIMILARITY = "similar features"
_ROWS = 256  # compared with all earlier ones at a time

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
    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        earlier = np.arange(rows[-1] + 1)
        products = vectors[rows] @ vectors[earlier].T
        same = contents[rows][:, None] == contents[earlier]
        products[same | (earlier >= rows[:, None])] = -np.inf
        best[rows], product[rows] = products.argmax(axis=1), products.max(axis=1)
    return np.where(product >= least, best, -1), product


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
