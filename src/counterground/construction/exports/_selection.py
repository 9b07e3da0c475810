"""Which photos of a benchmark are exported, and which are left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import polars as pl

from counterground.construction.exports._licences import read_licence
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import Benchmark
from counterground.text import counted

LEFT_OUT_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),
    "class_name": pl.String(),
    "background": pl.String(),
    "group": pl.String(),
    "licence": pl.String(),
    "reason": pl.String(),
}


@dataclass(frozen=True)
class Terms:
    """Which licences an export accepts, and what it states for photos that state none; see ``export``."""

    shared: bool
    all_licences: bool
    licence_for_unknown: str | None
    attribution_for_unknown: str | None


@dataclass(frozen=True)
class Selection:
    """The benchmark of the exported photos, those left out (``LEFT_OUT_SCHEMA``), and notes on both.

    ``notes`` are for the reader of the export, besides the benchmark's own.
    """

    benchmark: Benchmark
    left_out: pl.DataFrame
    notes: tuple[str, ...]


def select_photos(benchmark: Benchmark, terms: Terms) -> Selection:
    """Choose the photos that may be shared, or all of them if the export is not shared.

    Raises:
        UsageError: the licence for photos without one is unknown, or there is only a credit line.
        CounterGroundError: no photo is left.
    """
    photos, stated = _state(benchmark.photos, terms.licence_for_unknown, terms.attribution_for_unknown)
    obstacles = pl.Series("reason", [read_licence(text).obstacle for text in photos["licence"]], pl.String)
    blocked = obstacles != ""
    left_out = photos.with_columns(obstacles).filter(blocked).select(*LEFT_OUT_SCHEMA)
    if not terms.shared or terms.all_licences:
        left_out = left_out.clear()
    kept = photos.join(left_out.select("path"), on="path", how="anti", maintain_order="left")
    if kept.is_empty():
        raise CounterGroundError(
            f"No photo of {benchmark.name!r} may be shared ({_tally(left_out['reason'])}). If they are "
            "yours, state their licence with --licence-for-unknown; for your own use, export with --private."
        )
    notes = tuple(_left_out_notes(left_out, photos, kept))
    chosen = replace(benchmark, photos=kept, notes=(*benchmark.notes, *notes))
    forbidden = int(blocked.sum()) if terms.all_licences and terms.shared else 0
    remarks = _remarks(kept, forbidden, stated, terms.licence_for_unknown or "")
    return Selection(chosen, left_out, (*notes, *remarks))


def _state(photos: pl.DataFrame, licence: str | None, credit: str | None) -> tuple[pl.DataFrame, int]:
    """Fill in licence and credit line where no licence is stated; return for how many photos."""
    if licence is None:
        if credit is not None:
            raise UsageError("--attribution-for-unknown goes with --licence-for-unknown: add that.")
        return photos, 0
    if obstacle := read_licence(licence).obstacle:
        raise UsageError(f"--licence-for-unknown: {obstacle}. Use a code such as cc0, cc-by, cc-by-nc.")
    unknown = pl.col("licence").fill_null("").str.strip_chars() == ""
    uncredited = unknown & (pl.col("attribution").fill_null("").str.strip_chars() == "")
    stated = photos.with_columns(
        pl.when(unknown).then(pl.lit(licence.strip())).otherwise("licence").alias("licence"),
        pl.when(uncredited).then(pl.lit(credit, pl.String)).otherwise("attribution").alias("attribution"),
    )
    return stated, int(photos.select(unknown.sum()).item())


def _tally(values: Iterable[str]) -> str:
    return "; ".join(f"{value}: {count:,}" for value, count in Counter(values).most_common())


def _left_out_notes(left_out: pl.DataFrame, before: pl.DataFrame, kept: pl.DataFrame) -> Iterable[str]:
    if left_out.is_empty():
        return
    yield (
        f"{len(left_out):,} of {counted(len(before), 'photo')} left out of this export, because the licence "
        f"does not allow sharing ({_tally(left_out['reason'])})."
    )
    if gone := sorted(set(before["class_name"]) - set(kept["class_name"])):
        yield f"No photo is left of: {', '.join(gone)}."


def _remarks(kept: pl.DataFrame, forbidden: int, stated: int, stated_licence: str) -> Iterable[str]:
    licences = [read_licence(text) for text in kept["licence"]]
    credits_missing = sum(
        licence.needs_credit and not (credit or "").strip()
        for licence, credit in zip(licences, kept["attribution"], strict=True)
    )
    remarks = (
        (forbidden, "Shared although the licence is not known to allow it, at the exporter's risk"),
        (stated, f"Licence stated by the exporter ({stated_licence})"),
        (sum(x.noncommercial for x in licences), "For non-commercial use only (NC)"),
        (sum(x.verbatim for x in licences), "To be shared only unchanged, without crops or edits (ND)"),
        (
            credits_missing,
            "Credit line required by the licence but missing: add it before sharing, in a column attribution",
        ),
    )
    return [f"{sentence}: {counted(count, 'photo')}." for count, sentence in remarks if count]
