"""The photos that stand in a page: which, within what budget, whose, and which had to be left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from counterground.report.page._photos import PhotoSource
from counterground.report.page._thumbnails import MEGABYTE, Thumbnails, make_thumbnails
from counterground.results import count

PER_CELL = 12
UNKNOWN_LICENCE = "not recorded"


class Credit(NamedTuple):
    """What must stand beside a photo that is shown."""

    path: str
    attribution: str
    licence: str
    source: str


@dataclass(frozen=True)
class Album:
    """Photos of one benchmark on the page.

    Attributes:
        wanted: whether photos were asked for.
        thumbnails: the pictures, and what was left out.
        licences: pairs of a licence and the number of photos shown under it, most first.
        credits: of the photos shown, by photo_id.
    """

    wanted: bool
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    licences: list[tuple[str, int]] = field(default_factory=list)
    credits: dict[str, Credit] = field(default_factory=dict)

    @property
    def megabytes(self) -> str:
        """What the pictures take in the page."""
        return f"{self.thumbnails.size / MEGABYTE:.1f}"

    @property
    def left_out(self) -> list[str]:
        """Sentences on the photos that would have been shown but are not."""
        found = self.thumbnails
        told = []
        if found.unknown:
            told.append(
                f"{count(len(found.unknown))} photos are in no benchmark at hand. Name the benchmark with "
                "--benchmark to see them."
            )
        for reason, paths in _by_reason(found.unreadable).items():
            told.append(f"{count(len(paths))} left out ({reason}): {_some(paths)}.")
        if found.over_budget:
            more = count(len(found.over_budget))
            told.append(f"{more} more would not fit into the budget, which --photo-budget raises.")
        return told


def make_album(chosen: pl.DataFrame, sources: Mapping[str, PhotoSource], budget: float) -> Album:
    """Shrink the chosen photos in their order and collect the credits of those that are shown.

    Args:
        chosen: as `telling_photos` gives them.
        sources: files by photo_id.
        budget: megabytes.
    """
    wanted = list(chosen.select("path", "photo_id").iter_rows())
    thumbnails = make_thumbnails(wanted, sources, budget)
    credits_ = {
        identity: _credit(path, sources[identity])
        for path, identity in wanted
        if identity in thumbnails.pictures
    }
    licences = Counter(credit.licence for credit in credits_.values())
    return Album(True, thumbnails, licences.most_common(), credits_)


def _credit(path: str, source: PhotoSource) -> Credit:
    return Credit(path, source.attribution or "", source.licence or UNKNOWN_LICENCE, source.source or "")


def _by_reason(unreadable: list[tuple[str, str]]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for path, reason in unreadable:
        reasons.setdefault(reason, []).append(path)
    return reasons


def _some(paths: list[str], at_most: int = 3) -> str:
    more = len(paths) - at_most
    return ", ".join(paths[:at_most]) + (f" and {count(more)} more" if more > 0 else "")
