"""The table of contrasts with covariates held, and what covariates are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.metrics._codes import Codes, Floats
from counterground.metrics._registry import Answers, read_answers
from counterground.metrics._settings import KEY_SCHEMA, MEASURED
from counterground.metrics.adjusted._adjusted import Adjustment, Words
from counterground.metrics.design import DESIGN, Contrast, Design, attributes, selection
from counterground.metrics.intervals import CONFIDENCE, Confidence

COVARIATE_GROUPS = dict(zip(("size", "position", "photo"), MEASURED, strict=True))
"""Short names of the covariates that ``evaluate`` measures."""
LOGGED = ("object_area", "photo_pixels")
"""Covariates that enter as logarithms: twice as large is the same step everywhere."""

ADJUSTED_SCHEMA: dict[str, Any] = {
    **KEY_SCHEMA,
    "contrast": pl.String,
    "covariates": pl.String,
    "metric": pl.String,
    "covariate": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "strata": pl.Int64,
    "missing": pl.Int64,
    "shared_slopes": pl.Boolean,
    "anytime": pl.Boolean,
}
"""Columns of ``score_adjusted``; values and bounds are fractions.

``metric``: ``unadjusted``, ``adjusted`` (the contrast with ``covariates`` held) and ``difference`` (the
second minus the first), all on the same photos. Then, for each ``covariate``, how far the sides overlap:
``shift`` (mean of the left side minus that of the right, in standard deviations), ``left_outside`` and
``right_outside`` (share of a side's photos outside the other's range). ``missing`` photos of the two sides
lack a covariate and are left out. ``shared_slopes``: strata are too small for their own models, so one with
an intercept for each is used.
"""


def find_covariates(names: Sequence[str], schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of covariates, given by their names or those of ``COVARIATE_GROUPS``.

    Args:
        names: as on the command line.
        schema: the columns of predictions.

    Raises:
        UsageError: no covariate, one given twice, an unknown one, one that is not measured, or a column of
            texts.
    """
    known = attributes(schema)
    numbers = [name for name, kind in known.items() if kind.is_numeric()]
    found = [COVARIATE_GROUPS.get(name, name) for name in names]
    listed = [*COVARIATE_GROUPS, *(name for name in numbers if name not in MEASURED)]
    if not found:
        raise UsageError(f"Name covariates to hold: {', '.join(listed)}.")
    for name, column in zip(names, found, strict=True):
        if column in numbers:
            continue
        if column in MEASURED:
            raise UsageError(
                f"{column} is not known of these photos. evaluate measures photo_pixels, and where manifests "
                "have masks (column mask) or boxes (box_x, box_y, box_width, box_height) object_area and "
                f"object_distance: evaluate again.{_own_column(name, numbers)}"
            )
        if column in known:
            raise UsageError(
                f"The column {column!r} has texts, and a covariate is a number: name it after 'within' of "
                "the contrast instead."
            )
        raise UsageError(
            f"There is no covariate {name!r}; there are {', '.join(listed)}.{did_you_mean(name, listed)}"
        )
    if len(set(found)) < len(found):
        raise UsageError(f"{', '.join(names)} names a covariate twice.")
    return tuple(found)


def _own_column(name: str, numbers: Sequence[str]) -> str:
    if name not in numbers:
        return ""
    return (
        f" The manifest's column {name!r} is not used for it: call it {COVARIATE_GROUPS[name]} if it is that."
    )


def score_adjusted(
    predictions: pl.DataFrame | pl.LazyFrame,
    contrast: Contrast,
    covariates: Sequence[str],
    *,
    confidence: Confidence = CONFIDENCE,
    design: Design = DESIGN,
) -> pl.DataFrame:
    """Return a contrast of every model as it is, and with covariates held, with 95 % intervals.

    Only these covariates are held: whatever else differs between the sides is not, so the adjusted contrast
    is not a causal effect.

    Args:
        predictions: the columns of ``predictions.parquet`` with its attributes and covariates.
        contrast: a contrast whose sides are selections or ``all``.
        covariates: see ``find_covariates``.
        confidence: how often an interval may miss the truth.
        design: the design whose clusters count.

    Returns:
        The columns of ``ADJUSTED_SCHEMA``.

    Raises:
        UsageError: a covariate is not known, or a side is an average.
        CounterGroundError: the sides do not overlap, and what else `Adjustment` refuses.
    """
    schema = predictions.lazy().collect_schema()
    columns = find_covariates(covariates, schema)
    if any(side.average is not None for side in contrast.sides):
        raise UsageError(
            f"The contrast {contrast.name!r} has an average of cells as a side, which cannot be adjusted: "
            "name a contrast of selections."
        )
    needed = tuple(dict.fromkeys((*contrast.columns, *columns)))
    known: dict[bytes, _Prepared] = {}
    records = []
    read = (*needed, *_READ, *design.clusters, *(name for name in ("photo_id",) if name in schema))
    for key, answers in read_answers(predictions, needed, read, confidence=confidence, design=design):
        seen = answers.photos.fingerprint
        if seen not in known:
            known[seen] = _prepare(answers, contrast, columns)
        records += [(*key, *row, confidence.anytime) for row in known[seen].rows(answers)]
    return pl.DataFrame(records, schema=ADJUSTED_SCHEMA, orient="row")


_READ = ("path", "class_index", "group", "cluster", "correct")


class _Prepared(NamedTuple):
    """A contrast of some photos, ready for the answers of models that saw them."""

    contrast: str
    covariates: str
    adjustment: Adjustment
    missing: int

    def rows(self, answers: Answers) -> list[tuple[Any, ...]]:
        """Return the rows of one model, from ``contrast`` to ``shared_slopes``."""
        found = self.adjustment.of(answers.correct)
        about = (self.adjustment.strata, self.missing, self.adjustment.shared)
        counts = (found.adjusted.n, found.adjusted.clusters)
        start = (self.contrast, self.covariates)
        rows: list[tuple[Any, ...]] = [
            (*start, name, None, i.value, i.low, i.high, i.p_value, i.n, i.clusters, *about)
            for name, i in found._asdict().items()
        ]
        rows += [
            (*start, name, each.covariate, getattr(each, name), None, None, None, *counts, *about)
            for each in self.adjustment.overlap
            for name in ("shift", "left_outside", "right_outside")
        ]
        return rows


def _prepare(answers: Answers, contrast: Contrast, columns: Sequence[str]) -> _Prepared:
    photos, sampling = answers.rows, answers.photos.sampling
    left, right = (
        photos.select(selection(side, photos.schema)).to_series().to_numpy() for side in contrast.sides
    )
    stratum = _strata(photos, contrast.within)
    values = {name: _values(photos[name]) for name in columns}
    compared = (left | right) & (stratum >= 0)
    unknown = {name: compared & np.isnan(column) for name, column in values.items()}
    lacks = np.logical_or.reduce(list(unknown.values()))
    for name, missing in unknown.items():
        if compared.any() and missing.sum() == compared.sum():
            raise UsageError(f"No photo of the contrast {contrast.name!r} has {name}: hold other covariates.")
    inside = (stratum >= 0) & ~lacks
    within = ", ".join(contrast.within) or "all photos"
    try:
        adjustment = Adjustment(
            sampling,
            left & inside,
            right & inside,
            np.maximum(stratum, 0),
            values,
            words=Words(*contrast.titles, within),
        )
    except ValueError as error:
        raise CounterGroundError(f"The contrast {contrast.name!r} cannot be adjusted. {error}") from error
    return _Prepared(contrast.name, ", ".join(columns), adjustment, int(lacks.sum()))


def _values(column: pl.Series) -> Floats:
    """Return a covariate as it is held; NaN where it is unknown, or has no logarithm."""
    values = column.cast(pl.Float64).to_numpy().astype(np.float64)
    values = np.where(np.isfinite(values), values, np.nan)
    if column.name in LOGGED:
        return np.log(np.where(values > 0, values, np.nan))
    return values


def _strata(photos: pl.DataFrame, within: Sequence[str]) -> Codes:
    """Code the combinations of columns from 0 ``[n]``; -1 for photos that lack one of them."""
    numbered = photos.select(within).with_row_index("row").drop_nulls()
    codes = np.full(len(photos), -1 if within else 0)
    for code, rows in enumerate(
        numbered.group_by(within, maintain_order=True).agg("row")["row"] if within else []
    ):
        codes[rows.to_numpy()] = code
    return codes
