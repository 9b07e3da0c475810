"""How many photos show a drop, and what those at hand can show: for a pilot run, or for assumptions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.catalogue import Finding
from counterground.comparison import selection_of
from counterground.decision._pilot import MOST, Assumptions, Pilot, Source
from counterground.errors import UsageError
from counterground.metrics import (
    ALPHA,
    DROP,
    Answers,
    Condition,
    Contrast,
    Stratification,
    check_columns,
    comparable,
)
from counterground.results import Cell, Column, Run, Table, TableView, find_model
from counterground.settings import PlanSettings
from counterground.text import NOTHING, count, counted, percent

_PRECISION = 1e-4  # of a drop
_SOURCES = ("foreground", "background_photo")
"""Columns of composites that name the photographs they are made of."""


class Question(NamedTuple):
    """A ``drop`` (fraction), the ``power`` to detect it with, and how many clusters there can be.

    ``clusters`` None: they grow with the photos.
    """

    drop: float
    power: float
    clusters: int | None = None


_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "level": pl.String,
    "drop": pl.Float64,
    "power": pl.Float64,
    "photos_now": pl.Int64,
    "clusters_now": pl.Int64,
    "power_now": pl.Float64,
    "smallest_drop_now": pl.Float64,
    "photos": pl.Int64,
    "clusters": pl.Int64,
    "label_hours": pl.Float64,
}


@dataclass(frozen=True, eq=False, repr=False)
class Plan(TableView):
    """Photos needed to detect a drop: a row per model of a pilot run, or one for the assumptions.

    A model that cannot be planned for has nulls, and a finding says why.

    ``rows``: ``model``; ``level``, a value of the column that it is planned by; ``drop`` to be detected with
    ``power``; the ``power_now`` of ``photos_now`` in ``clusters_now``, and the ``smallest_drop_now`` that
    they show with ``power``; ``photos`` and ``clusters`` needed (null: 10 million photos are not enough),
    ``label_hours`` for those not at hand. Drops and power are fractions. ``noun`` is what the drop is called,
    or the difference of two models' drops.
    """

    rows: pl.DataFrame
    findings: tuple[Finding, ...] = ()
    noun: str = DROP.name

    @property
    def table(self) -> Table:
        """The rows for readers."""
        titles: dict[str, tuple[str, Callable[[Any], str]]] = {
            "power_now": ("Power now", percent),
            "smallest_drop_now": ("Smallest drop now", percent),
            "photos_now": ("Photos now", count),
            "photos": ("Photos needed", count),
            "clusters": ("Clusters needed", count),
            "label_hours": ("Label hours", lambda hours: NOTHING if hours is None else f"{hours:,.1f}"),
        }
        heads = ["model", *["level"] * bool(self.rows["level"].count())]
        cells = [
            [
                *(Cell(row[name]) for name in heads),
                *(Cell(shown(row[name])) for name, (_, shown) in titles.items()),
            ]
            for row in self.rows.iter_rows(named=True)
        ]
        first = self.rows.row(0, named=True)
        caption = (
            f"detects a {self.noun} of {100 * first['drop']:g} points with power {100 * first['power']:g} % "
            "(its 95 % interval above 0); power in percent, drops in points; no number: more than 10 million"
        )
        columns = [Column(name.capitalize()) for name in heads]
        columns += [Column(title, True) for title, _ in titles.values()]
        return Table(columns, cells, caption)


_Planned = tuple[str, str | None, "Source | str", float]
"""A model, a value of the column, what they show or why nothing, photographs labelled per row that counts."""


def plan_photos(run: Run | None, settings: PlanSettings, *, contrast: str | Contrast | None = None) -> Plan:
    """Return how many photos are needed to detect a drop, and what those at hand can detect.

    Args:
        run: a pilot run (a row for each of its models); None to plan from assumptions.
        settings: the drop, by how much it differs from 0 or from that of ``against``, the power, and what is
            assumed.
        contrast: what the drop is of: a contrast, its name or an expression; by default the first one of the
            run's design.

    Raises:
        UsageError: an impossible value, ``against`` without a run or not one of its
            models, or no model to plan for.
    """
    drop, against, findings = settings.drop, settings.against, list[Finding]()
    if drop is None:
        raise UsageError("Say which drop to detect: --drop 10%.")
    noun = DROP.name
    if run is None:
        options = {"--against": against, "--contrast": contrast, "--by": settings.by}
        if option := next((name for name, value in options.items() if value is not None), None):
            raise UsageError(f"{option} needs a pilot RUN: assumptions say nothing of it.")
        names = ("classes", "photos", "cluster_size", "accuracy", "icc")
        assumed = Assumptions(**{name: getattr(settings, name) for name in names})
        planned: list[_Planned] = [("assumed", None, assumed, 1.0)]
    else:
        contrasts = _contrasts(run, contrast, settings.by)
        planned = [each for level, of in contrasts.items() for each in _pilots(run, of, against, level)]
        chosen = next(iter(contrasts.values()))
        noun = chosen.name
        if "group" in chosen.columns:
            findings += selection_of(run).findings(noun)
    obstacles = [
        Finding("no_plan", name if level is None else f"{name}, {level}", {"reason": reason})
        for name, level, source, _ in planned
        if (reason := _obstacle(source, drop))
    ]
    if len(obstacles) == len(planned):
        raise UsageError(" ".join(each.text for each in obstacles))
    question = Question(drop, settings.power, settings.clusters)
    hours = settings.seconds_per_photo / 3600
    rows = [
        _row(name, source, question, labelled * hours) | {"level": level}
        for name, level, source, labelled in planned
    ]
    noun = noun if against is None else f"difference in {noun}"
    return Plan(pl.DataFrame(rows, schema=_SCHEMA), (*obstacles, *findings), noun)


def values_of(run: Run, column: str) -> list[str]:
    """Return the values of a column that a check or a plan has a row for.

    Raises:
        UsageError: an unknown column, one with numbers, or more values than half the photos.
    """
    check_columns([run.column(column)], run.photos, "--by")
    values: list[str] = run.photos[run.column(column)].drop_nulls().unique().sort().to_list()
    if not 0 < 2 * len(values) <= run.photos.height:
        raise UsageError(
            f"--by {column}: {counted(len(values), 'value')} for {counted(run.photos.height, 'photo')}; name "
            "a column whose values have several photos each."
        )
    return values


def _contrasts(run: Run, contrast: str | Contrast | None, by: str | None) -> Mapping[str | None, Contrast]:
    """Return the contrast to plan for; of a column, for each value that of the others with it."""
    if by is None:
        return {None: run.contrast(contrast)}
    if contrast is not None:
        raise UsageError("--by compares each value with the others: leave out --contrast.")
    column = run.column(by)
    if column in run.design.clusters:
        raise UsageError(
            f"--by {by} is the cluster of photos, and one cluster says nothing of others: evaluate with "
            "clusters within it, such as sequences."
        )
    sides = {
        value: [str(Condition(column, sign, (value,))) for sign in ("!=", "=")]
        for value in values_of(run, by)
    }
    return {value: Contrast("gap", left, right, ()) for value, (left, right) in sides.items()}


class Outlook(NamedTuple):
    """What some photos show of a drop, as a plan says it.

    Attributes:
        now: number of these photos.
        clusters_now: number of clusters that hold them.
        power_now: the probability that they show the drop in question.
        smallest: the smallest drop (fraction) that they show with the requested power; None if none.
        needed: photos that show the drop in question with that power; None if 10 million do not.
        needed_at: the same for another ``alpha`` than that of a single 95 % interval.
    """

    now: int
    clusters_now: int
    power_now: float
    smallest: float | None
    needed: int | None
    needed_at: int | None

    @property
    def clusters(self) -> int | None:
        """Clusters that hold the photos needed."""
        return None if self.needed is None else math.ceil(self.clusters_now * self.needed / self.now)


def look_ahead(
    answers: Answers, question: Question, *, contrast: Contrast = DROP, alpha: float = ALPHA
) -> Outlook | str:
    """Return what `plan_photos` says of one model; if there is nothing to plan, why.

    Args:
        answers: what the model answered.
        question: the drop and the power; clusters grow with the photos.
        contrast: what the drop is of.
        alpha: for ``needed_at``: how often its interval may miss the truth.
    """
    source = _pilot_or_reason(answers.photos, answers.correct.astype(np.float64), contrast)
    if isinstance(source, str) or (obstacle := _obstacle(source, question.drop)):
        return source if isinstance(source, str) else obstacle
    needed = needed_at = photos_needed(source, question)
    if alpha != ALPHA:
        needed_at = _fewest(
            source.fewest, lambda n: source.power(question.drop, n, alpha=alpha) >= question.power
        )
    now = source.photos_now
    power, smallest = source.power(question.drop, now), smallest_drop(source, question)
    return Outlook(now, source.clusters_now, power, smallest, needed, needed_at)


def _obstacle(source: Source | str, drop: float) -> str:
    """Say why there is nothing to plan; empty if there is."""
    if isinstance(source, str):
        return source
    if drop <= source.largest:
        return ""
    return f"{percent(source.largest)} % are right, so it cannot drop by {100 * drop:g} points"


def photos_needed(source: Source, question: Question) -> int | None:
    """Return the fewest photos that are enough; None if 10 million are not."""
    drop, power, clusters = question
    fewest = max(source.fewest, clusters or 0)
    return _fewest(fewest, lambda photos: source.power(drop, photos, clusters) >= power)


def photos_to_decide(pilot: Pilot, limit: float, power: float, alpha: float) -> int | None:
    """Return the fewest photos with which an interval excludes a limit this often; None if 10 million do not.

    The true accuracies are taken to be those of the pilot. Near 100 % an interval of the drop reaches farther
    up than down, as a test of a difference does not, so it is the interval itself that is computed.
    """
    return _fewest(pilot.fewest, lambda photos: pilot.power_to_decide(limit, photos, alpha) >= power)


def _fewest(fewest: int, enough: Callable[[int], bool]) -> int | None:
    """Return the smallest number from ``fewest`` on that is enough, by bisection; None if `MOST` is not."""
    # One below the fewest that can be enough, since `high` is what is returned.
    low, high = fewest - 1, MOST
    if not enough(high):
        return None
    while high - low > 1:
        middle = round(math.sqrt(low * high)) if high > 2 * low else (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def smallest_drop(source: Source, question: Question) -> float | None:
    """Return the smallest drop (fraction) that the photos at hand show with the requested power."""
    low, high = 0.0, source.largest
    if source.power(high, source.photos_now, question.clusters) < question.power:
        return None
    while high - low > _PRECISION:
        middle = (low + high) / 2
        enough = source.power(middle, source.photos_now, question.clusters) >= question.power
        low, high = (low, middle) if enough else (middle, high)
    return high


def _row(name: str, source: Source | str, question: Question, hours: float) -> dict[str, Any]:
    """Return the plan of a model."""
    row: dict[str, Any] = dict.fromkeys(_SCHEMA)
    row |= {"model": name, "drop": question.drop, "power": question.power}
    if isinstance(source, str) or _obstacle(source, question.drop):
        return row
    now = source.photos_now
    at_hand = question._replace(clusters=None) if isinstance(source, Pilot) else question
    needed = photos_needed(source, question)
    row |= {
        "photos_now": now,
        "clusters_now": min(at_hand.clusters or source.clusters_now, now),
        "power_now": source.power(question.drop, now, at_hand.clusters),
        "smallest_drop_now": smallest_drop(source, at_hand),
        "photos": needed,
    }
    if needed is None:
        return row
    return row | {
        "clusters": question.clusters or math.ceil(source.clusters_now * needed / now),
        "label_hours": _unlabelled(source, needed, question.clusters) * hours,
    }


def _unlabelled(source: Source, needed: int, clusters: int | None) -> float:
    """Return how many of the photos needed are not at hand: at least those of further clusters."""
    if not isinstance(source, Pilot):
        return needed
    further = 0.0 if clusters is None else 1 - source.clusters_now / clusters
    return max(0.0, needed - source.photos_now, needed * further)


def _pilots(run: Run, contrast: Contrast, against: str | None, level: str | None) -> list[_Planned]:
    """Return what each model of a run shows."""
    chosen, keys = None if against is None else find_model([run], against), list(run.answers)
    bases = [key for key in keys if key[0] == chosen]
    pilots: list[_Planned] = []
    for key, answers in run.answers.items():
        label, photos, hits = _label(key, keys), answers.photos, answers.correct.astype(np.float64)
        labelled = _photographs_per_row(photos, contrast)
        if chosen is None:
            pilots.append((label, level, _pilot_or_reason(photos, hits, contrast), labelled))
        for base in bases:
            if key[0] != chosen and comparable(key[1:], base[1:]):
                change = hits - run.answers[base].correct
                pilot = _pilot_or_reason(photos, change, contrast, paired=True)
                pilots.append((f"{label} vs. {_label(base, keys)}", level, pilot, labelled))
    if not pilots:
        raise UsageError(f"The run has no other model to plan a comparison with {against!r} for.")
    return pilots


def _pilot_or_reason(
    photos: Stratification, values: npt.ArrayLike, contrast: Contrast, *, paired: bool = False
) -> Pilot | str:
    try:
        return Pilot.of(photos, values, contrast, paired=paired)
    except UsageError as error:
        return str(error)


def _photographs_per_row(photos: Stratification, contrast: Contrast) -> float:
    """Return how many photographs were labelled for each row that counts: composites share theirs."""
    assert photos.photos is not None
    rows = photos.photos[np.unique(photos.sides(contrast).partition.places).tolist()]
    columns = [name for name in _SOURCES if name in rows.columns] or ["path"]
    return float(pl.concat([rows[name] for name in columns]).n_unique() / max(1, len(rows)))


def _label(key: tuple[Any, ...], keys: Sequence[tuple[Any, ...]]) -> str:
    """Name a model, with its prompts if the run has it under several."""
    name = str(key[0])
    return name if sum(other[0] == key[0] for other in keys) == 1 else f"{name} ({key[2]})"
