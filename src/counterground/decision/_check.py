"""Pass, fail or undecided: a run's models against limits, for programs that must act on the answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal
from xml.etree import ElementTree

import polars as pl

from counterground.decision._judged import Judged
from counterground.decision._pilot import Pilot
from counterground.decision._plan import Question, photos_needed, photos_to_decide
from counterground.decision._write import Written
from counterground.errors import UsageError
from counterground.metrics import (
    ALPHA,
    KEYS,
    Estimate,
    cluster_columns,
    comparable,
    drop_change_interval,
    paired_test,
    score_predictions,
)
from counterground.results import Cell, Column, MeasuredReferee, ModelScores, Run, Table, near_chance, regroup
from counterground.text import counted, one_line, percent

Verdict = Literal["pass", "fail", "undecided"]

STATUS: dict[Verdict, int] = {"pass": 0, "fail": 3, "undecided": 4}
"""Exit statuses of ``counterground check``; 1 and 2 are errors, as for every command."""

_POWER = 0.8
_HOLDS = "The interval contains the limit."
_NO_INTERVAL = (
    "There is no interval: all photos, or those of a side, are in one cluster. Add photos of other clusters."
)
_ELSEWHERE = (
    "Check it on photos that did not choose the pairs (discover --split half; for CounterAnimal's pairs, new "
    "photos)."
)
_INFLATED = "chose the pairs of backgrounds on these same photos, which inflates its drop"
_SHARED = (
    "The pairs of backgrounds were chosen on these same photos, which inflates the drop of models that find "
    f"the same photos hard, by an unknown amount: a fail cannot be shown here. {_ELSEWHERE}"
)
_SHARED_BY_BOTH = (
    "The pairs of backgrounds were chosen on these same photos, which inflates the drop of models that find "
    "the same photos hard, by an unknown amount that differs between models: neither a pass nor a fail "
    f"against another model can be shown here. {_ELSEWHERE}"
)
_NARROW = (
    "chose the pairs of each half of these photos on the other half, or was made from the model that did, so "
    f"the interval is too narrow: the referee's own is in the notes of the benchmark. {_ELSEWHERE}"
)
_PHOTO = ("path", "photo_id", "class_index", "group", "cluster")


@dataclass(frozen=True)
class Limits:
    """Limits that models must keep; None: no limit. All are fractions.

    Attributes:
        max_drop: the largest drop.
        min_accuracy: the smallest accuracy, averaged over classes.
        margin: how much larger the drop may be than that of the same model, or the only one, of another run
            on the same photos.

    Raises:
        UsageError: an impossible limit.
    """

    max_drop: float | None = None
    min_accuracy: float | None = None
    margin: float = 0.02

    def __post_init__(self) -> None:
        named = (
            ("--max-drop", self.max_drop),
            ("--min-accuracy", self.min_accuracy),
            ("--margin", self.margin),
        )
        for name, value in named:
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"{name} must be from 0 to 100, not {100 * value:g}.")
        if self.min_accuracy is not None and 0 < self.min_accuracy < 0.01:  # every model would pass
            given = 100 * self.min_accuracy
            raise UsageError(f"--min-accuracy is in percent: {100 * given:g}, not {given:g}.")


@dataclass(frozen=True)
class Finding:
    """One model against one limit.

    ``value``, ``low``, ``high`` and ``limit`` are fractions; ``reason`` says why, and what to do if it is
    undecided.
    """

    model: str
    check: str
    value: float | None
    low: float | None
    high: float | None
    limit: float
    verdict: Verdict
    reason: str


_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "check": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "limit": pl.Float64,
    "verdict": pl.String,
    "reason": pl.String,
}


@dataclass(frozen=True, repr=False)
class Check(Written):
    """Verdicts on the models of a run.

    ``findings``: one for each model and limit. Together, their intervals hold the truth in at least 95 % of
    runs: they are corrected for their number (Bonferroni).
    ``notes``: how models were loaded if not as trained, those of the benchmark, and what the choice of its
    pairs did to the figures.
    """

    run: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """``fail`` if any finding is that, else ``undecided`` if any is, else ``pass``."""
        found = {finding.verdict for finding in self.findings}
        order: tuple[Verdict, ...] = ("fail", "undecided", "pass")
        return next(verdict for verdict in order if verdict in found)

    @property
    def rows(self) -> pl.DataFrame:
        """A row for each finding: the fields of `Finding`, fractions."""
        return pl.DataFrame([vars(finding) for finding in self.findings], schema=_SCHEMA)

    @property
    def table(self) -> Table:
        """The findings for readers."""
        columns = [
            Column("Model"),
            Column("Check"),
            Column("Value", True),
            Column("Verdict"),
        ]
        cells = []
        for finding in self.findings:
            estimate = Estimate(finding.value, finding.low, finding.high)
            cells.append(
                [
                    Cell(finding.model),
                    Cell(finding.check),
                    Cell(estimate.text, estimate.interval),
                    Cell(finding.verdict),
                ]
            )
        number = len(self.findings)
        together = f", corrected for {number} verdicts" if number > 1 else ""
        notes = [f"{finding.model}: {finding.reason}" for finding in self.findings if finding.reason]
        caption = f"Percent; drops in points; 95 % intervals{together}."
        return Table(columns, cells, caption, notes=(*notes, *self.notes), heads=2)

    @property
    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "run": self.run,
            "verdict": self.verdict,
            "findings": self.rows.to_dicts(),
            "notes": list(self.notes),
        }

    def junit(self) -> str:
        """Return the findings as JUnit XML: a failure for ``fail``, an error for ``undecided``."""
        kinds = Counter(finding.verdict for finding in self.findings)
        totals: dict[str, str] = {
            "tests": str(len(self.findings)),
            "failures": str(kinds["fail"]),
            "errors": str(kinds["undecided"]),
        }
        root = ElementTree.Element("testsuites", {"name": "counterground check", **totals, "time": "0"})
        about = {"name": one_line(self.run), **totals, "skipped": "0", "time": "0"}
        suite = ElementTree.SubElement(root, "testsuite", about)
        for finding in self.findings:
            case = ElementTree.SubElement(
                suite, "testcase", classname=one_line(finding.model), name=one_line(finding.check), time="0"
            )
            measured = Estimate(finding.value, finding.low, finding.high)
            text = f"{measured.text} {measured.interval}".strip()
            if finding.verdict == "pass":
                ElementTree.SubElement(case, "system-out").text = text
                continue
            kind = "failure" if finding.verdict == "fail" else "error"
            message = f"{finding.verdict}: {text}"
            ElementTree.SubElement(case, kind, message=message, type=finding.verdict).text = one_line(
                f"{message}. {finding.reason}".strip()
            )
        if self.notes:
            ElementTree.SubElement(suite, "system-out").text = "\n".join(map(one_line, self.notes))
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def check_run(
    run: Run,
    limits: Limits,
    base: Run | None = None,
    *,
    referees: Sequence[MeasuredReferee] = (),
    base_referees: Sequence[MeasuredReferee] = (),
    on_these_photos: bool = False,
) -> Check:
    """Check the models of a run.

    For a run on composites, the background effect is checked instead of the drop, and only composites on the
    backgrounds of other photos count.

    A limit is kept if the whole interval keeps it and broken if the whole interval breaks it; otherwise the
    verdict is ``undecided``. So is a pass on the drop of a model near chance, which has little to lose, and
    any verdict that drops on photos that chose the pairs cannot show.

    Args:
        run: the run.
        limits: limits that its models must keep.
        base: the run to compare with, for ``limits.margin``.
        referees: the models of ``run`` that chose its pairs.
        base_referees: those of ``base``.
        on_these_photos: whether the pairs were chosen on the photos of ``run``, which are those of ``base``.

    Raises:
        UsageError: nothing to check, no drop to check, or a base run on other photos, with other names under
            the same label space, with other clusters, or without a model to compare with.
    """
    judged = Judged.of(run)
    run, base = judged.run, None if base is None else Judged.of(base).run
    parts = {
        key: rows.sort("path")
        for key, rows in run.predictions.partition_by(KEYS, as_dict=True, maintain_order=True).items()
    }
    each = (limits.max_drop is not None) + (limits.min_accuracy is not None) + (base is not None)
    if not each:
        raise UsageError("There is nothing to check: add --max-drop, --min-accuracy or --not-worse-than.")
    if base is not None:
        _check_names(run, base)
        _check_clusters(run, base)
    alpha = ALPHA / (each * len(parts))
    scored = regroup(score_predictions(run.predictions, by_class=False, alpha=alpha, design=run.design))
    ordinary = regroup(run.scores)
    if (limits.max_drop is not None or base is not None) and not any(model.has_groups for model in scored):
        raise UsageError(f"{run.path} has no {judged.noun} to check: {judged.absent}.")
    findings = []
    for model, plain, (key, rows) in zip(scored, ordinary, parts.items(), strict=True):
        guessing = _guessing(plain, run.info.label_space.chance)
        subject = _Subject(model, key, rows, guessing, alpha, judged)
        if limits.max_drop is not None:
            findings.append(_drop(subject, limits.max_drop, referees, on_these_photos=on_these_photos))
        if limits.min_accuracy is not None:
            findings.append(_accuracy(subject, limits.min_accuracy))
        if base is not None:
            found = _not_worse(
                subject, base, limits.margin, referees, base_referees, on_these_photos=on_these_photos
            )
            findings.append(found)
    runs = [run] if base is None else [run, base]
    notes = [note for each in runs for note in each.info.benchmark.notes]
    notes += [sentence for referee in (*referees, *base_referees) for sentence in referee.sentences]
    return Check(str(run.path), tuple(findings), tuple(dict.fromkeys(notes)))


@dataclass(frozen=True)
class _Subject:
    """A model in one setting: scores with the corrected intervals, rows of predictions by path.

    ``guessing`` says that it is near chance, ``alpha`` is that of the intervals, and ``of`` what is decided
    about the run.
    """

    scores: ModelScores
    key: tuple[Any, ...]
    rows: pl.DataFrame
    guessing: str
    alpha: float
    of: Judged

    def judged(
        self,
        check: str,
        found: Estimate,
        limit: float,
        rows: pl.DataFrame,
        unsupported: Mapping[Verdict, str],
        *,
        excess: float | None = None,
    ) -> Finding:
        """Judge a drop, or a difference of drops, that ``rows`` show.

        ``unsupported``: verdicts that the selection of the pairs does not allow, and why. ``excess``: how
        much farther than t standard errors the interval of a difference of drops reaches towards the limit;
        None for a drop.
        """
        verdict: Verdict = "undecided"
        reason = ""
        if found.high is not None and found.high <= limit:
            verdict = "pass"
        elif found.low is not None and found.low > limit:
            verdict = "fail"
        elif found.value is None or found.low is None:
            reason = _NO_INTERVAL
        elif unsupported:
            reason = f"{_HOLDS} {' '.join(dict.fromkeys(unsupported.values()))}"
        else:
            reason = self._needed(found, limit, rows, excess)
        if verdict in unsupported:
            verdict, reason = "undecided", unsupported[verdict]
        if verdict == "pass" and self.guessing:
            verdict, reason = "undecided", self.guessing
        return Finding(self.scores.label, check, found.value, found.low, found.high, limit, verdict, reason)

    def _needed(self, found: Estimate, limit: float, rows: pl.DataFrame, excess: float | None) -> str:
        """Say what would decide if the true value were the measured one."""
        assert found.value is not None
        if math.isclose(found.value, limit, abs_tol=1e-9):
            return f"{_HOLDS} The value is the limit, so no number of photos would decide."
        try:
            right = rows["correct"].cast(pl.Float64).to_numpy()
            pilot = Pilot.of(rows, right, design=self.of.run.design)
        except UsageError:
            return f"{_HOLDS} There are too few {self.of.rows}s to tell how many would decide."
        if excess is None:
            photos = photos_to_decide(pilot, limit, _POWER, self.alpha)
        else:
            photos = self._needed_for_difference(pilot, abs(found.value - limit), excess)
        if photos is None:
            return f"{_HOLDS} The value is so close to the limit that no number of photos would decide."
        side = "above" if found.value > limit else "below"
        enough = self.of.enough(photos, pilot.photos_now, pilot.clusters_now)
        at_hand = "" if self.of.is_of_composites else f"; the run has {pilot.photos_now:,}"
        return (
            f"{_HOLDS} If the true value is the measured one, {percent(abs(found.value - limit))} points "
            f"{side} the limit, about {enough} would decide with power {100 * _POWER:g} %{at_hand}."
        )

    def _needed_for_difference(self, pilot: Pilot, distance: float, excess: float) -> int | None:
        """Return how many photos would decide about a difference of two drops this far from the limit."""
        # Plans are for intervals of 95 %; corrected ones are wider, as if the limit were nearer.
        normal = NormalDist()
        ordinary, corrected = (normal.inv_cdf(1 - each / 2) for each in (ALPHA, self.alpha))
        seen = normal.inv_cdf(_POWER)
        # So are those with an excess, which is in proportion to 1 / photos, not to its root.
        reach = (corrected + seen) * math.sqrt(pilot.now.variance)
        distance *= 2 * reach / (reach + math.sqrt(reach * reach + 4 * excess * distance))
        distance *= (ordinary + seen) / (corrected + seen)
        return photos_needed(replace(pilot, paired=True), Question(distance, _POWER))


def _guessing(model: ModelScores, chance: float) -> str:
    """Say that a model is near chance; empty if it is not."""
    common = model.get("accuracy", "common")
    if not near_chance(common, chance):
        return ""
    level = f"{common.text} % {common.interval}".rstrip()
    return (
        f"Its accuracy on common photos, {level}, is near chance ({percent(chance)} %): it has little to "
        "lose, so a small drop says nothing."
    )


def _unsupported(
    model: str, referees: Sequence[MeasuredReferee], who: str, favoured: Verdict
) -> dict[Verdict, str]:
    """Return the verdicts that a model cannot have because it chose the pairs: reasons by verdict.

    ``favoured`` is the verdict that an inflated drop favours, ``who`` the model in the reason.
    """
    effects = {referee.effect for referee in referees if referee.model == model}
    if "narrow" in effects:
        return dict.fromkeys(("pass", "fail"), f"{who} {_NARROW}")
    if "inflated" in effects:
        return {favoured: f"{who} {_INFLATED}: a {favoured} cannot be shown here. {_ELSEWHERE}"}
    return {}


def _drop(
    subject: _Subject, limit: float, referees: Sequence[MeasuredReferee], *, on_these_photos: bool
) -> Finding:
    drop = subject.scores.get("drop")
    unsupported = _unsupported(str(subject.key[0]), referees, "It", "fail")
    if on_these_photos and not unsupported:
        unsupported = {"fail": _SHARED}
    check = f"{subject.of.noun} at most {100 * limit:g}"
    return subject.judged(check, drop, limit, subject.rows, unsupported)


def _accuracy(subject: _Subject, limit: float) -> Finding:
    accuracy = subject.scores.get("accuracy")
    verdict: Verdict = "undecided"
    if accuracy.low is not None and accuracy.low >= limit:
        verdict = "pass"
    elif accuracy.high is not None and accuracy.high < limit:
        verdict = "fail"
    reason = "" if verdict != "undecided" else f"{_HOLDS} More photos would narrow it."
    if accuracy.low is None:
        reason = _NO_INTERVAL
    of = " of composites" * subject.of.is_of_composites
    return Finding(
        subject.scores.label,
        f"accuracy{of} at least {100 * limit:g}",
        accuracy.value,
        accuracy.low,
        accuracy.high,
        limit,
        verdict,
        reason,
    )


def _not_worse(
    subject: _Subject,
    base: Run,
    margin: float,
    referees: Sequence[MeasuredReferee],
    base_referees: Sequence[MeasuredReferee],
    *,
    on_these_photos: bool,
) -> Finding:
    rows = subject.rows
    name, other = _partner(subject, base)
    both = (rows["correct"], other["correct"], rows["class_index"], rows["group"])
    ways = cluster_columns(rows, subject.of.run.design)
    found = drop_change_interval(*both, **ways, alpha=subject.alpha)
    plain = paired_test(*both, **ways, quantity="drop", alpha=subject.alpha)
    change = Estimate(found.value, found.low, found.high, found.n, found.clusters)
    hits = (frame["correct"].cast(pl.Float64) for frame in (rows, other))
    differences = rows.with_columns(correct=next(hits) - next(hits))
    check = f"{subject.of.noun} at most {100 * margin:g} larger than that of {name} in {base.path}"
    unsupported: dict[Verdict, str] = (
        dict.fromkeys(("pass", "fail"), _SHARED_BY_BOTH) if on_these_photos else {}
    )
    unsupported |= {
        **_unsupported(str(subject.key[0]), referees, "It", "fail"),
        **_unsupported(name, base_referees, f"{name} in {base.path}", "pass"),
    }
    return subject.judged(
        check, change, margin, differences, unsupported, excess=_excess(found, plain, margin)
    )


def _excess(found: Estimate, plain: Estimate, limit: float) -> float:
    """Return how much farther than a plain interval another one reaches towards a limit."""
    ends = (found.low, plain.low) if (found.value or 0.0) > limit else (found.high, plain.high)
    end, nearer = ends
    return 0.0 if end is None or nearer is None else abs(end - nearer)


def _check_names(run: Run, base: Run) -> None:
    """Refuse a base run in which other names competed under the same label space, as after an edit of it.

    Raises:
        UsageError: they did.
    """
    own, other = run.info.label_space, base.info.label_space
    if own.name == other.name and own.version != other.version:
        raise UsageError(
            f"The label space {own.name!r} of {base.path} has other names than that of {run.path}: evaluate "
            "both models with the same names."
        )


def _check_clusters(run: Run, base: Run) -> None:
    """Refuse a base run whose design names other clusters: it is unclear which of the two count.

    Raises:
        UsageError: it does.
    """
    own, other = (" and ".join(each.design.clusters) for each in (run, base))
    if own != other:
        raise UsageError(
            f"Photos of {run.path} are clustered by {own}, those of {base.path} by {other}: evaluate both "
            "models on the same benchmark."
        )


def _partner(subject: _Subject, base: Run) -> tuple[str, pl.DataFrame]:
    """Return the name of the base run's model to compare with, and its rows.

    Raises:
        UsageError: there is none, or it saw other photos.
    """
    key = subject.key
    parts = base.predictions.partition_by(KEYS, as_dict=True, maintain_order=True)
    fitting = {other: found for other, found in parts.items() if comparable(key[1:], other[1:])}
    named = {other: found for other, found in fitting.items() if other[0] == key[0]} or fitting
    if len(named) != 1:
        names = ", ".join(dict.fromkeys(str(other[0]) for other in parts))
        why = (
            "alone or of the same name" if named else "with the same names, prompts, label space and loading"
        )
        raise UsageError(f"{base.path} must hold one model {why} to compare {key[0]} with; it holds {names}.")
    ((other, found),) = named.items()
    found = found.sort("path")
    identity = list(dict.fromkeys((*_PHOTO, *base.design.clusters)))
    photos, others = subject.rows.select(identity), found.select(identity)
    if not photos.equals(others):
        shared = photos.join(others, on=identity, nulls_equal=True).height
        raise UsageError(
            f"{base.path} was made on other photos: {shared:,} of {counted(len(photos), 'photo')} are the "
            "same. Evaluate both models on the same benchmark."
        )
    return str(other[0]), found
