"""Collect photos of classes into a pool (paper section 2, step 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.construction.collection._classes import WantedClass
from counterground.construction.collection._listing import (
    ListingState,
    Query,
    Row,
    list_page,
    sized,
    state_for,
)
from counterground.construction.collection._options import INATURALIST, CollectOptions
from counterground.construction.collection._report import (
    ClassReport,
    CollectReport,
    full_notes,
    outcome_notes,
    resolution_notes,
    retired_notes,
)
from counterground.construction.collection._session import (
    Session,
    known_choices,
    open_session,
    remembered_taxa,
    setting_by_class,
    wanted_classes,
)
from counterground.construction.collection._taxa import Choice
from counterground.construction.download import (
    DownloadReport,
    cluster_of,
    download_photos,
    note_equal,
)
from counterground.construction.pool import CANDIDATE_SCHEMA, PhotoKey, is_from, open_pool
from counterground.errors import CounterGroundError
from counterground.files import file_lock
from counterground.http import Budget, Client, DownloadSettings, FetchError, Waiting, refuse_long_wait
from counterground.photos import image_type
from counterground.progress import progress_bar

if TYPE_CHECKING:
    from counterground.construction.pool import Pool

_LOCK_FILE = ".collect.lock"


# Bytes assumed for a photo before one of its size was seen; larger than most.
_EXPECTED_BYTES = {"small": 60_000, "medium": 200_000, "large": 600_000, "original": 4_000_000}


class BytePacer:
    """Reserves bytes of the budget for a photo before its fetch and settles them after; for one thread."""

    def __init__(self, budget: Budget, size: str, waiting: Waiting) -> None:
        self._budget = budget
        self._waiting = waiting
        self._expected = _EXPECTED_BYTES[size]
        self._reserved: dict[str, int] = {}

    def seconds_to_wait(self, url: str) -> float:
        """Return 0 if the photo may be requested, else the seconds to wait.

        Raises:
            CounterGroundError: the daily budget is spent.
        """
        wait = self._budget.take("bytes", self._expected)
        if wait and self._reserved:
            return min(wait, 0.2)  # photos on their way may need less than their reserve
        refuse_long_wait(wait, "photo bytes")
        if wait:
            self._waiting(f"waiting {wait:,.0f} s: photo bytes per hour are limited")
        else:
            self._reserved[url] = self._reserved.get(url, 0) + self._expected
        return wait

    def received(self, url: str, size: int) -> None:
        """Settle the bytes of a photo that arrived."""
        self._budget.settle("bytes", size - self._reserved.pop(url, 0))
        if size:
            # Twice the mean of what arrives: the budget must also hold for photos larger than the last ones.
            self._expected = max(1000, round(0.9 * self._expected + 0.2 * size))

    def release(self) -> None:
        """Release what was reserved for photos that were already in the pool."""
        self._budget.settle("bytes", -sum(self._reserved.values()))
        self._reserved.clear()


_MOST_FAILURES = 12  # consecutive failures after which the photos' host counts as down, or as refusing
_MOST_AT_ONCE = 32  # photos fetched before failures of their host are counted


@dataclass
class Collected:
    """What the classes of a run share.

    Attributes:
        class_of: class of each iNaturalist photo in the pool, by key.
        consecutive_failures: photos postponed since the last one arrived.
        consecutive_refusals: photos refused since the last batch with one that arrived, though not gone.
        refused: their keys and classes, and those of that batch, in which the refusals may have begun.
    """

    class_of: dict[str, str]
    consecutive_failures: int = 0
    consecutive_refusals: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def accept(self) -> None:
        """Note that the host delivers photos, so those that it refused are themselves at fault."""
        self.refused.clear()
        self.consecutive_refusals = 0


@dataclass
class ClassCollection:
    """One class of a collection."""

    pool: Pool
    session: Session
    pacer: BytePacer
    choice: Choice
    query: Query
    state: ListingState
    rows: dict[str, Row] = field(default_factory=dict)
    postponed: set[str] = field(default_factory=set)
    added: int = 0
    received: int = 0

    def collect(self, collected: Collected) -> ClassReport:
        """Fetch what is missing and report on the class.

        Raises:
            CounterGroundError: the photos' host does not answer, a budget is spent, or the disk is full.
        """
        name, wanted = self.choice.class_name, self.session.options.per_class
        present = sum(other == name for other in collected.class_of.values())
        self.rows = {row["key"]: row for row in self.pool.candidates(name).to_dicts()}
        self._mark_known(collected.class_of)
        while present + self.added < wanted:
            number = min(_MOST_AT_ONCE, wanted - present - self.added)
            batch = self._next_batch(number, collected.class_of)
            if not batch:
                break
            self._fetch(batch, present, collected)
        return ClassReport(
            name,
            self.choice.names,
            wanted=wanted,
            present=present,
            added=self.added,
            failed=sum(row["status"] == "failed" for row in self._ours()),
            missing=max(0, wanted - present - self.added),
            postponed=len(self.postponed),
            bytes=self.received,
            exhausted=self.state.exhausted,
        )

    def _next_batch(self, number: int, class_of: Mapping[str, str]) -> list[Row]:
        """Return up to ``number`` candidates to fetch, newest first; list more if there are too few."""
        while True:
            self._mark_known(class_of)
            waiting = [
                row for row in self._ours() if row["status"] == "wanted" and row["key"] not in self.postponed
            ]
            if len(waiting) >= number or self.state.exhausted:
                return sorted(waiting, key=self._age)[:number]
            self._list()

    def _age(self, row: Row) -> int:
        """Return the sort key of a candidate, newest first: ids if another query gave some positions."""
        return -int(PhotoKey.parse(row["key"]).name) if self.state.again else int(row["position"])

    def _ours(self) -> list[Row]:
        """Return the candidates of this query."""
        again = set(self.state.again)
        return [
            row
            for row in self.rows.values()
            if PhotoKey.parse(row["key"]).source == INATURALIST
            and (row["position"] >= self.state.start or row["key"] in again)
        ]

    def _list(self) -> None:
        """List the next page; its candidates and the progress of the listing are stored together."""
        self.session.bar.update(0, 1, f"{self.choice.class_name}: listing")
        listed = list_page(self.session.api, self.choice, self.query, self.state)
        position = max((int(row["position"]) for row in self.rows.values()), default=-1) + 1
        fresh: list[Row] = []
        before: list[str] = []
        changed: list[Row] = []
        for row in listed:
            if known := self.rows.get(row["key"]):
                if known["position"] < self.state.start:
                    before.append(row["key"])
                if known["status"] == "wanted" and known != known | row:
                    known |= row  # such as another licence: it is fetched under what holds now
                    changed.append(known)
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
        states = setting_by_class(self.pool, "queries") | {self.choice.class_name: self.state.to_setting()}
        with self.pool.connect() as connection:
            self.pool.add_candidates(fresh, within=connection)
            self.pool.update_candidates(changed, within=connection)
            self.pool.set_setting("queries", states, within=connection)

    def _mark_known(self, class_of: Mapping[str, str]) -> None:
        """Mark candidates whose photo the pool has: in this class after a kill, or in another class."""
        marks: list[tuple[str, str, str, str | None]] = []
        for row in self._ours():
            if row["status"] != "wanted" or row["key"] not in class_of:
                continue
            holder = class_of[row["key"]]
            same = holder == self.choice.class_name
            row |= {
                "status": "got" if same else "failed",
                "reason": None if same else f"the pool has it as {holder!r}",
            }
            marks.append((row["key"], self.choice.class_name, row["status"], row["reason"]))
        self.pool.mark_candidates(marks)

    def _fetch(self, batch: list[Row], present: int, collected: Collected) -> None:
        name, wanted, bar = self.choice.class_name, self.session.options.per_class, self.session.bar
        # The size is that of this query, even if another one found the candidate.
        rows = [{**row, "url": sized(row["url"], self.query.size) or row["url"]} for row in batch]
        before = present + self.added
        try:
            report = download_photos(
                self.pool,
                pl.DataFrame(rows, schema=CANDIDATE_SCHEMA),
                self._settings(),
                fields=lambda candidate: {"cluster": cluster_of(candidate)},
                pacer=self.pacer,
                progress=lambda done, _all: bar.update(before + done, wanted, name),
            )
        finally:
            self.pacer.release()
        self._record(batch, report, collected)

    def _record(self, batch: list[Row], report: DownloadReport, collected: Collected) -> None:
        failed = {one.key: one.reason for one in report.failed}
        postponed = {one.key: one.reason for one in report.postponed}
        for row in batch:
            if row["key"] in failed:
                row |= {"status": "failed", "reason": failed[row["key"]]}
            elif row["key"] not in postponed:
                row["status"] = "got"
                collected.class_of[row["key"]] = self.choice.class_name
        self.postponed |= set(postponed)
        self.added += report.fetched + report.found
        self.received += report.received
        self._judge_refusals(report, collected)
        came = report.fetched + len(report.failed)
        collected.consecutive_failures = len(postponed) + (0 if came else collected.consecutive_failures)
        if not came and collected.consecutive_failures >= _MOST_FAILURES:
            reason = next(iter(postponed.values()))
            raise CounterGroundError(
                f"The photo host keeps failing ({reason}). What was fetched is kept: "
                "run the same command again later."
            )

    def _judge_refusals(self, report: DownloadReport, collected: Collected) -> None:
        """End the run if the host has blocked us: then its photos are not at fault, and stay wanted."""
        refused = [one for one in report.failed if not one.gone]
        if report.fetched:
            collected.accept()
        else:
            collected.consecutive_refusals += len(refused)
        collected.refused += [(one.key, one.class_name) for one in refused]
        if not refused or collected.consecutive_refusals < _MOST_FAILURES:
            return
        if self._still_delivers(refused[0].url, collected):
            collected.accept()
            return
        reason = refused[0].reason
        self.pool.mark_candidates([(key, name, "wanted", reason) for key, name in collected.refused])
        raise CounterGroundError(
            f"The photo host refuses every photo ({reason}, {len(collected.refused)} times): it may have "
            "blocked this connection. What was fetched is kept, and these photos stay wanted: run the same "
            "command again when a browser shows such photos here."
        )

    def _still_delivers(self, refused: str, collected: Collected) -> bool:
        """Return whether the host of an address delivers another photo: then it refuses only some.

        That is one that the pool has or, since it may be gone by now, one of two candidates that no run has
        asked for. If the host refuses these too, they also stay wanted with its reason, so that the next run
        tries others.
        """
        host = "/".join(refused.split("/", 3)[:3]) + "/"
        had = self.pool.photos().filter(pl.col("url").str.starts_with(host))["url"]
        waiting = sorted(self._ours(), key=self._age)
        untried = [
            (sized(row["url"], self.query.size) or row["url"] or "", row["key"])
            for row in waiting
            if row["status"] == "wanted" and row["reason"] is None
        ]
        untried = [(url, key) for url, key in untried if url.startswith(host)]
        # The first and the last: neighbours may be refused for the same reason.
        probes = [*((url, "") for url in had[-1:]), *untried[:1], *untried[1:][-1:]]
        with closing(Client(self.session.options.user_agent)) as client:
            for url, key in probes:
                try:
                    body = client.fetch(url).body
                except FetchError:
                    body = b""
                self.pacer.received(url, len(body))
                if image_type(body) is not None:
                    return True
                if key:
                    collected.refused.append((key, self.choice.class_name))
        return False

    def _settings(self) -> DownloadSettings:
        options = self.session.options
        return DownloadSettings(
            jobs=options.jobs,
            per_host=options.jobs,
            first_pause=options.first_pause,
            user_agent=options.user_agent,
        )


def collect(
    pool_path: str | Path,
    classes: str | Path | Sequence[str | WantedClass],
    options: CollectOptions | None = None,
) -> CollectReport:
    """Fetch the newest photos of each class from iNaturalist into a pool, which is created if it is missing.

    The same call continues where it was interrupted, and does nothing if all photos are there: candidates and
    the progress of their listing are kept in the pool, and photos are found by their files. A photo that
    cannot be fetched is replaced by the next newest.

    Polars does not survive a fork: start a child process with multiprocessing's "spawn", or the call waits
    for ever.

    Args:
        pool_path: the pool's folder.
        classes: a built-in list or a file (see ``read_classes``), or names of classes.
        options: see ``CollectOptions``.

    Raises:
        UsageError: no class, or an unknown name or value.
        UnclearClasses: names that mean several taxa or none; those that are clear are remembered.
        CounterGroundError: a query other than the pool's, no connection, a spent budget, or a full disk.
    """
    chosen = options or CollectOptions()
    wanted = wanted_classes(classes)
    pool = open_pool(pool_path, create=True)
    try:
        with (
            progress_bar("", shown=chosen.show_progress) as bar,
            file_lock(pool.root / _LOCK_FILE, lambda: bar.note("another collect is running: waiting for it")),
            open_session(chosen, bar) as session,
        ):
            remembered = remembered_taxa(pool, wanted)
            resolution = session.resolve(wanted, remembered)
            _remember(pool, [choice for choice in resolution.choices if choice.class_name not in remembered])
            if resolution.unclear:
                raise resolution.unclear
            report = _collect_all(pool, session, resolution.choices, remembered)
            notes = (*resolution_notes(resolution, known_choices(remembered)), *report.notes)
            return CollectReport(report.classes, notes)
    finally:
        pool.close()


def _remember(pool: Pool, choices: Sequence[Choice]) -> None:
    taxa = setting_by_class(pool, "taxa")
    found = {choice.class_name: choice.to_setting() for choice in choices}
    if any(taxa.get(name) != value for name, value in found.items()):
        pool.set_setting("taxa", taxa | found)


def _collect_all(
    pool: Pool, session: Session, choices: Sequence[Choice], remembered: Mapping[str, Any]
) -> CollectReport:
    queries = session.queries(choices)
    collected = Collected(_class_of(pool))
    states = _states(pool, queries, add=session.options.add)
    # Queries, and their taxa, may replace others only once they are accepted.
    pool.set_setting(
        "queries",
        setting_by_class(pool, "queries") | {name: state.to_setting() for name, state in states.items()},
    )
    _remember(pool, choices)
    known = pool.photos().select("path", "photo_id", "class_name")
    unlisted = {name for name, state in states.items() if not state.exhausted}
    pacer = BytePacer(session.budget, session.options.size, session.bar.note)
    reports = []
    for choice in choices:
        name = choice.class_name
        one = ClassCollection(pool, session, pacer, choice, queries[name], states[name])
        reports.append(one.collect(collected))
    pool.snapshot()
    names = [choice.class_name for choice in choices]
    licences = pool.photos().filter(pl.col("class_name").is_in(names))["licence"].to_list()
    # Curators move the observations of a taxon that they replace, and the listing only ends.
    short = {one.class_name for one in reports if one.missing and one.exhausted}
    old = [one for one in choices if one.class_name in short & unlisted & remembered.keys()]
    notes = (
        *(full_notes(reports) if session.options.add else ()),
        *outcome_notes(reports, Counter(licences)),
        *note_equal(pool, known),
        *retired_notes(session.retired(old) if old else {}),
    )
    return CollectReport(tuple(reports), notes)


def _class_of(pool: Pool) -> dict[str, str]:
    photos = pool.photos().filter(is_from(INATURALIST))
    return dict(photos.select("key", "class_name").iter_rows())


def _states(pool: Pool, queries: Mapping[str, Query], *, add: bool) -> dict[str, ListingState]:
    """Return where the listing of each class continues; all are checked before any photo is fetched."""
    stored: Mapping[str, Any] = setting_by_class(pool, "queries")
    ends = dict(pool.candidates().group_by("class_name").agg(pl.col("position").max() + 1).iter_rows())
    return {
        name: state_for(name, query, stored.get(name), add=add, next_position=ends.get(name) or 0)
        for name, query in queries.items()
    }
