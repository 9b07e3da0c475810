"""Curate a pool: write every signal of every photo into the pool, and rank photos for those who decide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from counterground.construction.curation._measures import measure_photos
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
from counterground.construction.pool import open_pool, review_queue
from counterground.construction.settings import CurateSettings
from counterground.errors import CounterGroundError
from counterground.http import offline

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
