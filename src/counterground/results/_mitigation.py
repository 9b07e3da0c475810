"""What mitigations did to one model: ``mitigation.json``, and the table made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator

from counterground.catalogue import Finding
from counterground.errors import CounterGroundError, UsageError
from counterground.metrics import DROP, KEYS, Contrast, Estimate, scores_frame
from counterground.results._scores_table import contrast_titles
from counterground.results._table import Cell, Column, Table
from counterground.results._view import TableView
from counterground.text import NOTHING, counted, p_value, percent

MITIGATION_FILE = "mitigation.json"
HALF = 0.5
"""A gain is loss if more than this share of it is accuracy lost on common photos."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Accuracies(_Record):
    """Accuracies of one model on the judged photos (fractions)."""

    common: Estimate
    counter: Estimate
    drop: Estimate
    worst_group: float | None


class ExportedHead(_Record):
    """A head in a safetensors file: fitted on all photos, and therefore not the one that was judged."""

    file: str
    setting: dict[str, Any]
    photos: int
    clusters: int


class MethodRecord(_Record):
    """One method.

    Attributes:
        name: name of the method.
        title: what it does.
        source: who proposed it.
        model: what tables call the mitigated model.
        group_labels: at each step (``fit``, ``choose``), ``used`` or ``not used``.
        chosen_by: the criterion of the choice; None if there was only one setting.
        tried: how many settings were tried.
        settings: the chosen setting of each part.
        mitigated: accuracies of the mitigated model.
        cost: accuracy on common photos, of the model minus the mitigated model.
        gain: the drop, of the model minus the mitigated model.
        head: what was exported; if None, ``not_exported`` says why.
        cpu_seconds: processor time of fitting and choosing, all cores together.
    """

    name: str
    title: str
    source: str
    model: str
    group_labels: dict[str, str]
    chosen_by: str | None
    tried: int
    settings: list[dict[str, Any]]
    mitigated: Accuracies
    cost: Estimate
    gain: Estimate
    head: ExportedHead | None = None
    not_exported: str | None = None
    cpu_seconds: float

    @property
    def before(self) -> float:
        """The drop of the model itself, a fraction."""
        return (self.gain.value or 0.0) + (self.mitigated.drop.value or 0.0)

    @property
    def helps(self) -> bool:
        """Whether there was a drop, by its point estimate, that is significantly smaller."""
        return self.before > 0 and self.gain.significant and (self.gain.value or 0.0) > 0

    @property
    def loses(self) -> bool:
        """Whether more than half of its gain is accuracy lost on common photos, by point estimates."""
        return (self.cost.value or 0.0) > HALF * (self.gain.value or 0.0)

    @property
    def reverses(self) -> bool:
        """Whether common photos are the harder ones for the mitigated model: its drop is clearly below 0."""
        return self.mitigated.drop.high is not None and self.mitigated.drop.high < 0


class PartRecord(_Record):
    """The size of one of the parts of a benchmark that take turns to fit, choose and judge."""

    photos: int
    clusters: int


class MitigationRecord(_Record, TableView):
    """``mitigation.json``: one model, before and after each method.

    Attributes:
        model: what tables call it.
        benchmark: name and version of the photos.
        contrast: contrast with ``common`` as left side, ``counter`` as right side and ``drop`` as difference.
        parts: sizes of the parts, which take turns to fit, choose and judge.
        seed: seed for the parts and for what methods draw.
        tests: number of tests that the p-values of gain and cost are corrected for: each pair of models of
            the run, on each quantity.
        unmitigated: accuracies of the model itself on the same photos.
        methods: methods as they were named.
        left_out: methods that could not be used, and why.
        notes: what else readers must know.
    """

    model: str
    benchmark: str
    contrast: str
    parts: list[PartRecord]
    seed: int
    tests: int
    unmitigated: Accuracies
    methods: list[MethodRecord] = Field(min_length=1)
    left_out: dict[str, str] = {}
    notes: list[str] = []

    @field_validator("contrast")
    @classmethod
    def _parsed(cls, text: str) -> str:
        try:
            return str(Contrast.parse(text))
        except UsageError as error:
            raise ValueError(str(error)) from error

    @property
    def sides(self) -> tuple[str, str]:
        """What sentences call the photos of its two sides, such as ``common photos``."""
        return side_names(Contrast.parse(self.contrast))

    @property
    def noun(self) -> str:
        """What sentences call the difference of the sides: ``drop``; for other contrasts ``difference``."""
        return "drop" if Contrast.parse(self.contrast) == DROP else "difference"

    @property
    def mended(self) -> list[MethodRecord]:
        """The methods that help without reversing the difference, and not mostly by loss."""
        return [each for each in self.methods if each.helps and not (each.loses or each.reverses)]

    @property
    def findings(self) -> list[Finding]:
        """Whether a method makes the drop significantly smaller, at what cost; no stronger than its tests."""
        about, drop = {"noun": self.noun}, self.unmitigated.drop
        if drop.value is not None and drop.value <= 0:
            return [Finding.of("nothing_to_mend", self.model, drop, **about)]
        if not self.mended:
            return [Finding("not_mended", self.model, about)]
        # By the gain on counter photos: a drop may shrink because common ones are lost.
        best = max(self.mended, key=lambda each: (each.gain.value or 0.0) - (each.cost.value or 0.0))
        about |= {"method": best.name, "left": self.sides[0]}
        return [Finding.of("mended", self.model, best.gain, cost=best.cost.value, **about)]

    @property
    def rows(self) -> pl.DataFrame:
        """Accuracies, and cost and gain ``versus`` each mitigated model: ``metrics.SCORES_SCHEMA``."""
        contrast, settings = Contrast.parse(self.contrast), [None] * (len(KEYS) - 1)
        (left, right), difference = contrast.side_keys, contrast.difference_key
        models = [(self.model, self.unmitigated), *((each.model, each.mitigated) for each in self.methods)]
        accuracies = scores_frame(
            ((model, *settings), (None, key, estimate))
            for model, of in models
            for key, estimate in ((left, of.common), (right, of.counter), (difference, of.drop))
        )
        own = (self.model, *settings)
        changes = [
            scores_frame([(own, (None, left, each.cost)), (own, (None, difference, each.gain))]).with_columns(
                versus=pl.lit(each.model)
            )
            for each in self.methods
        ]
        return pl.concat([accuracies, *changes])

    @property
    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return self.model_dump()

    @property
    def table(self) -> Table:
        """The record for readers: percent, differences in points, with intervals."""
        left, right, drop = contrast_titles(Contrast.parse(self.contrast))
        columns = [
            Column("Method"),
            Column(drop, True),
            Column("Gain", True),
            Column("p (Holm)", True, minor=True),
        ]
        columns += [Column("Cost", True), Column(left, True), Column(right, True, minor=True)]
        columns.append(Column("Worst group", True))
        columns.append(Column("Labels"))
        own = self.unmitigated
        none = Cell(NOTHING)
        rows = [[Cell("(none)"), _cell(own.drop), none, none, none, *_accuracies(own), none]]
        for each in self.methods:
            changes = [_cell(each.gain), Cell(p_value(each.gain.p_corrected)), _cell(each.cost)]
            labels = " and ".join(step for step, used in each.group_labels.items() if used == "used")
            accuracies = _accuracies(each.mitigated)
            rows.append(
                [Cell(each.name), _cell(each.mitigated.drop), *changes, *accuracies, Cell(labels or "none")]
            )
        return Table(columns, rows, self._caption())

    def _caption(self) -> str:
        photos = counted(sum(part.photos for part in self.parts), "photo")
        return (
            f"{self.model} on {photos} of {self.benchmark.partition('@')[0]}, {self.contrast}; percent, "
            "differences in points; 95 % intervals for other photos with these heads, judged on clusters "
            f"that it saw nothing of; gain: how much the {self.noun} shrinks; cost: accuracy lost on "
            f"{self.sides[0]}; labels: steps that used those of backgrounds; p corrected for "
            f"{counted(self.tests, 'test')}"
        )

    __str__ = TableView.__repr__  # in a pydantic model they differ
    __repr__ = TableView.__repr__


def read_mitigation(folder: Path) -> MitigationRecord:
    """Read what `counterground mitigate` wrote into a folder.

    Raises:
        CounterGroundError: there is no such file, or it is damaged.
    """
    path = folder / MITIGATION_FILE
    if not path.is_file():
        raise CounterGroundError(
            f"{folder} has no {MITIGATION_FILE}: make one with `counterground mitigate`."
        )
    try:
        return MitigationRecord.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CounterGroundError(f"{path} is damaged: mitigate again.") from error


def side_names(contrast: Contrast) -> tuple[str, str]:
    """Return what sentences call the photos of the two sides of a contrast."""
    if contrast == DROP:
        return "common photos", "counter photos"
    left, right = ("all photos" if side == "all" else side for side in contrast.titles)
    return left, right


def _cell(estimate: Estimate) -> Cell:
    return Cell(estimate.text, estimate.interval)


def _accuracies(of: Accuracies) -> list[Cell]:
    return [_cell(of.common), _cell(of.counter), Cell(percent(of.worst_group))]
