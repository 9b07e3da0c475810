"""Curate a pool: write every signal of every photo into the pool, and rank photos for those who decide."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from counterground.construction.curation._duplicates import DUPLICATE_SIGNALS, duplicate_signals
from counterground.construction.curation._feature_noise import NOISE_SIGNALS, feature_noise
from counterground.construction.curation._measures import measure_photos
from counterground.construction.curation._model_signals import CLASS_RANK, MODEL_SIGNALS, model_signals
from counterground.construction.curation._objects import OBJECT_SIGNALS, object_signals
from counterground.construction.curation._referee import Referee, load_referee
from counterground.construction.curation._settings import CurateSettings
from counterground.construction.pool import SIGNAL_SCHEMA, Pool, open_pool, review_queue
from counterground.errors import CounterGroundError
from counterground.inference import Settings

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
    running: Settings | None = None,
    show_progress: bool = False,
) -> CurateReport:
    """Write signals for the paper's four reasons to discard, and for duplicates, into the pool (section 2).

    Signals only rank photos for people to decide on. Earlier measures and features are reused, so a killed
    run resumes. Without ``model``, signals from an earlier model stay.

    Args:
        pool_path: the pool's folder.
        settings: limits of the signals; None for the defaults.
        model: spec of the model that judges labels, ambiguity, clarity and similarity; None for none.
        running: how the model is run, and the candidate names.
        show_progress: show a bar on standard error.

    Raises:
        UsageError: there is no pool, or a model or name cannot be used.
        CounterGroundError: the pool has no photos or is damaged, or weights cannot be loaded.
    """
    limits = settings or CurateSettings()
    with open_pool(pool_path) as pool:
        return _curate(pool, limits, model, replace(running or Settings(), show_progress=show_progress))


def _curate(pool: Pool, limits: CurateSettings, model: str | None, running: Settings) -> CurateReport:
    photos = pool.photos()
    if photos.is_empty():
        raise CounterGroundError(
            f"The pool {pool.root} has no photos yet: add some with `counterground data collect` or `import`."
        )
    referee = load_referee(model, pool, photos, running) if model is not None else None
    measured = measure_photos(pool, photos, show_progress=running.show_progress)
    objects = object_signals(pool, photos, limits)
    signals = [
        feature_noise(measured.frame, limits),
        duplicate_signals(measured.frame, limits),
        objects.signals,
    ]
    # All names, as a signal may now concern no photo: without masks, or without photos that can be read.
    pool.write_signals(pl.concat(signals), names=(*NOISE_SIGNALS, *DUPLICATE_SIGNALS, *OBJECT_SIGNALS))
    notes = [f"The mask {failure} cannot be read and was ignored." for failure in objects.failures]
    earlier = _earlier(pool)
    if referee:
        notes += _write_model_signals(
            pool, measured.frame, referee, limits, masked=objects.paths, earlier=earlier
        )
    elif earlier.get("model"):
        notes += _stale(pool, earlier["model"], len(photos))
    _record(pool, limits, referee, earlier)
    return _report(pool, photos, measured.fresh, notes)


def _earlier(pool: Pool) -> dict[str, Any]:
    """Return what was recorded of the last run."""
    earlier = pool.setting(STATE_KEY, {})
    texts = {"model", "fingerprint"}
    if not isinstance(earlier, dict) or not all(isinstance(earlier.get(name), str | None) for name in texts):
        raise CounterGroundError(
            f"The setting {STATE_KEY!r} of the pool {pool.root} was not written by curate: replace "
            "decisions.sqlite with a backup."
        )
    return earlier


def _write_model_signals(
    pool: Pool,
    measured: pl.DataFrame,
    referee: Referee,
    limits: CurateSettings,
    *,
    masked: Collection[str],
    earlier: Mapping[str, Any],
) -> list[str]:
    """Write the model's signals; return notes on them."""
    if measured["unreadable"].is_not_null().all():
        pool.write_signals(pl.DataFrame(schema=SIGNAL_SCHEMA), names=MODEL_SIGNALS)
        return [f"No photo can be read, so {referee.spec} was not run."]
    known: list[str] = []
    if earlier.get("fingerprint") == referee.model.fingerprint:
        known = pool.signals().filter(pl.col("signal") == CLASS_RANK)["path"].to_list()
    signals = model_signals(pool, measured, referee, limits, masked=masked, known=known)
    pool.write_signals(signals, names=MODEL_SIGNALS)  # all names, as masks may decide on all photos now
    caution = (
        f"{referee.spec} also ranks a class low where the background misleads it, and a background benchmark "
        "needs exactly those photos: judge by looking, never by the rank."
    )
    return [caution]


def _stale(pool: Pool, model: str, photos: int) -> list[str]:
    ranked = pool.signals().filter(pl.col("signal") == CLASS_RANK)["path"].n_unique()
    earlier = f"The signals that need a model are from an earlier run of {model}"
    if ranked == photos:
        return [f"{earlier}."]
    return [f"{earlier}, on {ranked:,} of {photos:,} photos: add --model {model} to include the others."]


def _record(pool: Pool, limits: CurateSettings, referee: Referee | None, earlier: Mapping[str, Any]) -> None:
    """Record how the signals were made; without a model, the earlier one and its limits stay recorded."""
    model = {"model": earlier.get("model"), "fingerprint": earlier.get("fingerprint")}
    recorded = asdict(limits)
    if referee:
        model = {"model": referee.spec, "fingerprint": referee.model.fingerprint}
    elif model["model"] and isinstance(before := earlier.get("limits"), dict):
        recorded |= {name: before[name] for name in CurateSettings.of_model & before.keys()}
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    pool.set_setting(STATE_KEY, {"limits": recorded, "at": at, **model})


def _report(pool: Pool, photos: pl.DataFrame, fresh: int, notes: list[str]) -> CurateReport:
    signals = pool.signals()
    counts = (
        signals.group_by("reason", "signal")
        .agg(photos=pl.col("path").n_unique(), flagged=pl.col("path").filter("flagged").n_unique())
        .sort("reason", "signal")
    )
    queue = review_queue(signals, photos)
    doubtful = set(queue.filter(pl.col("score") > 0)["path"])
    decided = pool.verdicts("review").filter(pl.col("status") != "none")["path"]
    if reviewed := len(doubtful.intersection(decided)):
        notes = [*notes, f"Reviewed already: {reviewed:,} of {len(doubtful):,} flagged photos."]
    return CurateReport(pool.root, len(photos), fresh, counts, queue, tuple(notes))
