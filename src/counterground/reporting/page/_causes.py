"""What the background causes: a run on composites, as an answer and as a part of a section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from counterground.findings import Finding
from counterground.metrics import SIGNIFICANT, Estimate, holm, in_setting
from counterground.reporting.page._forest import Forest, Line, Mark, draw_forest
from counterground.results import InterventionRecord, ModelScores, Run, effect_title
from counterground.text import counted, p_equals

PLACEBO = 0.02
"""Cost of editing alone (fraction) above which the page warns."""
_PARTS = ("observed_drop", "background_effect", "background_part", "size_effect", "rest")
_PARTS_OF_A_CLASS = ("observed_drop", "background_effect", "size_effect", "rest")
_COSTS = ("pasted_cost", "refilled_cost", "same_label_cost")
_MEANINGS = {
    "observed_drop": "Accuracy on common minus counter photos, of the photos whose objects were cut out.",
    "background_effect": "Accuracy on the same objects: common minus counter backgrounds.",
    "background_part": "The same, over the classes that the drop is measured on.",
    "size_effect": "Accuracy on the same objects and background: sizes and positions of common minus those "
    "of counter photos.",
    "rest": "What neither explains: other differences between the photos.",
    "background_share": "Only where the drop is clearly above 0.",
    "mixed_same": "Accuracy on backgrounds of other photos of the class.",
    "mixed_rand": "Accuracy on backgrounds of photos of any class.",
    "bg_gap": "Mixed-Same minus Mixed-Rand (Xiao et al. 2021).",
    "adversarial": "Share of objects, on backgrounds of other classes; it grows with the number of these.",
    "flip_share": "Share of objects; it grows with the number of backgrounds.",
    "background_only": "The object is removed.",
    "pasted_cost": "Placebo: accuracy lost when an object is pasted onto its own photo.",
    "refilled_cost": "Placebo: accuracy lost when it is pasted onto its own background, filled in behind it.",
    "same_label_cost": "Placebo: accuracy lost on another photo’s background of the same label.",
}
_SHARES = {
    "background_share",
    "mixed_same",
    "mixed_rand",
    "adversarial",
    "flip_share",
    "background_only",
}
_NOTHING = Estimate()


_EFFECT = "the effect, too, where a label has few photographs"


@dataclass(frozen=True)
class ModelEffects:
    """The estimates of one model on composites.

    ``rows`` are those of ``metrics.swap_effects`` by metric, class and background (None: all classes, no
    background).
    """

    label: str
    mark: Mark
    rows: Mapping[tuple[str, str | None, str | None], Mapping[str, Any]]

    def get(self, estimate: str, class_name: str | None = None, background: str | None = None) -> Estimate:
        """Return an estimate; one without a value if the composites do not show it."""
        row = self.rows.get((estimate, class_name, background))
        return _NOTHING if row is None else Estimate.of(row)

    @property
    def placebos(self) -> list[str]:
        """The placebos whose cost is beyond `PLACEBO`, in either direction."""
        return [name for name in _COSTS if abs(self.get(name).value or 0.0) > PLACEBO]


class EffectRow(NamedTuple):
    """A row of the table: an estimate, what it is, and its figures.

    ``is_share``: whether the figures are shares, which have no sign. ``flagged``: which are placebos to mark.
    """

    title: str
    meaning: str
    figures: list[Estimate]
    is_share: bool
    flagged: list[bool]


class Numbers(NamedTuple):
    """A row of a table of numbers below a chart: the figures of each model."""

    title: str
    figures: list[list[Estimate]]


@dataclass(frozen=True)
class Causes:
    """What one run on composites shows.

    ``name`` is the run's, if there are several. ``about`` says which objects were put on which backgrounds.
    ``chose_pairs`` says whether the pairs were chosen on the photos of the objects. ``notes`` are the notes
    and warnings of this run that the section does not have.
    """

    name: str | None
    about: str
    chose_pairs: bool
    notes: list[str]
    models: list[ModelEffects]
    parts: Forest | None
    table: list[EffectRow]
    backgrounds: Forest | None
    background_numbers: list[Numbers]
    classes: Forest | None
    class_numbers: list[Numbers]

    @property
    def is_placebo_large(self) -> bool:
        """Whether editing alone changes the accuracy of a model by more than `PLACEBO`."""
        return any(model.placebos for model in self.models)


def make_causes(
    run: Run,
    models: Sequence[tuple[ModelScores, Mark]],
    *,
    name: str | None = None,
    chose_pairs: bool = False,
    notes: Sequence[str] = (),
) -> Causes:
    """Gather what a run on composites shows.

    Args:
        run: run with an intervention.
        models: models of the run, with their marks on the page.
        name: name of the run, if there are several.
        chose_pairs: whether the pairs were chosen on the photos of the objects.
        notes: notes and warnings of the run that the section does not have.
    """
    record = run.info.intervention
    assert record is not None
    effects, class_names = run.effects(), dict(run.photos.select("class_index", "class_name").unique().rows())
    known = []
    for model, mark in models:
        rows = effects.filter(in_setting(model.setting._asdict())).iter_rows(named=True)
        by = {
            (
                row["metric"],
                class_names.get(row["class_index"]),
                row["level"] if row["column"] == "background" else None,
            ): row
            for row in rows
        }
        known.append(ModelEffects(model.label, mark, by))
    labels = [(model.label, model.mark) for model in known]
    classes = sorted({key[1] for model in known for key in model.rows if key[1] is not None})
    names = sorted({key[2] for model in known for key in model.rows if key[2] is not None and key[1] is None})
    names.sort(key=lambda each: -_mean(_of(known, "background_against_mean", background=each)))
    classes.sort(key=lambda each: -_mean(_of(known, "background_effect", each)))
    return Causes(
        name=name,
        about=_about(record),
        chose_pairs=chose_pairs,
        notes=list(notes),
        models=known,
        parts=draw_forest([Line(_title(known, each), _of(known, each)) for each in _PARTS], labels),
        table=_table(known),
        backgrounds=draw_forest(
            [Line(each, _of(known, "background_against_mean", background=each)) for each in names], labels
        ),
        background_numbers=[
            Numbers(
                each,
                [
                    [model.get(f"background_against_{against}", None, each) for against in ("mean", "grey")]
                    for model in known
                ],
            )
            for each in names
        ],
        classes=draw_forest([Line(each, _of(known, "background_effect", each)) for each in classes], labels),
        class_numbers=[
            Numbers(each, [[model.get(part, each) for part in _PARTS_OF_A_CLASS] for model in known])
            for each in classes
        ],
    )


def _title(models: Sequence[ModelEffects], estimate: str, level: str | None = None) -> str:
    """Return the title of an estimate; the drop may be decomposed over fewer classes than show the effect."""
    has_part = any(model.get("background_part").value is not None for model in models)
    return effect_title(estimate, level, has_part=has_part)


def cause_findings(causes: Sequence[Causes], lead: str | None) -> list[Finding]:
    """Say how much of the drop is the background, for the lead or else the model with the largest effect.

    Args:
        causes: what the runs on composites of a section show.
        lead: label of the model that the section's verdict is about.
    """
    pairs = [(each, model) for each in causes for model in each.models]
    if not pairs:
        return []
    measured = [pair for pair in pairs if pair[1].get("background_effect").value is not None]
    if not measured:
        return [Finding("no_effect")]
    # A run without the effect, such as one for the BG-Gap, says nothing against another that measures it.
    of_lead = [pair for pair in measured if pair[1].label == lead]
    largest = max(measured, key=lambda pair: pair[1].get("background_effect").value or 0.0)
    found, model = of_lead[0] if of_lead else largest
    corrected = holm(each.get("background_effect").p_value for _, each in pairs)
    p = next(p for (_, each), p in zip(pairs, corrected, strict=True) if each is model)
    effect = model.get("background_effect")
    known = effect.low is not None and effect.high is not None
    clear = known and (effect.low or 0.0) > 0 and p is not None and p < SIGNIFICANT
    numbers = {"p": p_equals(p), "effects": len(measured)}
    findings = [Finding.of("caused" if clear else "not_caused", model.label, effect, **numbers)]
    if found.chose_pairs:
        findings.append(Finding("inflated_too", "", {"what": _EFFECT}))
    if model.placebos:
        cost = max((model.get(name).value or 0.0 for name in model.placebos), key=abs)
        findings.append(Finding("placebo_large", model.label, {"cost": cost}))
    return findings


def _about(record: InterventionRecord) -> str:
    hold = record.placement == "hold"
    placed = "at their own sizes and positions" if hold else "at sizes and positions drawn from their class"
    objects, backgrounds = (counted(each, "photo") for each in (record.foregrounds, record.backgrounds))
    return f"The objects of {objects}, {placed}, on the backgrounds of {backgrounds} of {record.source.name}."


def _table(models: Sequence[ModelEffects]) -> list[EffectRow]:
    rows = []
    for name, meaning in _MEANINGS.items():
        figures = _of(models, name)
        if any(figure.value is not None for figure in figures):
            known = [row for model in models if (row := model.rows.get((name, None, None)))]
            flagged = [name in model.placebos for model in models]
            title = _title(models, name, known[0]["level"])
            rows.append(EffectRow(title, meaning, figures, name in _SHARES, flagged))
    return rows


def _of(
    models: Sequence[ModelEffects],
    estimate: str,
    class_name: str | None = None,
    background: str | None = None,
) -> list[Estimate]:
    return [model.get(estimate, class_name, background) for model in models]


def _mean(figures: Sequence[Estimate]) -> float:
    known = [figure.value for figure in figures if figure.value is not None]
    return sum(known) / len(known) if known else float("-inf")
