"""What the terminal and the page say of a pool in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from counterground.report.pool._summary import PoolSummary
from counterground.results import NOTHING, count, percent


def pool_sentence(summary: PoolSummary) -> str:
    """Say in one or two sentences what the pool holds and what is left to do."""
    photos, classes = summary.total("photos"), summary.classes.height
    named = "1 class" if classes == 1 else f"{count(classes)} classes"
    sides = [
        f"{count(summary.total(side))} {side}" for side in ("kept", "discarded", "disputed", "undecided")
    ]
    sentence = f"{count(photos)} photos of {named}: {', '.join(sides)}."
    open_ones = [
        f"{count(number)} {what}"
        for number, what in (
            (summary.total("unlabelled"), "have no background label yet"),
            (summary.total("unsettled"), "have backgrounds in dispute"),
        )
        if number
    ]
    return f"{sentence} Of those kept or undecided, {' and '.join(open_ones)}." if open_ones else sentence


class AgreementWords(NamedTuple):
    """One row of agreement as texts; en dashes where there is nothing to say."""

    photos: str
    agreement: str
    kappa: str
    alpha: str
    interval: str


def agreement_words(row: Mapping[str, Any]) -> AgreementWords:
    """Write a row of ``metrics.agreement``: percent, kappa and alpha with two decimals."""
    kappa, alpha = (NOTHING if row[name] is None else decimal(row[name]) for name in ("kappa", "alpha"))
    interval = NOTHING if row["low"] is None else f"{decimal(row['low'])} to {decimal(row['high'])}"
    return AgreementWords(count(row["photos"]), percent(row["agreement"]), kappa, alpha, interval)


def decimal(value: float) -> str:
    """Two decimals with a true minus sign, never a negative zero."""
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def failures_by_reason(summary: PoolSummary) -> pl.DataFrame:
    """``reason, n, classes`` of failed candidates, the most frequent first."""
    return (
        summary.failures.group_by("reason")
        .agg(pl.col("n").sum(), classes=pl.len())
        .sort("n", "reason", descending=[True, False])
    )
