"""What a data card says beyond the photos themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

import polars as pl

from counterground.errors import MissingExtraError, UsageError
from counterground.photos import Benchmark
from counterground.text import counted

if TYPE_CHECKING:
    from counterground.construction.pool import Pool


@dataclass(frozen=True)
class Agreement:
    """How much annotators agree on one task.

    Attributes:
        task: "review" or "background".
        photos: photos labelled by two annotators or more.
        alike: share of agreeing pairs of annotators (fraction), over those photos.
        kappa: Cohen's kappa; None if it is undefined on these photos.
        alpha: Krippendorff's alpha; None likewise.
    """

    task: str
    photos: int
    alike: float
    kappa: float | None = None
    alpha: float | None = None


_CHANGES = {
    "background": "another background",
    "cluster": "another cluster",
    "licence": "another licence",
    "attribution": "another credit line",
}


@dataclass(frozen=True)
class CardFacts:
    """What the data card states; every field may stay empty: the card then says that it is unknown.

    Attributes:
        title: the collection's title; the benchmark's name if empty.
        description: what it is, in a few sentences.
        chosen: sentences on how the photos were chosen.
        annotators: how many people decided.
        tasks: how many of them decided on each task, "review" (which photos to keep) and "background" (their
            labels); empty: all on both.
        agreement: agreement per task.
        discarded: discarded photos by reason.
        creators: who made the collection.
        url: its page.
        citation: how to cite it.
        licence: the collection's licence (selection and labels), if one holds for all of it.
        released: the day it is published.
        version: the collection's version, MAJOR.MINOR.PATCH.
        since: what the pool decided or was told about these photos after the benchmark was made from it.

    Raises:
        UsageError: ``released`` is not a date.
    """

    title: str = ""
    description: str = ""
    chosen: tuple[str, ...] = ()
    annotators: int | None = None
    tasks: Mapping[str, int] = field(default_factory=dict)
    agreement: tuple[Agreement, ...] = ()
    discarded: Mapping[str, int] = field(default_factory=dict)
    creators: tuple[str, ...] = ()
    url: str = ""
    citation: str = ""
    licence: str = ""
    released: date | None = None
    version: str = "1.0.0"
    since: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("chosen", "creators", "since"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given))
        if self.released is not None and not isinstance(self.released, date):
            raise UsageError(
                f"released is a date, such as datetime.date(2024, 5, 31), not {self.released!r}."
            )


def known_facts(benchmark: Benchmark, card: CardFacts | None = None) -> CardFacts:
    """Return a card, filled in with what a pool knows about a benchmark's photos, if they are a pool's.

    Exporting does not need the packages that read pools: without them the card says the pool was not read.

    Raises:
        CounterGroundError: the pool is damaged.
    """
    known, empty = _of_pool(benchmark), CardFacts()
    given = {} if card is None else vars(card)
    return replace(known, **{name: value for name, value in given.items() if value != getattr(empty, name)})


def _of_pool(benchmark: Benchmark) -> CardFacts:
    from counterground.construction.pool import is_pool, open_pool

    if not is_pool(benchmark.root):
        return CardFacts()
    try:
        with open_pool(benchmark.root) as pool:
            return replace(card_facts(pool), since=_since(pool, benchmark))
    except MissingExtraError:
        return CardFacts(chosen=("From a pool, whose decisions were not read for this export.",))


def _since(pool: Pool, benchmark: Benchmark) -> tuple[str, ...]:
    """Count the photos on which a benchmark that was made from a pool differs from the pool as it is now."""
    known = ("path", "photo_id", *_CHANGES)
    stands = pool.verdicts("review")["stands"].any()
    now = (
        pool.freeze().photos.select(known) if stands else pl.DataFrame(schema=dict.fromkeys(known, pl.String))
    )
    kept = benchmark.photos.select(known).join(now, on=("path", "photo_id"), suffix="_now")
    counts = {"not kept any more": len(benchmark) - len(kept)} | {
        what: int(kept[name].ne_missing(kept[f"{name}_now"]).sum()) for name, what in _CHANGES.items()
    }
    found = [f"{what} {count:,}" for what, count in counts.items() if count]
    if not found:
        return ()
    sentence = (
        f"The pool has changed since these {counted(len(benchmark), 'photo')} were chosen from it, and this "
        f"export has them as they were ({', '.join(found)}): make the benchmark from the pool again."
    )
    return (sentence,)


def card_facts(pool: Pool) -> CardFacts:
    """Return what a pool knows: where its photos are from, what was discarded, how much annotators agree."""
    from counterground.construction.pool import IMPORTED, KEEP, LATER

    photos, review = pool.photos(), pool.verdicts("review")
    decisions, votes = (
        frame.filter(pl.col("annotator") != IMPORTED) for frame in (pool.decisions(), pool.votes_by_cluster())
    )
    stands = pl.col("undoes").is_null() & ~pl.col("undone") & (pl.col("labels").list.first() != LATER)
    settled = decisions.filter("adjudicates", stands)
    people = pl.concat(frame.select("task", "annotator") for frame in (votes, settled))
    dropped = review.filter(pl.col("label").is_not_null() & (pl.col("label") != KEEP))["label"]
    discarded = dict(Counter(dropped.to_list()).most_common())
    if disputed := int((review["status"] == "disagreed").sum()):
        discarded["in dispute between annotators"] = disputed
    return CardFacts(
        chosen=_origins(photos),
        annotators=people["annotator"].n_unique(),
        tasks=dict(people.group_by("task").agg(pl.col("annotator").n_unique()).iter_rows()),
        agreement=_agreement(votes),
        discarded=discarded,
    )


def _agreement(votes: pl.DataFrame) -> tuple[Agreement, ...]:
    from counterground.metrics import agreement

    table = agreement(votes).filter(
        pl.col("class_name").is_null() & pl.col("label").is_null() & (pl.col("photos") > 0)
    )
    return tuple(
        Agreement(*row) for row in table.select("task", "photos", "agreement", "kappa", "alpha").rows()
    )


def _origins(photos: pl.DataFrame) -> tuple[str, ...]:
    if photos.is_empty():
        return ()
    keys = photos["key"].fill_null("unknown:").str.split(":").list.first()
    counts = ", ".join(f"{source} {count:,}" for source, count in Counter(keys).most_common())
    days = photos["observed_on"].drop_nulls()
    span = f" They were taken from {days.sort()[0]} to {days.sort()[-1]}." if len(days) else ""
    return (f"{counted(len(photos), 'photo')} collected ({counts}).{span}",)
