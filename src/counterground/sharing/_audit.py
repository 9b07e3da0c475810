"""An audit: some photos of a bundle, which nobody chooses, are run again by somebody else."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from pydantic import BaseModel, ConfigDict
from scipy.stats import hypergeom

from counterground.errors import CounterGroundError, UsageError
from counterground.files import write_text
from counterground.inference import evaluate_models
from counterground.models import WEIGHTS_HASH, is_safe_from_others
from counterground.photos import Benchmark
from counterground.results import ModelRecord
from counterground.sharing._bundle import (
    AUDIT_FILE,
    benchmark_of,
    bundle_hash,
    check_against,
    check_bundle,
    settings_of_bundle,
)
from counterground.text import counted

ENOUGH = 60
"""Photos of an audit: if 5 % of the predictions are altered, 95 of 100 audits find one."""
NEAR_TIE = {"fp32": 0.01, "fp16": 0.3, "bf16": 0.3}
"""By precision: a prediction that another runtime may turn has a gap to its runner-up of at most this share
of the median gap. See `bench/experiments/audits.py` for what was measured."""
LEVEL = 0.95
_ASKED = ("path", "prompts", "answer_score")


class Audit(BaseModel):
    """What an audit of a bundle found; ``audit.json``.

    Attributes:
        bundle: SHA-256 of the bundle's files.
        salt: text that entered the draw beside ``bundle``.
        photos: how many were drawn.
        of: photos of the bundle.
        mismatches: numbers of the photos on which a prediction differs, near ties excepted.
        near_ties: photos on which a prediction differs and the two highest scores are nearly equal.
        bound: with 95 % confidence, at most this share of the predictions is altered; fraction.
        device: device that the photos ran on here.
        libraries: library versions here.
        created: ISO time, UTC.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str
    salt: str
    photos: int
    of: int
    mismatches: list[str]
    near_ties: int
    bound: float
    device: str
    libraries: dict[str, str]
    created: str

    @property
    def altered(self) -> bool:
        """Whether a prediction differs by more than a near tie."""
        return bool(self.mismatches)

    def __str__(self) -> str:
        ties = f", {counted(self.near_ties, 'near tie')} excepted" if self.near_ties else ""
        return (
            f"{self.photos:,} of {counted(self.of, 'photo')} were run again, "
            f"{len(self.mismatches)} with another prediction{ties}. "
            f"With 95 % confidence, at most {100 * self.bound:.1f} % of all predictions are altered."
        )


def audit_bundle(
    folder: Path,
    data: Benchmark | Path | str,
    *,
    photos: int = ENOUGH,
    model: str | None = None,
    salt: str = "",
    device: str = "auto",
    show_progress: bool = False,
) -> Audit:
    """Run a bundle's model again on photos drawn by its hash, and write ``audit.json`` into it.

    Args:
        folder: the bundle.
        data: its benchmark, with photos.
        photos: how many to draw; all if there are fewer.
        model: where the model is, if the bundle names a file, code or an address.
        salt: text that enters the draw, such as the commit that received the bundle. Without it, whoever made
            the bundle could try alterations until the draw misses them.
        device: where the model runs here.
        show_progress: show bars on standard error.

    Raises:
        UsageError: a model that cannot be run again photo by photo.
        CounterGroundError: see `check_bundle` and `check_against`; or the weights are others.
    """
    bundle = check_bundle(folder)
    record = bundle.info.models[0]
    if record.kind == "predictions" or record.has_other_head:
        raise UsageError(
            f"{record.name} cannot be audited: predictions of others and fitted heads cannot be run again "
            "photo by photo."
        )
    if model is None and not is_safe_from_others(record.spec):
        raise UsageError(f"{record.spec} is code or an address of others: name the model here with --model.")
    benchmark = benchmark_of(bundle, data, files=True, show_progress=show_progress)
    check_against(bundle, benchmark)
    digest, size = bundle_hash(folder), len(benchmark.photos)
    drawn = draw_photos(f"{digest}{salt}", size, photos)
    sample = replace(benchmark, photos=benchmark.photos[drawn])
    with TemporaryDirectory() as work:
        settings = settings_of_bundle(bundle, Path(work))
        settings = replace(settings, device=device, show_progress=show_progress, report=False)
        again = evaluate_models(sample, model or record.spec, settings, Path(work, "run"))
        _refuse_other_weights(record, again.info.models[0])
        if again.info.counts.unreadable:
            raise CounterGroundError(
                f"{again.info.counts.unreadable} of the drawn photos cannot be read here."
            )
        numbers = dict(zip(sample.photos["path"], bundle.photos["path"][drawn], strict=True))
        rows = again.predictions.with_columns(pl.col("path").replace_strict(numbers))
    mismatches, near = differing(bundle.predictions, rows, NEAR_TIE[bundle.info.precision])
    audit = Audit(
        bundle=digest,
        salt=salt,
        photos=len(drawn),
        of=size,
        mismatches=mismatches,
        near_ties=near,
        bound=largest_share(len(mismatches), len(drawn), size),
        device=again.info.device,
        libraries=again.info.libraries,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_text(folder / AUDIT_FILE, audit.model_dump_json(indent=2))
    return audit


def draw_photos(seed: str, size: int, photos: int) -> list[int]:
    """Return places of photos, sorted: those with the lowest hashes of seed and place."""
    hashes = [hashlib.sha256(f"{seed} {place}".encode()).digest() for place in range(size)]
    return sorted(sorted(range(size), key=hashes.__getitem__)[:photos])


def _refuse_other_weights(record: ModelRecord, here: ModelRecord) -> None:
    recorded, loaded = (model.description.get(WEIGHTS_HASH) for model in (record, here))
    if recorded != loaded:
        raise CounterGroundError(
            f"{record.name} of the bundle has weights {recorded!s:.8}, and {here.spec} has {loaded!s:.8} "
            "here: it is another model."
        )


def differing(recorded: pl.DataFrame, again: pl.DataFrame, near: float) -> tuple[list[str], int]:
    """Return the photos on which predictions differ, and how many more differ by a near tie only.

    Args:
        recorded: rows of a bundle's predictions.
        again: those of the photos that were run again, under the same numbers as ``path``.
        near: share of the median gap; a near tie is judged by the gap of ``again``, which whoever made the
            bundle cannot choose.

    Raises:
        CounterGroundError: the bundle lacks a row of ``again``, or a drawn photo could not be read.
    """
    both = again.join(recorded, on=_ASKED, how="left", nulls_equal=True, suffix="_recorded")
    if both["model_recorded"].null_count():
        raise CounterGroundError("The model was asked otherwise than its bundle says: its prompts differ.")
    differs = pl.col("predicted_index").ne_missing(pl.col("predicted_index_recorded"))
    tie = (pl.col("top2_gap") <= near * pl.col("top2_gap").median()).fill_null(value=False)
    # The median is that of all photos, not that of the rows of one.
    judged = both.select("path", altered=differs & ~tie, other=differs)
    by_photo = judged.group_by("path").agg(pl.col("altered", "other").any())
    altered = by_photo.filter("altered")["path"].sort().to_list()
    return altered, int(by_photo["other"].sum()) - len(altered)


def largest_share(mismatches: int, photos: int, size: int) -> float:
    """Return the upper 95 % bound of the share of altered predictions, from a draw without replacement."""

    def is_too_many(altered: int) -> bool:
        return bool(hypergeom.cdf(mismatches, size, altered, photos) <= 1 - LEVEL)

    return (bisect_left(range(size + 1), True, key=is_too_many) - 1) / size
