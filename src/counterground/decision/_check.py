"""Pass, fail or undecided: a run's models against limits, for programs that must act on the answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.catalogue import Finding, ordered
from counterground.comparison import Selection, selection_of
from counterground.decision._pilot import Pilot
from counterground.decision._plan import Question, photos_needed, photos_to_decide, values_of
from counterground.errors import UsageError
from counterground.metrics import (
    ALPHA,
    KEYS,
    Answers,
    Compared,
    Contrast,
    Estimate,
    comparable,
    contrast_change,
    difference_interval,
    different_photos,
    in_setting,
    score_by,
    share_interval,
)
from counterground.results import Cell, Column, Run, Table, TableView, near_chance, regroup, side_names
from counterground.settings import CheckSettings
from counterground.text import one_line, percent

Verdict = Literal["pass", "fail", "undecided"]

STATUS: dict[Verdict, int] = {"pass": 0, "fail": 3, "undecided": 4}
"""Exit statuses of ``counterground check``; 1 and 2 are errors, as for every command."""

_POWER = 0.8
_CHOSEN = {"chose_here", "chose_other_half", "chosen_here"}
_Unsupported = Mapping[Verdict, Finding]


@dataclass(frozen=True)
class Judgement:
    """One model against one limit.

    Attributes:
        model: what tables call it.
        check: what is limited: ``accuracy``, ``accuracy of COLUMN=VALUE``, the name of the contrast, or with
            ``versus`` its change.
        versus: the model and the run that it is compared with.
        value: the measured value, as ``low``, ``high`` and ``limit`` a fraction.
        low: lower end of the interval, corrected for the number of verdicts.
        high: upper end.
        limit: the limit.
        verdict: what the interval, and the choice of the pairs, allow.
        photos: number of photos that it is based on.
        findings: why it is undecided.
        needed: photos with which a model of this value would be decided with power 80 %.
        detectable: how far beyond the limit a value must be to be found with power 80 %, a fraction.
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
    findings: tuple[Finding, ...] = ()
    needed: int | None = None
    detectable: float | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """The codes of its findings."""
        return tuple(each.code for each in self.findings)

    @property
    def title(self) -> str:
        """The check in words, such as ``drop at most 10 %``."""
        limit = f"{100 * self.limit:g} %"
        if self.versus is not None:
            than = "lower" if self.check == "accuracy" else "larger"
            return f"{self.check} at most {limit} {than} than that of {self.versus}"
        return f"{self.check} at {'least' if self.check.split()[0] == 'accuracy' else 'most'} {limit}"


_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("model", "check", "versus"), pl.String),
    **dict.fromkeys(("value", "low", "high", "limit"), pl.Float64),
    "verdict": pl.String,
    "photos": pl.Int64,
    "reasons": pl.String,
    "needed": pl.Int64,
    "detectable": pl.Float64,
}


@dataclass(frozen=True, repr=False)
class Check(TableView):
    """Verdicts on the models of a run.

    ``verdicts``: one for each model and limit. Together, their intervals hold the truth in at least 95 % of
    runs: they are corrected for their number (Bonferroni).
    ``undecided``: what undecided verdicts became.
    ``findings``: why they are undecided, and what the choice of the pairs does to the figures.
    ``notes``: those of the benchmark.
    """

    run: str
    verdicts: tuple[Judgement, ...]
    undecided: str | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """``fail`` if any is that, else ``undecided`` if any is, else ``pass``."""
        found = {each.verdict for each in self.verdicts}
        order: tuple[Verdict, ...] = ("fail", "undecided", "pass")
        return next(verdict for verdict in order if verdict in found)

    @property
    def rows(self) -> pl.DataFrame:
        """A row for each verdict: the fields of `Judgement`, fractions; codes joined by commas."""
        rows = [vars(each) | {"reasons": ",".join(each.reasons)} for each in self.verdicts]
        return pl.DataFrame([{name: row[name] for name in _SCHEMA} for row in rows], schema=_SCHEMA)

    @property
    def table(self) -> Table:
        """The verdicts for readers."""
        columns = [Column("Model"), Column("Check"), Column("Value", True), Column("Verdict")]
        columns += [Column("Detectable", True)] * (self.undecided == "pass")
        cells = []
        for each in self.verdicts:
            estimate = Estimate(each.value, each.low, each.high)
            row = [Cell(each.model), Cell(each.title), Cell(estimate.text, estimate.interval)]
            row += [Cell(each.verdict)] + [Cell(percent(each.detectable))] * (self.undecided == "pass")
            cells.append(row)
        caption = "percent; drops in points; 95 % intervals"
        if len(cells) > 1:
            caption += f", corrected for {len(cells)} verdicts"
        if self.undecided == "pass":
            caption += "; detectable: how far beyond the limit a value would fail with power 80 %"
        return Table(columns, cells, caption, heads=2)

    @property
    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""
        about = {"run": self.run, "verdict": self.verdict, "verdicts": self.rows.to_dicts()}
        return about | {"findings": [each.to_json() for each in self.findings], "notes": list(self.notes)}

    @property
    def lead(self) -> int:
        """What no check can decide here comes before the verdicts."""
        return sum(each.code == "check_limits" for each in self.findings)

    def junit(self) -> str:
        """Return the verdicts as JUnit XML: a failure for ``fail``, an error for ``undecided``."""
        kinds = Counter(each.verdict for each in self.verdicts)
        totals: dict[str, str] = {
            "tests": str(len(self.verdicts)),
            "failures": str(kinds["fail"]),
            "errors": str(kinds["undecided"]),
        }
        root = ElementTree.Element("testsuites", {"name": "counterground check", **totals, "time": "0"})
        about = {"name": one_line(self.run), **totals, "skipped": "0", "time": "0"}
        suite = ElementTree.SubElement(root, "testsuite", about)
        for each in self.verdicts:
            names: dict[str, str] = {"classname": one_line(each.model), "name": one_line(each.title)}
            case = ElementTree.SubElement(suite, "testcase", names, time="0")
            measured = Estimate(each.value, each.low, each.high)
            text = f"{measured.text} {measured.interval}".strip()
            if each.verdict == "pass":
                ElementTree.SubElement(case, "system-out").text = text
                continue
            kind = "failure" if each.verdict == "fail" else "error"
            message = f"{each.verdict}: {text}"
            told = [message, *(reason.text for reason in each.findings)]
            ElementTree.SubElement(case, kind, message=message, type=each.verdict).text = one_line(
                ". ".join(told)
            )
        if self.notes:
            ElementTree.SubElement(suite, "system-out").text = "\n".join(map(one_line, self.notes))
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def check_run(
    run: Run,
    limits: CheckSettings,
    base: Run | None = None,
    *,
    contrast: str | Contrast | None = None,
) -> Check:
    """Check the models of a run.

    A limit is kept if the whole interval keeps it and broken if the whole interval breaks it; otherwise the
    verdict is ``undecided``. So is a pass on the contrast of a model near chance, which has little to lose,
    and any verdict that contrasts on photos that chose the pairs cannot show.

    Args:
        run: the run.
        limits: limits that its models must keep; an undecided verdict passes only if a value beyond the limit
            by ``detectable`` would have been found to fail with power 80 %.
        base: the run to compare with, for ``limits.margin``.
        contrast: what ``max_drop`` and ``margin`` limit: a contrast, its name or an expression; by default
            the first one of the run's design.

    Raises:
        UsageError: nothing to check, no photos on both sides, or a base run on other photos, with other names
            under the same label space, with other clusters, or without a model to compare with.
    """
    given = (limits.max_drop, limits.min_accuracy, base)
    kinds = sum(each is not None for each in given)
    if not kinds:
        raise UsageError("There is nothing to check: add --max-drop, --min-accuracy or --baseline.")
    chosen = run.contrast(contrast)
    runs = [run] if base is None else [run, base]
    selections = [Selection()] * 2
    if "group" in chosen.columns:  # others are not what the pairs were chosen for
        selections = [selection_of(each) for each in (run, base or run)]
    by = limits.by
    accuracies = 1 if by is None else len(values_of(run, by))
    kinds += (accuracies - 1) * (limits.min_accuracy is not None)
    verdicts: list[Judgement] = []
    for model, (key, answers) in zip(regroup(run.estimates()), run.answers.items(), strict=True):
        alpha = ALPHA / (kinds * len(run.answers))
        subject = _Subject(model.label, key, answers, run, chosen, alpha, *selections)
        if limits.max_drop is not None:
            verdicts.append(subject.of_contrast(limits.max_drop))
        if limits.min_accuracy is not None:
            verdicts += subject.of_accuracy(limits.min_accuracy, by)
        if base is not None:
            without_sides = contrast is None and subject.answers.sides(chosen) is None
            change = subject.of_loss if without_sides else subject.of_change
            verdicts.append(change(limits.margin, base))
    notes = dict.fromkeys(note for each in runs for note in each.info.benchmark.notes)
    findings = [finding for each in verdicts for finding in each.findings]
    findings += [found for each in selections[: len(runs)] for found in each.findings(chosen.name)]
    if _CHOSEN & {each.code for each in findings}:
        findings.append(Finding("do_measure_elsewhere"))
    findings = ordered(findings)
    if any(each.on_these_photos for each in selections[: len(runs)]):
        findings.insert(0, Finding("check_limits", "", {"noun": chosen.name}))
    decided = tuple(_decided(each, limits) for each in verdicts)
    return Check(str(run.path), decided, limits.undecided, tuple(findings), tuple(notes))


def _decided(found: Judgement, limits: CheckSettings) -> Judgement:
    """Turn an undecided verdict into the one that was requested for it."""
    if found.verdict != "undecided" or limits.undecided is None:
        return found
    seen = found.detectable is not None and found.detectable <= (limits.detectable or 0.0)
    return replace(found, verdict=limits.undecided) if limits.undecided == "fail" or seen else found


@dataclass(frozen=True)
class _Subject:
    """A model in one setting, whose intervals miss the truth no more often than ``alpha``.

    ``selection`` and ``of_base`` say who chose the pairs of its run, and of the one it is compared with.
    """

    label: str
    key: tuple[Any, ...]
    answers: Answers
    run: Run
    contrast: Contrast
    alpha: float
    selection: Selection
    of_base: Selection

    def of_contrast(self, limit: float) -> Judgement:
        """Judge the value of the contrast."""
        sides = self.answers.sides(self.contrast)
        if sides is None:
            raise self._absent()
        left, right, n = sides
        value = difference_interval(replace(left, alpha=self.alpha), replace(right, alpha=self.alpha), n)

        def needed(pilot: Pilot) -> int | None:
            return photos_to_decide(pilot, limit, _POWER, self.alpha)

        found = self._measured(self.contrast.name, value, limit)
        return self._judged(found, self._unsupported(), self.answers.correct, needed)

    def of_accuracy(self, limit: float, by: str | None) -> Iterator[Judgement]:
        """Judge accuracy, averaged over classes: on all photos, or of each value of a column."""
        if by is None:
            estimate = self.answers.estimate("accuracy")
            assert estimate is not None
            yield self._accurate("accuracy", share_interval(replace(estimate, alpha=self.alpha)), limit)
            return
        rows = self.run.rows.filter(in_setting(dict(zip(KEYS, self.key, strict=True))))
        scores = score_by(rows, [self.run.column(by)], alpha=self.alpha, design=self.run.design)
        for row in reversed(scores.to_dicts()):
            yield self._accurate(f"accuracy of {by}={row['level']}", Estimate.of(row), limit)

    def _accurate(self, check: str, value: Estimate, limit: float) -> Judgement:
        found = self._measured(check, value, limit)
        if value.low is None or value.high is None or value.value is None:
            return self._explained(found, Finding("no_interval", self.label))
        if value.low >= limit or value.high < limit:
            return replace(found, verdict="pass" if value.low >= limit else "fail")
        found = replace(found, detectable=self._detectable(value.high - value.value))
        return self._explained(found, Finding("contains_limit", self.label, {"noun": "accuracy"}))

    def of_loss(self, margin: float, base: Run) -> Judgement:
        """Judge how much lower accuracy is than that of the base run's model, where no photos have groups."""
        name, other = self._partner(base)
        loss, _ = contrast_change(other, self.answers, alpha=self.alpha, quantity="accuracy")
        found = self._measured("accuracy", loss, margin, f"{name} in {base.path}")
        if loss.low is None or loss.high is None or loss.value is None:
            return self._explained(found, Finding("no_interval", self.label))
        if loss.high <= margin or loss.low > margin:
            return replace(found, verdict="pass" if loss.high <= margin else "fail")
        found = replace(found, detectable=self._detectable(loss.value - loss.low))
        return self._explained(found, Finding("contains_limit", self.label, {"noun": "loss of accuracy"}))

    def of_change(self, margin: float, base: Run) -> Judgement:
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
        gain = self.answers.correct.astype(np.float64) - other.correct
        found = self._measured(self.contrast.name, change, margin, versus)
        return self._judged(found, self._unsupported((name, versus)), gain, needed)

    def _unsupported(self, base: tuple[str, str] | None = None) -> _Unsupported:
        """Return the verdicts that cannot be shown, and why.

        An inflated contrast makes its model fail and, as that of the ``base`` (its name, and what sentences
        call it), the other pass.
        """
        both: tuple[Verdict, ...] = ("pass", "fail")
        noun = {"noun": self.contrast.name}
        sides: list[tuple[str, str, Selection, Verdict]] = [
            (str(self.key[0]), self.label, self.selection, "fail")
        ]
        if base is not None:
            sides.append((*base, self.of_base, "pass"))
        found: dict[Verdict, Finding] = {}
        if any(selection.on_these_photos for _, _, selection, _ in sides):
            found = dict.fromkeys(both if base else ("fail",), Finding("chosen_here", "", noun))
        for name, label, selection, favoured in sides:
            effect = selection.effects.get(name)
            if effect == "narrow":
                found |= dict.fromkeys(both, Finding("chose_other_half", label))
            elif effect == "inflated":
                found[favoured] = Finding("chose_here", label, noun)
        return found

    def _measured(self, check: str, value: Estimate, limit: float, versus: str | None = None) -> Judgement:
        numbers = (value.value, value.low, value.high, limit)
        return Judgement(self.label, check, versus, *numbers, verdict="undecided", photos=value.n)

    def _absent(self) -> UsageError:
        return UsageError(
            f"{self.run.path} has no {self.contrast.name} to check: no photos on both sides of "
            f"{self.contrast}."
        )

    def _judged(
        self,
        found: Judgement,
        unsupported: _Unsupported,
        values: npt.NDArray[np.generic],
        needed: Callable[[Pilot], int | None],
    ) -> Judgement:
        """Judge a contrast, or its change, whose photos have ``values``."""
        if found.value is None or found.low is None or found.high is None:
            return self._explained(found, Finding("no_interval", self.label))
        verdict: Verdict = "undecided"
        if found.high <= found.limit or found.low > found.limit:
            verdict = "pass" if found.high <= found.limit else "fail"
        noun, reason = {"noun": self.contrast.name}, unsupported.get(verdict)
        if verdict == "pass" and reason is None and self._guesses:
            about = {**noun, "models": (self.label,), "left": side_names(self.contrast)[0]}
            reason = Finding("near_chance", "", about)
        if reason is not None:
            return self._explained(found, reason)
        if verdict != "undecided":
            return replace(found, verdict=verdict)
        contains = Finding("contains_limit", self.label, noun)
        if unsupported:
            return self._explained(found, contains, *unsupported.values())
        if not self._guesses:
            found = replace(found, detectable=self._detectable(found.value - found.low))
        photos = self._needed(found, values, needed)
        numbers = {"needed": photos, "photos": found.photos}
        more = [Finding("more_photos", self.label, numbers)] if photos else []
        return self._explained(replace(found, needed=photos), contains, *more)

    def _explained(self, found: Judgement, *reasons: Finding) -> Judgement:
        """Add why it is undecided."""
        return replace(found, findings=tuple(ordered(reasons)))

    @property
    def _guesses(self) -> bool:
        """Whether the model is near chance on the left side."""
        left = self.answers.estimate("left", self.contrast)
        return left is not None and near_chance(share_interval(left), self.run.info.candidates.chance)

    def _detectable(self, reach: float) -> float:
        """Return how far beyond a limit a value is found with power 80 %, given half its interval."""
        normal = NormalDist()
        return reach * (1 + normal.inv_cdf(_POWER) / normal.inv_cdf(1 - self.alpha / 2))

    def _needed(
        self,
        found: Judgement,
        values: npt.NDArray[np.generic],
        needed: Callable[[Pilot], int | None],
    ) -> int | None:
        """Return how many photos would decide if the true value were the measured one; None: no number."""
        if math.isclose(found.value or 0.0, found.limit, abs_tol=1e-9):
            return None
        try:
            return needed(Pilot.of(self.answers.photos, values, self.contrast))
        except UsageError:
            return None

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
