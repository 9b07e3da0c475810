"""Collect photos of classes into a pool (paper section 2, step 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from counterground.construction.ingest.collect._classes import WantedClass
from counterground.construction.ingest.collect._client import Waiting, user_agent
from counterground.construction.ingest.collect._listing import ListingState, Query, Row, sized, state_for
from counterground.construction.ingest.collect._options import CollectOptions
from counterground.construction.ingest.collect._pacer import MediaPacer
from counterground.construction.ingest.collect._progress import progress_line
from counterground.construction.ingest.collect._report import (
    ClassReport,
    CollectReport,
    outcome_notes,
    resolution_notes,
)
from counterground.construction.ingest.collect._session import (
    Session,
    kept_by_class,
    open_session,
    taxa_kept,
    wanted_classes,
)
from counterground.construction.ingest.collect._source import Source
from counterground.construction.ingest.collect._taxa import Choice
from counterground.construction.ingest.download import DownloadReport, DownloadSettings, download_photos
from counterground.errors import CounterGroundError
from counterground.pool import CANDIDATE_SCHEMA, Pool, open_pool

LOCK_FILE = ".collect.lock"


@contextmanager
def alone(root: Path, waiting: Waiting) -> Iterator[None]:
    """Wait until no other process collects into the pool; the system frees the lock of a killed one."""
    file = root / LOCK_FILE
    lock = FileLock(file)
    try:
        _acquire(lock, waiting)
    except OSError as error:  # a stranger's pool may hold a link in its place, which is not followed
        what = "is a link: remove it" if file.is_symlink() else f"cannot be opened ({error.strerror})"
        raise CounterGroundError(f"{file} {what}, and collect again.") from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, waiting: Waiting) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting("another collect is at work on this pool: waiting for it")
        lock.acquire(poll_interval=0.2)


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


def collect(
    pool_path: str | Path,
    classes: str | Path | Sequence[str | WantedClass],
    options: CollectOptions | None = None,
) -> CollectReport:
    """Fetch the newest photos of each class from iNaturalist into a pool, which is made where there is none.

    The same call goes on where it was cut off, and does nothing where all is there: candidates and how far
    their listing came are kept in the pool, photos are found by their file. A photo that cannot be got is
    replaced by the next newest.

    Args:
        pool_path: the pool's folder.
        classes: a built-in list or a file (see ``read_classes``), or names of classes.
        options: see ``CollectOptions``.

    Raises:
        UsageError: no class, an unknown name or value.
        UnclearClasses: names that mean several taxa or none; those that are clear are remembered.
        CounterGroundError: another query than the pool's, no connection, a spent budget, a full disk.
    """
    chosen = options or CollectOptions()
    wanted = wanted_classes(classes)
    pool = open_pool(pool_path, create=True)
    try:
        with (
            progress_line(shown=chosen.show_progress) as line,
            alone(pool.root, line.wait),
            open_session(chosen, line) as session,
        ):
            remembered = taxa_kept(pool, wanted)
            resolution = session.resolve(wanted, remembered)
            _remember(pool, [choice for choice in resolution.choices if choice.class_name not in remembered])
            if resolution.unclear:
                raise resolution.unclear
            report = _collect_all(pool, session, resolution.choices)
            notes = (*resolution_notes(resolution), *report.notes)
            return CollectReport(report.classes, notes)
    finally:
        pool.close()


def _remember(pool: Pool, choices: Sequence[Choice]) -> None:
    taxa = kept_by_class(pool, "taxa")
    found = {choice.class_name: choice.to_setting() for choice in choices}
    if any(taxa.get(name) != value for name, value in found.items()):
        pool.set_setting("taxa", taxa | found)


def _collect_all(pool: Pool, session: Session, choices: Sequence[Choice]) -> CollectReport:
    queries = session.queries(choices)
    _sweep(pool)
    collected = Collected(_owners(pool))
    states = _states(pool, queries, add=session.options.add)
    # Only now that the queries are accepted may they, and their taxa, replace others.
    pool.set_setting(
        "queries",
        kept_by_class(pool, "queries") | {name: state.to_setting() for name, state in states.items()},
    )
    _remember(pool, choices)
    source = session.source(choices)
    pacer = MediaPacer(session.budget, session.options.size, session.line.wait)
    reports = []
    for choice in choices:
        name = choice.class_name
        one = ClassCollection(pool, session, source, pacer, choice, queries[name], states[name])
        reports.append(one.collect(collected))
    pool.snapshot()
    names = [choice.class_name for choice in choices]
    licences = pool.photos().filter(pl.col("class_name").is_in(names))["licence"].to_list()
    return CollectReport(tuple(reports), tuple(outcome_notes(reports, Counter(licences))))


def _owners(pool: Pool) -> dict[str, str]:
    photos = pool.photos().filter(pl.col("key").str.starts_with("inaturalist:"))
    return dict(photos.select("key", "class_name").iter_rows())


def _states(pool: Pool, queries: Mapping[str, Query], *, add: bool) -> dict[str, ListingState]:
    """Return where each class's listing goes on; all are checked before any photo is fetched."""
    stored: Mapping[str, Any] = kept_by_class(pool, "queries")
    ends = dict(pool.candidates().group_by("class_name").agg(pl.col("position").max() + 1).iter_rows())
    return {
        name: state_for(name, query, stored.get(name), add=add, next_position=ends.get(name) or 0)
        for name, query in queries.items()
    }


def _sweep(pool: Pool) -> None:
    """Remove what a killed run had not finished writing."""
    for half in pool.files.glob("*/.inaturalist-*.tmp"):
        half.unlink(missing_ok=True)
