"""Collect one class: list as far as needed, fetch, replace what fails, until there is enough or no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from counterground.build.collect._http import user_agent
from counterground.build.collect._listing import ListingState, Query, Row, sized
from counterground.build.collect._pacer import MediaPacer
from counterground.build.collect._report import ClassReport
from counterground.build.collect._session import Session, kept_by_class
from counterground.build.collect._source import Source
from counterground.build.collect._taxa import Choice
from counterground.build.download import DownloadReport, DownloadSettings, download_photos
from counterground.errors import CounterGroundError
from counterground.pool import CANDIDATE_SCHEMA, Pool

_FRUITLESS = 12  # photos in a row that a host did not give


@dataclass
class Collected:
    """What all classes of a run know of each other.

    Attributes:
        owner: class of each photo of iNaturalist in the pool, by key.
        fruitless: photos postponed since the last one came.
    """

    owner: dict[str, str]
    fruitless: int = 0


@dataclass
class ClassCollection:
    """One class of a collection."""

    pool: Pool
    session: Session
    source: Source
    pacer: MediaPacer
    choice: Choice
    query: Query
    state: ListingState
    rows: dict[str, Row] = field(default_factory=dict)
    postponed: set[str] = field(default_factory=set)
    got: int = 0
    received: int = 0

    def collect(self, collected: Collected) -> ClassReport:
        """Fetch what is missing and say what became of the class.

        Raises:
            CounterGroundError: the photos' host does not answer, a budget is spent, or the disk is full.
        """
        name, wanted = self.choice.class_name, self.session.options.per_class
        had = sum(owner == name for owner in collected.owner.values())
        self.rows = {row["key"]: row for row in self.pool.candidates(name).to_dicts()}
        while had + self.got < wanted:
            batch = self._next_batch(wanted - had - self.got, collected.owner)
            if not batch:
                break
            self._fetch(batch, had, collected)
        return ClassReport(
            name,
            self.choice.scientific_name,
            wanted=wanted,
            had=had,
            got=self.got,
            failed=sum(row["status"] == "failed" for row in self._ours()),
            missing=max(0, wanted - had - self.got),
            postponed=len(self.postponed),
            bytes=self.received,
            exhausted=self.state.exhausted,
        )

    def _next_batch(self, number: int, owner: Mapping[str, str]) -> list[Row]:
        """Return up to ``number`` candidates to fetch, newest first; list more where there are too few."""
        while True:
            self._settle_known(owner)
            waiting = [
                row for row in self._ours() if row["status"] == "wanted" and row["key"] not in self.postponed
            ]
            if len(waiting) >= number or self.state.exhausted:
                return sorted(waiting, key=lambda row: int(row["position"]))[:number]
            self._list()

    def _ours(self) -> list[Row]:
        """Return the candidates of this query."""
        again = set(self.state.again)
        return [
            row
            for row in self.rows.values()
            if row["key"].startswith("inaturalist:")
            and (row["position"] >= self.state.start or row["key"] in again)
        ]

    def _list(self) -> None:
        """List the next page; candidates are kept first, so a run killed in between lists it once more."""
        self.session.line.show(f"{self.choice.class_name}: listing", 0, 1)
        listed = self.source.more(self.choice, self.query, self.state)
        position = max((int(row["position"]) for row in self.rows.values()), default=-1) + 1
        fresh: list[Row] = []
        before: list[str] = []
        for row in listed:
            if known := self.rows.get(row["key"]):
                if known["position"] < self.state.start:
                    before.append(row["key"])
                continue
            candidate = {
                "status": "wanted",
                "reason": None,
                "tries": 0,
                **row,
                "position": position + len(fresh),
            }
            self.rows[row["key"]] = candidate
            fresh.append(candidate)
        self.state.again = tuple(dict.fromkeys((*self.state.again, *before)))
        self.pool.add_candidates(fresh)
        states = kept_by_class(self.pool, "queries")
        self.pool.set_setting("queries", states | {self.choice.class_name: self.state.to_setting()})

    def _settle_known(self, owner: Mapping[str, str]) -> None:
        """Mark candidates whose photo the pool has: of this class after a kill, or of another one."""
        marks: list[tuple[str, str, str, str | None]] = []
        for row in self._ours():
            if row["status"] != "wanted" or row["key"] not in owner:
                continue
            holder = owner[row["key"]]
            same = holder == self.choice.class_name
            row |= {
                "status": "got" if same else "failed",
                "reason": None if same else f"the pool has it as {holder!r}",
            }
            marks.append((row["key"], self.choice.class_name, row["status"], row["reason"]))
        self.pool.mark_candidates(marks)

    def _fetch(self, batch: list[Row], had: int, collected: Collected) -> None:
        name, wanted, line = self.choice.class_name, self.session.options.per_class, self.session.line
        # The size is that of this query, also where another one found the candidate.
        rows = [{**row, "url": sized(row["url"], self.query.size) or row["url"]} for row in batch]
        before = had + self.got
        try:
            report = download_photos(
                self.pool,
                pl.DataFrame(rows, schema=CANDIDATE_SCHEMA),
                self._settings(),
                fields=_photo_fields,
                pacer=self.pacer,
                progress=lambda done, _all: line.show(name, before + done, wanted),
            )
        finally:
            self.pacer.give_back()
        self._take_in(batch, report, collected)

    def _take_in(self, batch: list[Row], report: DownloadReport, collected: Collected) -> None:
        failed = {missed.key: missed.reason for missed in report.failed}
        postponed = {missed.key: missed.reason for missed in report.postponed}
        for row in batch:
            if row["key"] in failed:
                row |= {"status": "failed", "reason": failed[row["key"]]}
            elif row["key"] not in postponed:
                row["status"] = "got"
                collected.owner[row["key"]] = self.choice.class_name
        self.postponed |= set(postponed)
        self.got += report.fetched + report.found
        self.received += report.received
        came = report.fetched + len(report.failed)
        collected.fruitless = len(postponed) + (0 if came else collected.fruitless)
        if not came and collected.fruitless >= _FRUITLESS:
            reason = next(iter(postponed.values()))
            raise CounterGroundError(
                f"The photos' host gives nothing ({reason}). What came is kept: "
                "run the same command again later."
            )

    def _settings(self) -> DownloadSettings:
        options = self.session.options
        return DownloadSettings(
            jobs=options.jobs,
            per_host=options.jobs,
            first_pause=options.first_pause,
            user_agent=user_agent(options),
        )


def _photo_fields(candidate: Mapping[str, Any]) -> dict[str, object]:
    """Photos of one observer are alike in place, camera and habit: they are one cluster."""
    if candidate["observer"]:
        return {"cluster": f"observer:{candidate['observer']}"}
    return {"cluster": f"observation:{candidate['observation']}"}
