"""Curate a pool: write every signal of every photo into the pool, and rank photos for those who decide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

import numpy as np
import polars as pl

from counterground.construction.curation._model_signals import (
    MODEL_SIGNALS,
    load_referee,
    model_signals,
)
from counterground.construction.curation._signals import (
    DUPLICATE_SIGNALS,
    NOISE_SIGNALS,
    OBJECT_SIGNALS,
    duplicate_signals,
    feature_noise,
    object_signals,
)
from counterground.construction.pool import Pool, open_pool, review_queue
from counterground.construction.settings import CurateSettings
from counterground.errors import CounterGroundError, needs_extra
from counterground.files import cache_dir, read_rebuildable, write_parquet
from counterground.http import offline
from counterground.inference import map_blocks
from counterground.photos import UnreadablePhoto, load_photo
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from PIL import Image


# Models see 224 to 512 pixels: blur that is gone at this size does no harm, and figures become comparable.
_SIDE = 512
_TILE = 32
# Sharpness is measured on the sixteenth of the tiles with the most detail: a smooth sky or a blurred
# background does not make a photo blurred, and one grain of dust does not make it sharp.
_DETAILED = 16
# Gradients of two grey levels are noise and rounding; without this, they would dominate in smooth photos.
_NOISE = 4.0
# A direction with less than this fraction of the most detail is ignored: stripes are sharp only across.
_LEAST_DETAIL = 0.02
_DARK, _BRIGHT = 15, 250
_DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))

_Grey = np.ndarray[Any, np.dtype[np.float32]]


class PixelMeasures(NamedTuple):
    """Figures of one photo; ``CurateSettings`` explains the units; ``phash`` is a 64-bit number."""

    width: int
    height: int
    sharpness: float
    dark: float
    bright: float
    contrast: float
    entropy: float
    phash: int


def measure(image: Image.Image) -> PixelMeasures:
    """Measure a decoded photo."""
    from PIL import Image

    grey = image.convert("L")
    phash = perceptual_hash(grey)
    longest = max(grey.size)
    if longest > _SIDE:
        size = tuple(max(1, round(side * _SIDE / longest)) for side in grey.size)
        grey = grey.resize(size, Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    pixels = np.asarray(grey)
    counts = np.bincount(pixels.ravel(), minlength=256) / pixels.size
    present = counts[counts > 0]
    low, high = np.searchsorted(counts.cumsum(), [0.05, 0.95])
    return PixelMeasures(
        *image.size,
        sharpness(pixels.astype(np.float32)),
        dark=float(counts[: _DARK + 1].sum()),
        bright=float(counts[_BRIGHT:].sum()),
        contrast=float(high - low),
        entropy=float(-(present * np.log2(present)).sum()) + 0.0,
        phash=phash,
    )


def perceptual_hash(image: Image.Image) -> int:
    """Return imagehash's ``phash``: which of the 64 lowest cosine frequencies exceed their median."""
    import imagehash

    bits = imagehash.phash(image).hash
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def sharpness(grey: _Grey) -> float:
    """Return the energy of second over first differences of the most detailed tiles.

    The ratio does not depend on contrast, unlike the variance of the Laplacian; it is the mean square
    frequency of the detail, 1 / (2 s^2) for an edge blurred by a Gaussian of s pixels. The lowest of four
    directions counts, since motion blur leaves edges along the motion sharp.

    Args:
        grey: grey levels ``[h, w]``, 0 to 255.
    """
    if min(grey.shape) < 3:
        return 0.0
    found = [_along(grey, *direction) for direction in _DIRECTIONS]
    most = max(energy for _, energy in found)
    return min(ratio for ratio, energy in found if energy >= _LEAST_DETAIL * most)


def _along(grey: _Grey, down: int, right: int) -> tuple[float, float]:
    """Return the ratio of the most detailed tiles in one direction, and the energy of their differences."""
    rows, columns = grey.shape

    def shifted(steps: int) -> _Grey:
        top, left = 1 + steps * down, 1 + steps * right
        return grey[top : rows - 2 + top, left : columns - 2 + left]

    before, here, after = shifted(-1), shifted(0), shifted(1)
    first, area = _tile_sums(np.square((after - before) / 2))
    second, _ = _tile_sums(np.square(after - 2 * here + before))
    detailed = np.argsort(first)[-max(1, len(first) // _DETAILED) :]
    ratio = np.median(second[detailed] / (first[detailed] + _NOISE * area))
    return float(ratio), float(first[detailed].mean() / (down**2 + right**2))


def _tile_sums(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the sums over whole tiles, and their pixels; a photo smaller than one tile is one."""
    rows, columns = (side // _TILE for side in values.shape)
    if not rows or not columns:
        return np.array([values.sum()]), values.size
    whole = values[: rows * _TILE, : columns * _TILE]
    return whole.reshape(rows, _TILE, columns, _TILE).sum(axis=(1, 3)).ravel(), _TILE**2


# Measures of another version are never read: increase it whenever a figure would change.
_VERSION = 2

_KINDS = {int: pl.Int64(), float: pl.Float64()}
MEASURE_SCHEMA: dict[str, pl.DataType] = {
    "photo_id": pl.String(),
    **{name: _KINDS[kind] for name, kind in get_type_hints(PixelMeasures).items()},
    "phash": pl.UInt64(),
}


def _store() -> Path:
    """Return the file of all measures that these versions of the decoder and the hash have made."""
    with needs_extra("data"):
        from imagehash import __version__ as imagehash_version
    from PIL import __version__ as pillow_version

    name = f"{_VERSION}-pillow-{pillow_version}-imagehash-{imagehash_version}.parquet"
    return cache_dir() / "measures" / name


# At most this many photos are decoded again after a kill.
_BLOCK = 128


def measure_photos(pool: Pool, photos: pl.DataFrame, *, show_progress: bool) -> tuple[pl.DataFrame, int]:
    """Measure all photos, decoding those whose content was not measured before.

    Returns:
        The photos with the columns of ``MEASURE_SCHEMA`` and ``unreadable`` (why a photo cannot be read, null
        if it can), and how many photos were decoded now.
    """
    store = _store()
    stored = read_rebuildable(store, pl.read_parquet)
    known = pl.DataFrame(schema=MEASURE_SCHEMA) if stored is None else stored
    before = set(known["photo_id"])
    unreadable: dict[str, str] = {}
    todo: list[tuple[str, str, Path]] = []
    for path, photo, size in photos.select("path", "photo_id", "bytes").iter_rows():
        file = _look(pool, path, size)
        if isinstance(file, str):
            unreadable[path] = file
        elif photo not in before:
            todo.append((path, photo, file))
    blocks = [todo[start : start + _BLOCK] for start in range(0, len(todo), _BLOCK)]
    total, shown = len(photos), show_progress and bool(todo)
    with progress_bar("measuring", total=total, done=total - len(todo), shown=shown, keep=True) as bar:
        for block, results in zip(blocks, map_blocks(_measure_one, blocks), strict=True):
            fresh: list[tuple[object, ...]] = []
            for (path, photo, _), found in zip(block, results, strict=True):
                if isinstance(found, str):
                    unreadable[path] = found
                else:
                    fresh.append((photo, *found))
            known = pl.concat([known, pl.DataFrame(fresh, MEASURE_SCHEMA, orient="row")])
            known = known.unique("photo_id", keep="first", maintain_order=True)
            write_parquet(store, known)
            bar.advance(len(block))
    reasons = pl.Series("unreadable", [unreadable.get(path) for path in photos["path"]], pl.String)
    joined = photos.drop("width", "height").join(known, on="photo_id", how="left", maintain_order="left")
    # A readable copy elsewhere does not make this file readable.
    blank = pl.when(reasons.is_null()).then(pl.col(*list(MEASURE_SCHEMA)[1:]))
    return joined.with_columns(blank).with_columns(reasons), len(todo)


def _look(pool: Pool, path: str, bytes_added: int | None) -> Path | str:
    """Return the file, or why it cannot be used; a changed size reveals a changed file without reading it."""
    try:
        file = pool.photo_file(path)
    except CounterGroundError as error:
        return str(error).rstrip(".")
    if bytes_added not in (None, file.stat().st_size):
        return "content changed since it was added to the pool"
    return file


def _measure_one(job: tuple[str, str, Path]) -> PixelMeasures | str:
    _, photo, file = job
    try:
        return measure(load_photo(file, expect_id=photo).image)
    except UnreadablePhoto as error:
        return error.reason


STATE_KEY = "curate"
_CAUTION = (
    "{} also ranks a class low where the background misleads it, and a background benchmark needs exactly "
    "those photos: judge by looking, never by the rank."
)


@dataclass(frozen=True)
class CurateReport:
    """What curating a pool found; nothing was discarded.

    Attributes:
        pool: the pool's folder.
        photos: how many photos the pool has.
        measured: how many were measured now; the others were measured before.
        counts: ``reason, signal, photos, flagged``: how many photos have the signal, and how many it flags.
        queue: see ``review_queue``.
        notes: what the reader must know, one sentence each.
    """

    pool: Path
    photos: int
    measured: int
    counts: pl.DataFrame
    queue: pl.DataFrame
    notes: tuple[str, ...]

    @property
    def flagged(self) -> int:
        """How many photos are flagged for at least one reason."""
        return int((self.queue["score"] > 0).sum())


def curate(
    pool_path: Path | str,
    settings: CurateSettings | None = None,
    *,
    model: str | None = None,
) -> CurateReport:
    """Write signals for the paper's four reasons to discard, and for duplicates, into the pool (section 2).

    Signals only rank photos for people to decide on. Earlier measures and features are reused, so a killed
    run resumes. Without ``model``, signals from an earlier model stay.

    Args:
        pool_path: the pool's folder.
        settings: limits of the signals, how the model is run, and the candidate names; None for the defaults.
        model: spec of the model that judges labels, ambiguity, clarity and similarity; None for none.

    Raises:
        UsageError: there is no pool, or a model or name cannot be used.
        CounterGroundError: the pool has no photos or is damaged, or weights cannot be loaded.
    """
    limits = settings or CurateSettings()
    with open_pool(pool_path) as pool, offline(forbid=limits.offline):
        photos = pool.photos()
        if photos.is_empty():
            raise CounterGroundError(
                f"The pool {pool.root} has no photos yet: add some with `counterground data collect` or "
                "`import`."
            )
        referee = load_referee(model, pool, photos, limits.running()) if model is not None else None
        measured, fresh = measure_photos(pool, photos, show_progress=limits.show_progress)
        objects = object_signals(pool, photos, limits)
        signals = [feature_noise(measured, limits), duplicate_signals(measured, limits), objects.signals]
        # All names, as a signal may now concern no photo: without masks, or without photos that can be read.
        pool.write_signals(pl.concat(signals), names=(*NOISE_SIGNALS, *DUPLICATE_SIGNALS, *OBJECT_SIGNALS))
        notes = [f"The mask {failure} cannot be read and was ignored." for failure in objects.failures]
        made_by = pool.setting(STATE_KEY, {}).get("model")
        if referee:
            made_by = referee.spec
            judged = measured.filter(pl.col("unreadable").is_null())
            pool.write_signals(
                model_signals(pool, judged, referee, limits, objects.paths), names=MODEL_SIGNALS
            )
            notes.append(_CAUTION.format(made_by))
        elif made_by:
            notes.append(f"The signals that need a model are from an earlier run of {made_by}.")
        pool.set_setting(STATE_KEY, {"limits": limits.given(), "model": made_by})
        made = pool.signals()
        counts = made.group_by("reason", "signal").agg(
            photos=pl.col("path").n_unique(), flagged=pl.col("path").filter("flagged").n_unique()
        )
        queue = review_queue(made, photos)
        return CurateReport(
            pool.root, len(photos), fresh, counts.sort("reason", "signal"), queue, tuple(notes)
        )
