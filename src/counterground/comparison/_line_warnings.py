"""What must be said of a line: accuracies at the edge, models far off, errors in what it is fitted to."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from counterground.comparison._deviation import error_on_scale
from counterground.metrics import Scale, outside, to_scale

_DRAWN_ON = 0.25
_NOISE = 0.1


def line_warnings(title: str, members: pl.DataFrame, measured: pl.DataFrame, scale: Scale) -> list[str]:
    """Return sentences about the line through ``members``, against which ``measured`` stand."""
    return [
        *_clipped(title, measured),
        *_far(title, members, measured, scale),
        *_noise(title, members, scale),
    ]


def photos(points: pl.DataFrame, column: str) -> np.ndarray[Any, Any]:
    """Return counts of photos as floats, NaN where unknown."""
    return points[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _clipped(title: str, measured: pl.DataFrame) -> list[str]:
    moved = [outside(measured[group], photos(measured, f"n_{group}")) for group in ("common", "counter")]
    number = int((moved[0] | moved[1]).sum())
    if not number:
        return []
    sentence = (
        f"On {title} {number} of the {measured.height} models {'has' if number == 1 else 'have'} an accuracy "
        "of 0 or 100 %, which has no place on this scale: it was moved by half a photo, or to 0.1 and 99.9 % "
        "where the number of photos is not known."
    )
    return [sentence]


def _far(title: str, members: pl.DataFrame, measured: pl.DataFrame, scale: Scale) -> list[str]:
    """Tell of models so far from those of the line that it must be drawn on to reach them."""
    inside, places = (
        to_scale(points["common"], scale, photos(points, "n_common")) for points in (members, measured)
    )
    room = _DRAWN_ON * float(np.ptp(inside))
    away = (places < inside.min() - room) | (places > inside.max() + room)
    if not away.any():
        return []
    named = ", ".join(measured["label"].filter(pl.Series(away)).unique(maintain_order=True))
    ends = members["common"].to_numpy()
    sentence = (
        f"The line on {title} rests on common accuracies from {100 * ends.min():.1f} to "
        f"{100 * ends.max():.1f} %; it is drawn on for {named}."
    )
    return [sentence]


def _noise(title: str, members: pl.DataFrame, scale: Scale) -> list[str]:
    """Tell where sampling blurs the common accuracies that a line is fitted to."""
    errors = np.array([error_on_scale(row, "common", scale) for row in members.iter_rows(named=True)])
    if np.isnan(errors).all():
        return []
    places = to_scale(members["common"], scale, photos(members, "n_common"))
    share = float(np.nanmean(errors**2) / places.var(ddof=1))
    if share <= _NOISE:
        return []
    sentence = (
        f"The line on {title} rests on few photos: the sampling variance of its models' common accuracies is "
        f"{100 * share:.0f} % of the variance between them. That tilts the line towards the horizontal, and "
        "intervals of distances do not count it. The models share photos, so their errors are alike in part."
    )
    return [sentence]
