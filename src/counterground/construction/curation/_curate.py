"""Curate a pool: write every signal of every photo into the pool, and rank photos for those who decide."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from counterground.construction.curation._measures import measure_photos
from counterground.construction.curation._model_signals import (
    MODEL_SIGNALS,
    Referee,
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
from counterground.construction.pool import SIGNAL_SCHEMA, Pool, open_pool, review_queue
from counterground.construction.settings import CurateSettings
from counterground.errors import CounterGroundError
from counterground.http import offline

STATE_KEY = "curate"


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
        return _curate(pool, limits, model)


def _curate(pool: Pool, limits: CurateSettings, model: str | None) -> CurateReport:
    photos = pool.photos()
    if photos.is_empty():
        raise CounterGroundError(
            f"The pool {pool.root} has no photos yet: add some with `counterground data collect` or `import`."
        )
    referee = load_referee(model, pool, photos, limits.running()) if model is not None else None
    measured = measure_photos(pool, photos, show_progress=limits.show_progress)
    objects = object_signals(pool, photos, limits)
    signals = [
        feature_noise(measured.frame, limits),
        duplicate_signals(measured.frame, limits),
        objects.signals,
    ]
    # All names, as a signal may now concern no photo: without masks, or without photos that can be read.
    pool.write_signals(pl.concat(signals), names=(*NOISE_SIGNALS, *DUPLICATE_SIGNALS, *OBJECT_SIGNALS))
    notes = [f"The mask {failure} cannot be read and was ignored." for failure in objects.failures]
    earlier = pool.setting(STATE_KEY, {}).get("model")
    if referee:
        notes += _write_model_signals(pool, measured.frame, referee, limits, objects.paths)
    elif earlier:
        notes.append(f"The signals that need a model are from an earlier run of {earlier}.")
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    made_by = referee.spec if referee else earlier
    pool.set_setting(STATE_KEY, {"limits": limits.given(), "at": at, "model": made_by})
    return _report(pool, photos, measured.fresh, notes)


def _write_model_signals(
    pool: Pool,
    measured: pl.DataFrame,
    referee: Referee,
    limits: CurateSettings,
    masked: Collection[str],
) -> list[str]:
    """Write the model's signals; return notes on them."""
    if measured["unreadable"].is_not_null().all():
        pool.write_signals(pl.DataFrame(schema=SIGNAL_SCHEMA), names=MODEL_SIGNALS)
        return [f"No photo can be read, so {referee.spec} was not run."]
    signals = model_signals(pool, measured, referee, limits, masked=masked)
    pool.write_signals(signals, names=MODEL_SIGNALS)  # all names, as masks may decide on all photos now
    caution = (
        f"{referee.spec} also ranks a class low where the background misleads it, and a background benchmark "
        "needs exactly those photos: judge by looking, never by the rank."
    )
    return [caution]


def _report(pool: Pool, photos: pl.DataFrame, fresh: int, notes: list[str]) -> CurateReport:
    signals = pool.signals()
    counts = (
        signals.group_by("reason", "signal")
        .agg(photos=pl.col("path").n_unique(), flagged=pl.col("path").filter("flagged").n_unique())
        .sort("reason", "signal")
    )
    queue = review_queue(signals, photos)
    return CurateReport(pool.root, len(photos), fresh, counts, queue, tuple(notes))
