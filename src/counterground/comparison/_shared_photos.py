"""Models on the same photos: how much of a model's sampling error moves its distance from their line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from counterground.metrics import (
    DROP,
    GROUPS,
    SIDES,
    Answers,
    Contrast,
    InfluenceEstimate,
    LineFit,
    Scale,
    scale_density,
    to_scale,
)

Floats = np.ndarray[Any, np.dtype[np.float64]]
_NO_SPREAD = 1e-24


@dataclass(frozen=True)
class SharedPhotos:
    """Models that saw the same photos, and how the photos moved their accuracies.

    Attributes:
        places: position of each point among the models, by its row.
        common: ``[k]`` probits or logits of the common accuracies.
        counter: ``[k]``, the same for the counter accuracies.
        errors: what sampling did to ``common``, then to ``counter``: ``[2 k]`` comparable estimates.
    """

    places: Mapping[int, int]
    common: Floats
    counter: Floats
    errors: InfluenceEstimate

    def unshared(self, row: int, members: Sequence[int], line: LineFit) -> float:
        """Return the share of a model's sampling variance that moves its distance from a line.

        What a photo does to the distance is what it does to the model minus what it does to the line, that
        is, to its members, each with its leverage (delta method). Part of that variance, what photos do to
        members one by one, is in their scatter about the line and so in the line's standard error. It is
        subtracted here. With independent models of equal errors, 1 is left.

        Args:
            row: row of the model, which is not a member.
            members: rows of the models of the line.
            line: the line through them.
        """
        own, others = self.places[row], [self.places[member] for member in members]
        away, off = self.common[others] - line.centre, self.counter[others] - line.at(self.common[others])
        reach = float(self.common[own] - line.centre) / line.spread
        # Rows weight the errors of common, then of counter; these are of counter - slope * common.
        k = len(self.common)
        heights = np.hstack([-line.slope * np.eye(k), np.eye(k)])
        moved = (1 / line.n + reach * away) @ heights[others]
        moved[others] += reach * off
        hat = 1 / line.n + np.outer(away, away) / line.spread
        residuals = heights[others] - hat @ heights[others]
        rows = np.vstack([heights[own] - moved, heights[own], residuals])
        distance, alone, *scatter = self.errors.combined(rows).variance.tolist()
        if alone <= _NO_SPREAD:  # right, or wrong, on all photos: nothing is known about their effect
            return 1.0
        leverage = 1 / line.n + reach**2 * line.spread
        return float(max(0.0, distance - leverage * sum(scatter) / (line.n - 2)) / alone)


def shared_photos(
    members: pl.DataFrame,
    measured: pl.DataFrame,
    answers: Sequence[Answers | None],
    scale: Scale,
    contrast: Contrast = DROP,
) -> SharedPhotos | None:
    """Return how sampling moved those ``measured`` models that saw the photos of all ``members``.

    Args:
        members: points of the models of a line, with their ``row``.
        measured: the same for the models measured against it.
        answers: answers by row, None if the photos are not known.
        scale: scale of the line.
        contrast: contrast whose sides are ``common`` and ``counter``.

    Returns:
        None if the members did not all see the same photos.
    """
    seen = {None if (of := answers[row]) is None else of.photos.fingerprint for row in members["row"]}
    if len(seen) != 1 or seen == {None}:
        return None
    same = [(of := answers[row]) is not None and of.photos.fingerprint in seen for row in measured["row"]]
    points = measured.filter(pl.Series(same, dtype=pl.Boolean))
    models = [of for row in points["row"] if (of := answers[row]) is not None]
    places = [to_scale(points[group], scale, points[f"n_{group}"]) for group in GROUPS]
    errors = [of for side in SIDES for model in models if (of := model.estimate(side, contrast))]
    if len(errors) != 2 * len(models):
        return None
    turned = np.diag(1 / scale_density(np.concatenate(places), scale))
    # Scatter over classes is for other classes, which these intervals do not cover.
    errors = [replace(each, scatter=None) for each in errors]
    stacked = InfluenceEstimate.stacked(errors).compressed().combined(turned)
    common, counter = places
    return SharedPhotos({row: place for place, row in enumerate(points["row"])}, common, counter, stacked)
