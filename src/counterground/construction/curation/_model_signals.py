"""Label noise, ambiguity and clarity from a model that ranks the names; duplicates from its features."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from counterground.construction.curation._duplicates import SIMILARITY, similarity_signals
from counterground.construction.curation._referee import Judgement, Referee
from counterground.construction.curation._signals import (
    CurateSettings,
    Flags,
    Floats,
    percent,
    share_better,
    signal_rows,
)
from counterground.construction.pool import Pool
from counterground.models import Encoder
from counterground.photos import Benchmark

if TYPE_CHECKING:
    import torch
    from PIL import Image


CROPS: dict[str, tuple[float, float]] = {
    "centre": (1 / 6, 1 / 6),
    "top left": (0, 0),
    "top right": (1 / 3, 0),
    "bottom left": (0, 1 / 3),
    "bottom right": (1 / 3, 1 / 3),
}
"""Crops of two thirds of each side: where their left and upper edges are."""

_PART = 2 / 3


class CroppedView(Encoder):
    """The model ``whole`` on one of the ``CROPS`` of each photo; its own fingerprint, so its own features."""

    def __init__(self, whole: Encoder, crop: str) -> None:
        self.whole, self.crop = whole, crop
        self.spec = f"{whole.spec}, {crop} crop"
        self.kind = whole.kind  # type: ignore[misc]
        place = f"{whole.fingerprint} {CROPS[crop]} {_PART}"
        self.fingerprint = hashlib.sha256(place.encode()).hexdigest()
        self.dim, self.device, self.dtype = whole.dim, whole.device, whole.dtype
        self.description = whole.description
        self.convert_rgb_first = whole.convert_rgb_first

    @property
    def users_class(self) -> str:
        """Return the same as for the whole model."""
        return self.whole.users_class

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Return the model's input for the crop of one photo."""
        left, top = (round(start * side) for start, side in zip(CROPS[self.crop], image.size, strict=True))
        width, height = (max(1, round(_PART * side)) for side in image.size)
        return self.whole.preprocess(image.crop((left, top, left + width, top + height)))

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the model's features of the crops."""
        return self.whole.encode(batch)


CLASS_RANK = "class rank"
_SECOND_CLASS = "second class"
_CROP_MARGIN = "margin over crops"
MODEL_SIGNALS = (CLASS_RANK, _SECOND_CLASS, SIMILARITY, _CROP_MARGIN)


def model_signals(
    pool: Pool,
    measured: pl.DataFrame,
    referee: Referee,
    settings: CurateSettings,
    *,
    masked: Collection[str],
) -> pl.DataFrame:
    """Return the signals that need a model, for the photos that can be read.

    Args:
        pool: pool of the photos.
        measured: see ``Measured``.
        referee: the model.
        settings: limits of the signals.
        masked: paths of photos whose clarity a mask decides; they are not cropped.
    """
    benchmark = referee.benchmark(pool, measured.filter(pl.col("unreadable").is_null()))
    matrix, readable = referee.encode(benchmark)
    matrix, paths = matrix[readable], benchmark.photos["path"].filter(pl.Series(readable)).to_list()
    photos = measured.filter(pl.col("path").is_in(paths))
    judgement = referee.judge(matrix, benchmark.photos["class_index"].filter(pl.Series(readable)))
    signals = [
        _class_rank(photos, judgement, referee, settings),
        _second_class(photos, judgement, referee, settings),
        similarity_signals(measured, paths, matrix, referee.spec, settings),
    ]
    unmasked = ~photos["path"].is_in(list(masked)).to_numpy()
    if unmasked.any():
        margins = {"whole photo": judgement.margin[unmasked]}
        unsure = margins["whole photo"] < settings.min_margin
        if unsure.any():
            doubtful = referee.benchmark(pool, photos.filter(unmasked).filter(unsure))
            margins |= _crop_margins(doubtful, unsure, referee)
        signals.append(_clarity(photos.filter(unmasked), margins, referee, settings))
    return pl.concat(signals)


def _class_rank(
    photos: pl.DataFrame, judgement: Judgement, referee: Referee, settings: CurateSettings
) -> pl.DataFrame:
    names, rank = len(referee.names), judgement.rank.astype(np.float64)
    limit = min(settings.max_rank, max(1, int(settings.max_rank_share * names)))
    explanations, related = [], []
    for filed, place, first, chance in zip(
        photos["class_name"],
        judgement.rank.tolist(),
        judgement.first,
        judgement.first_probability,
        strict=True,
    ):
        best = referee.names[first]
        related.append(best if place > 1 else None)
        explanations.append(
            f"{referee.spec} ranks {filed!r} {place:,} of {names:,} names (limit {limit:,}); "
            f"{best!r} is first and has {percent(chance)}."
        )
    return signal_rows(
        CLASS_RANK,
        "label noise",
        photos["path"],
        value=rank,
        flagged=rank > limit,
        priority=share_better(rank, low_is_bad=False),
        explanation=explanations,
        related=related,
    )


def _second_class(
    photos: pl.DataFrame, judgement: Judgement, referee: Referee, settings: CurateSettings
) -> pl.DataFrame:
    """Return the signal for two likely classes, the photo's among them, of which neither leads by much."""
    both = judgement.first_probability + judgement.second_probability
    among = (judgement.first == judgement.own) | (judgement.second == judgement.own)
    close = (judgement.margin < settings.min_gap) & (both >= settings.min_both)
    explanations, related = [], []
    for own, first, second, chance, other in zip(
        judgement.own,
        judgement.first,
        judgement.second,
        judgement.first_probability,
        judgement.second_probability,
        strict=True,
    ):
        rival = second if own == first else first
        related.append(referee.names[rival] if own in (first, second) else None)
        explanations.append(
            f"{referee.spec} gives {referee.names[first]!r} {percent(chance)} and "
            f"{referee.names[second]!r} {percent(other)} (limit of the gap {percent(settings.min_gap)})."
        )
    return signal_rows(
        _SECOND_CLASS,
        "ambiguity",
        photos["path"],
        value=judgement.margin,
        flagged=among & close,
        priority=share_better(judgement.margin, low_is_bad=True),
        explanation=explanations,
        related=related,
    )


def _crop_margins(doubtful: Benchmark, unsure: Flags, referee: Referee) -> dict[str, Floats]:
    """Return the lead of the first name on each crop of the ``unsure`` photos, NaN for the others.

    Most photos are clear as a whole and need no crops.
    """
    margins: dict[str, Floats] = {}
    for crop in CROPS:
        matrix, readable = referee.encode(doubtful, CroppedView(referee.model, crop))
        lead = referee.judge(matrix, doubtful.photos["class_index"]).margin
        margins[f"{crop} crop"] = margin = np.full(len(unsure), np.nan)
        margin[unsure] = np.where(readable, lead, np.nan)
    return margins


def _clarity(
    photos: pl.DataFrame, margins: dict[str, Floats], referee: Referee, settings: CurateSettings
) -> pl.DataFrame:
    """Return the signal for photos on which the model has no confident prediction in any view."""
    views, stacked = list(margins), np.stack(list(margins.values()))
    which, best = np.nanargmax(stacked, axis=0), np.nanmax(stacked, axis=0)
    flagged = best < settings.min_margin
    explanations = [
        f"{referee.spec} has no confident prediction on the photo or any of {len(CROPS)} crops: its first "
        f"name leads by {percent(lead)} at most (limit {percent(settings.min_margin)})."
        if unclear
        else f"On the {views[view]} the first name of {referee.spec} leads by {percent(lead)}."
        for view, lead, unclear in zip(which, best, flagged, strict=True)
    ]
    return signal_rows(
        _CROP_MARGIN,
        "clarity",
        photos["path"],
        value=best,
        flagged=flagged,
        priority=share_better(best, low_is_bad=True),
        explanation=explanations,
    )
