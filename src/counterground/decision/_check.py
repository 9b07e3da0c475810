"""Pass, fail or undecided: a run's models against limits, for programs that must act on the answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.decision._pilot import Pilot
from counterground.decision._plan import Question, Written, photos_needed, photos_to_decide
from counterground.errors import UsageError
from counterground.metrics import (
    ALPHA,
    Answers,
    Compared,
    Contrast,
    Estimate,
    comparable,
    contrast_change,
    difference_interval,
    different_photos,
    share_interval,
)
from counterground.results import Cell, Column, MeasuredReferee, Run, Table, near_chance, regroup
from counterground.text import one_line, percent

Verdict = Literal["pass", "fail", "undecided"]

STATUS: dict[Verdict, int] = {"pass": 0, "fail": 3, "undecided": 4}
"""Exit statuses of ``counterground check``; 1 and 2 are errors, as for every command."""

_POWER = 0.8
_ELSEWHERE = (
    "Check it on photos that did not choose the pairs (discover --split half; for CounterAnimal's pairs, new "
    "photos)."
)
_REASONS = {
    "no_interval": "There is no interval: all photos, or those of a side, are in one cluster. Add photos of "
    "other clusters.",
    "contains_limit": "The interval contains the limit.",
    "at_limit": "The value is the limit, so no number of photos would decide.",
    "too_close": "The value is so close to the limit that no number of photos would decide.",
    "too_few": "There are too few photos to tell how many would decide.",
    "more_photos": "If the true value is the measured one, about {needed:,} photos would decide with power "
    "80 %; now there are {now:,}. Clusters must grow with them.",
    "near_chance": "Its accuracy is near chance: it has little to lose, so a small {contrast} says nothing.",
    "inflated": "{who} chose the pairs of backgrounds on these same photos, which inflates its {contrast}: "
    f"this cannot be shown here. {_ELSEWHERE}",
    "narrow": "{who} chose the pairs of each half of these photos on the other half, or was made from the "
    f"model that did, so the interval is too narrow. {_ELSEWHERE}",
    "chosen_here": "The pairs of backgrounds were chosen on these same photos, which inflates the {contrast} "
    f"of models that find the same photos hard, by an unknown amount. {_ELSEWHERE}",
}


@dataclass(frozen=True)
class Limits:
    """Limits that models must keep; None: no limit. All are fractions.

    Attributes:
        max_drop: the largest value of the contrast.
        min_accuracy: the smallest accuracy, averaged over classes.
        margin: how much larger the contrast may be than that of the same model, or the only one, of another
            run on the same photos.
        undecided: what an undecided verdict becomes: ``fail``, ``pass`` or None, itself. It passes only if a
            value beyond the limit by ``detectable`` would have been found to fail with power 80 %.
        detectable: see ``undecided``.

    Raises:
        UsageError: an impossible limit.
    """

    max_drop: float | None = None
    min_accuracy: float | None = None
    margin: float = 0.02
    undecided: Literal["fail", "pass"] | None = None
    detectable: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_drop", "min_accuracy", "margin", "detectable"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is a fraction or a percentage such as 10%, not {value:g}.")
        if self.min_accuracy is not None and 0 < self.min_accuracy < 0.01:  # every model would pass
            given = 100 * self.min_accuracy
            raise UsageError(f"--min-accuracy is in percent: {100 * given:g}, not {given:g}.")
        if (self.undecided == "pass") != (self.detectable is not None):
            raise UsageError("--undecided pass and --detectable go together: give both or neither.")


@dataclass(frozen=True)
class Finding:
    """One model against one limit.

    Attributes:
        model: what tables call it.
        check: what is limited: ``accuracy``, the name of the contrast, or with ``versus`` its change.
        versus: the model and the run that it is compared with.
        value: the measured value, as ``low``, ``high`` and ``limit`` a fraction.
        low: lower end of the interval, corrected for the number of verdicts.
        high: upper end.
        limit: the limit.
        verdict: what the interval, and the choice of the pairs, allow.
        photos: number of photos that it is based on.
        reasons: codes of why it is undecided (``no_interval``, ``contains_limit``, ``near_chance``, ...).
        needed: photos with which a model of this value would be decided with power 80 %.
        detectable: how far beyond the limit a value must be to be found with power 80 %, a fraction.
        reason: ``reasons`` in words, and what to do.
    """

    model: str
    check: str
    versus: str | None
    value: float | None
    low: float | None
    high: float | None
    limit: float
    verdict: Verdict
    photos: int
    reasons: tuple[str, ...] = ()
    needed: int | None = None
    detectable: float | None = None
    reason: str = ""

    @property
    def title(self) -> str:
        """The check in words, such as ``drop at most 10 %``."""
        limit = f"{100 * self.limit:g} %"
        if self.versus is not None:
            return f"{self.check} at most {limit} larger than that of {self.versus}"
        return f"{self.check} at {'least' if self.check == 'accuracy' else 'most'} {limit}"


_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("model", "check", "versus"), pl.String),
    **dict.fromkeys(("value", "low", "high", "limit"), pl.Float64),
    "verdict": pl.String,
    "photos": pl.Int64,
    "reasons": pl.String,
    "needed": pl.Int64,
    "detectable": pl.Float64,
    "reason": pl.String,
}


@dataclass(frozen=True, repr=False)
class Check(Written):
    """Verdicts on the models of a run.

    ``findings``: one for each model and limit. Together, their intervals hold the truth in at least 95 % of
    runs: they are corrected for their number (Bonferroni).
    ``undecided``: what undecided verdicts became.
    ``notes``: how models were loaded if not as trained, those of the benchmark, and what the choice of its
    pairs did to the figures.
    """

    run: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    undecided: str | None = None

    @property
    def verdict(self) -> Verdict:
        """``fail`` if any finding is that, else ``undecided`` if any is, else ``pass``."""
        found = {finding.verdict for finding in self.findings}
        order: tuple[Verdict, ...] = ("fail", "undecided", "pass")
        return next(verdict for verdict in order if verdict in found)

    @property
    def rows(self) -> pl.DataFrame:
        """A row for each finding: the fields of `Finding`, fractions; codes joined by commas."""
        rows = [vars(finding) | {"reasons": ",".join(finding.reasons)} for finding in self.findings]
        return pl.DataFrame(rows, schema=_SCHEMA)

    @property
    def table(self) -> Table:
        """The findings for readers."""
        columns = [Column("Model"), Column("Check"), Column("Value", True), Column("Verdict")]
        columns += [Column("Detectable", True)] * (self.undecided == "pass")
        cells = []
        for finding in self.findings:
            estimate = Estimate(finding.value, finding.low, finding.high)
            row = [Cell(finding.model), Cell(finding.title), Cell(estimate.text, estimate.interval)]
            row += [Cell(finding.verdict)] + [Cell(percent(finding.detectable))] * (self.undecided == "pass")
            cells.append(row)
        number = len(self.findings)
        together = f", corrected for {number} verdicts" if number > 1 else ""
        notes = [f"{finding.model}: {finding.reason}" for finding in self.findings if finding.reason]
        caption = f"Percent; drops in points; 95 % intervals{together}."
        if self.undecided == "pass":
            caption += " Detectable: how far beyond the limit a value would fail with power 80 %."
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
                suite, "testcase", classname=one_line(finding.model), name=one_line(finding.title), time="0"
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
    contrast: str | Contrast | None = None,
    referees: Sequence[MeasuredReferee] = (),
    base_referees: Sequence[MeasuredReferee] = (),
    on_these_photos: bool = False,
) -> Check:
    """Check the models of a run.

    A limit is kept if the whole interval keeps it and broken if the whole interval breaks it; otherwise the
    verdict is ``undecided``. So is a pass on the contrast of a model near chance, which has little to lose,
    and any verdict that contrasts on photos that chose the pairs cannot show.

    Args:
        run: the run.
        limits: limits that its models must keep.
        base: the run to compare with, for ``limits.margin``.
        contrast: what ``max_drop`` and ``margin`` limit: a contrast, its name or an expression; by default
            the first one of the run's design.
        referees: the models of ``run`` that chose its pairs.
        base_referees: those of ``base``.
        on_these_photos: whether the pairs were chosen on the photos of ``run``, which are those of ``base``.

    Raises:
        UsageError: nothing to check, no photos on both sides, or a base run on other photos, with other names
            under the same label space, with other clusters, or without a model to compare with.
    """
    given = (limits.max_drop, limits.min_accuracy, base)
    kinds = sum(each is not None for each in given)
    if not kinds:
        raise UsageError("There is nothing to check: add --max-drop, --min-accuracy or --baseline.")
    chosen = run.contrast(contrast)
    selection = _Selection((), (), on_these_photos=False)
    if "group" in chosen.columns:  # others are not what the pairs were chosen for
        selection = _Selection(referees, base_referees, on_these_photos)
    subjects = [
        _Subject(model.label, key, answers, run, chosen, ALPHA / (kinds * len(run.answers)))
        for model, (key, answers) in zip(regroup(run.estimates()), run.answers.items(), strict=True)
    ]
    findings: list[Finding] = []
    for subject in subjects:
        if limits.max_drop is not None:
            findings.append(subject.of_contrast(limits.max_drop, selection))
        if limits.min_accuracy is not None:
            findings.append(subject.of_accuracy(limits.min_accuracy))
        if base is not None:
            findings.append(subject.of_change(limits.margin, base, selection))
    runs = [run] if base is None else [run, base]
    notes = [note for each in runs for note in each.info.benchmark.notes]
    notes += [sentence for referee in (*referees, *base_referees) for sentence in referee.sentences]
    decided = tuple(_decided(finding, limits) for finding in findings)
    return Check(str(run.path), decided, tuple(dict.fromkeys(notes)), limits.undecided)


def _decided(finding: Finding, limits: Limits) -> Finding:
    """Turn an undecided verdict into the one that was requested for it."""
    if finding.verdict == "undecided" and limits.undecided == "fail":
        return replace(finding, verdict="fail")
    seen = finding.detectable is not None and finding.detectable <= (limits.detectable or 0.0)
    if finding.verdict == "undecided" and limits.undecided == "pass" and seen:
        return replace(finding, verdict="pass")
    return finding


class _Unsupported(NamedTuple):
    """Why a verdict cannot be shown: a code, and which model chose the pairs."""

    code: str
    who: str = ""


@dataclass(frozen=True)
class _Selection:
    """How the choice of the pairs bears on verdicts about a contrast."""

    referees: Sequence[MeasuredReferee]
    base_referees: Sequence[MeasuredReferee]
    on_these_photos: bool

    def of(self, model: str, base: tuple[str, str] | None = None) -> dict[Verdict, _Unsupported]:
        """Return the verdicts that cannot be shown.

        An inflated contrast makes its model fail and, as that of the ``base``, the other pass.

        Args:
            model: name of the model.
            base: name of the model that it is compared with, and what sentences call it.
        """
        both: tuple[Verdict, ...] = ("pass", "fail")
        sides: list[tuple[str, str, Sequence[MeasuredReferee], Verdict]] = [
            ("It", model, self.referees, "fail")
        ]
        if base is not None:
            sides.append((base[1], base[0], self.base_referees, "pass"))
        unsupported: dict[Verdict, _Unsupported] = {}
        if self.on_these_photos:
            unsupported = dict.fromkeys(both if base else ("fail",), _Unsupported("chosen_here"))
        for who, name, referees, favoured in sides:
            effects = {referee.effect for referee in referees if referee.model == name}
            if "narrow" in effects:
                unsupported |= dict.fromkeys(both, _Unsupported("narrow", who))
            elif "inflated" in effects:
                unsupported[favoured] = _Unsupported("inflated", who)
        return unsupported


@dataclass(frozen=True)
class _Subject:
    """A model in one setting, whose intervals miss the truth no more often than ``alpha``."""

    label: str
    key: tuple[Any, ...]
    answers: Answers
    run: Run
    contrast: Contrast
    alpha: float

    def of_contrast(self, limit: float, selection: _Selection) -> Finding:
        """Judge the value of the contrast."""
        sides = self.answers.sides(self.contrast)
        if sides is None:
            raise self._absent()
        left, right, n = sides
        value = difference_interval(replace(left, alpha=self.alpha), replace(right, alpha=self.alpha), n)

        def needed(pilot: Pilot) -> int | None:
            return photos_to_decide(pilot, limit, _POWER, self.alpha)

        finding = self._finding(self.contrast.name, value, limit)
        return self._judged(finding, selection.of(str(self.key[0])), self.answers.correct, needed)

    def of_accuracy(self, limit: float) -> Finding:
        """Judge accuracy, averaged over classes."""
        estimate = self.answers.estimate("accuracy")
        assert estimate is not None
        value = share_interval(replace(estimate, alpha=self.alpha))
        finding = self._finding("accuracy", value, limit)
        if value.low is None or value.high is None or value.value is None:
            return self._explained(finding, _Unsupported("no_interval"))
        if value.low >= limit or value.high < limit:
            return replace(finding, verdict="pass" if value.low >= limit else "fail")
        finding = replace(finding, detectable=self._detectable(value.high - value.value))
        return self._explained(finding, _Unsupported("contains_limit"))

    def of_change(self, margin: float, base: Run, selection: _Selection) -> Finding:
        """Judge how much larger the contrast is than that of the base run's model."""
        name, other = self._partner(base)
        if self.answers.estimate("difference", self.contrast) is None:
            raise self._absent()
        change, plain = contrast_change(self.answers, other, self.contrast, self.alpha)

        def needed(pilot: Pilot) -> int | None:
            assert change.value is not None
            excess = _excess(change, plain, margin)
            return self._needed_for_difference(pilot, abs(change.value - margin), excess)

        versus = f"{name} in {base.path}"
        unsupported = selection.of(str(self.key[0]), (name, versus))
        gain = self.answers.correct.astype(np.float64) - other.correct
        finding = self._finding(self.contrast.name, change, margin, versus)
        return self._judged(finding, unsupported, gain, needed)

    def _finding(self, check: str, value: Estimate, limit: float, versus: str | None = None) -> Finding:
        numbers = (value.value, value.low, value.high, limit)
        return Finding(self.label, check, versus, *numbers, verdict="undecided", photos=value.n)

    def _absent(self) -> UsageError:
        return UsageError(
            f"{self.run.path} has no {self.contrast.name} to check: no photos on both sides of "
            f"{self.contrast}."
        )

    def _judged(
        self,
        finding: Finding,
        unsupported: Mapping[Verdict, _Unsupported],
        values: npt.NDArray[np.generic],
        needed: Callable[[Pilot], int | None],
    ) -> Finding:
        """Judge a contrast, or its change, whose photos have ``values``."""
        if finding.value is None or finding.low is None or finding.high is None:
            return self._explained(finding, _Unsupported("no_interval"))
        verdict: Verdict = "undecided"
        if finding.high <= finding.limit or finding.low > finding.limit:
            verdict = "pass" if finding.high <= finding.limit else "fail"
        if verdict in unsupported:
            return self._explained(finding, unsupported[verdict])
        if verdict == "pass" and self._guesses:
            return self._explained(finding, _Unsupported("near_chance"))
        if verdict != "undecided":
            return replace(finding, verdict=verdict)
        if unsupported:
            return self._explained(finding, _Unsupported("contains_limit"), *unsupported.values())
        if not self._guesses:
            finding = replace(finding, detectable=self._detectable(finding.value - finding.low))
        code, photos = self._advice(finding, values, needed)
        finding = replace(finding, needed=photos)
        return self._explained(finding, _Unsupported("contains_limit"), _Unsupported(code))

    def _explained(self, finding: Finding, *unsupported: _Unsupported) -> Finding:
        """Add why it is undecided."""
        numbers = {"contrast": self.contrast.name, "needed": finding.needed, "now": finding.photos}
        reasons = dict.fromkeys(unsupported)
        words = [_REASONS[code].format(who=who, **numbers) for code, who in reasons]
        return replace(finding, reasons=tuple(code for code, _ in reasons), reason=" ".join(words))

    @property
    def _guesses(self) -> bool:
        """Whether the model is near chance on the left side."""
        left = self.answers.estimate("left", self.contrast)
        return left is not None and near_chance(share_interval(left), self.run.info.candidates.chance)

    def _detectable(self, reach: float) -> float:
        """Return how far beyond a limit a value is found with power 80 %, given half its interval."""
        normal = NormalDist()
        return reach * (1 + normal.inv_cdf(_POWER) / normal.inv_cdf(1 - self.alpha / 2))

    def _advice(
        self,
        finding: Finding,
        values: npt.NDArray[np.generic],
        needed: Callable[[Pilot], int | None],
    ) -> tuple[str, int | None]:
        """Return a code, and how many photos would decide if the true value were the measured one."""
        if math.isclose(finding.value or 0.0, finding.limit, abs_tol=1e-9):
            return "at_limit", None
        try:
            pilot = Pilot.of(self.answers.photos, values, self.contrast)
        except UsageError:
            return "too_few", None
        photos = needed(pilot)
        return "too_close" if photos is None else "more_photos", photos

    def _needed_for_difference(self, pilot: Pilot, distance: float, excess: float) -> int | None:
        """Return how many photos would decide about a difference of two contrasts this far from the limit."""
        # Plans are for intervals of 95 %; corrected ones are wider, as if the limit were nearer.
        normal = NormalDist()
        ordinary, corrected = (normal.inv_cdf(1 - each / 2) for each in (ALPHA, self.alpha))
        seen = normal.inv_cdf(_POWER)
        # So are those with an excess, which is in proportion to 1 / photos, not to its root.
        reach = (corrected + seen) * math.sqrt(pilot.now.variance)
        distance *= 2 * reach / (reach + math.sqrt(reach * reach + 4 * excess * distance))
        distance *= (ordinary + seen) / (corrected + seen)
        return photos_needed(replace(pilot, paired=True), Question(distance, _POWER))

    def _partner(self, base: Run) -> tuple[str, Answers]:
        """Return the name of the base run's model to compare with, and its answers.

        Raises:
            UsageError: there is none, or it saw other photos or chose among other names.
        """
        own, other = self.run.info.candidates, base.info.candidates
        if own.name == other.name and own.version != other.version:  # as after an edit of it
            raise UsageError(
                f"The label space {own.name!r} of {base.path} has other names than that of {self.run.path}: "
                "evaluate both models with the same names."
            )
        fitting = {key: of for key, of in base.answers.items() if comparable(self.key[1:], key[1:])}
        named = {key: of for key, of in fitting.items() if key[0] == self.key[0]} or fitting
        if len(named) != 1:
            names = ", ".join(dict.fromkeys(str(key[0]) for key in base.answers))
            raise UsageError(
                f"{base.path} must hold one model, alone or of the same name, with the same names, prompts, "
                f"label space and loading to compare {self.key[0]} with; it holds {names}."
            )
        ((key, answers),) = named.items()
        first = Compared(str(self.key[0]), self.key[1:], self.answers)
        second = Compared(f"{key[0]} in {base.path}", key[1:], answers)
        if problem := different_photos(first, second):
            raise UsageError(problem)
        return str(key[0]), answers


def _excess(change: Estimate, plain: Estimate, limit: float) -> float:
    """Return how much farther than a plain interval another one reaches towards a limit."""
    ends = (change.low, plain.low) if (change.value or 0.0) > limit else (change.high, plain.high)
    end, nearer = ends
    return 0.0 if end is None or nearer is None else abs(end - nearer)
