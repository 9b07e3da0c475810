"""What a data card says beyond the photos themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import polars as pl

from counterground.errors import MissingExtraError
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


@dataclass(frozen=True)
class CardFacts:
    """What the data card states; every field may stay empty: the card then says that it is unknown.

    Attributes:
        title: the collection's title; the benchmark's name if empty.
        description: what it is, in a few sentences.
        chosen: sentences on how the photos were chosen.
        tasks: how many people decided on each task, "review" (which photos to keep) and "background" (their
            labels).
        agreement: agreement per task.
        discarded: discarded photos by reason.
        creators: who made the collection.
        url: its page.
        citation: how to cite it.
        licence: the collection's licence (selection and labels), if one holds for all of it.
        version: the collection's version, MAJOR.MINOR.PATCH.
    """

    title: str = ""
    description: str = ""
    chosen: tuple[str, ...] = ()
    tasks: Mapping[str, int] = field(default_factory=dict)
    agreement: tuple[Agreement, ...] = ()
    discarded: Mapping[str, int] = field(default_factory=dict)
    creators: tuple[str, ...] = ()
    url: str = ""
    citation: str = ""
    licence: str = ""
    version: str = "1.0.0"


def known_facts(benchmark: Benchmark, card: CardFacts | None = None) -> CardFacts:
    """Return a card, filled in with what a pool knows about a benchmark's photos, if they are a pool's.

    Exporting does not need the packages that read pools: without them the card does not say this.

    Raises:
        CounterGroundError: the pool is damaged.
    """
    from counterground.construction.pool import is_pool, open_pool

    known = empty = CardFacts()
    if is_pool(benchmark.root):
        with suppress(MissingExtraError), open_pool(benchmark.root) as pool:
            known = card_facts(pool)
    given = {} if card is None else vars(card)
    return replace(known, **{name: value for name, value in given.items() if value != getattr(empty, name)})


def card_facts(pool: Pool) -> CardFacts:
    """Return what a pool knows: where its photos are from, what was discarded, how much annotators agree."""
    from counterground.construction.pool import IMPORTED, KEEP, LATER, TASKS

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
        tasks={task: people.filter(task=task)["annotator"].n_unique() for task in TASKS},
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
