"""What the background causes: a run on composites, as an answer and as a part of a section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from counterground.metrics import holm, in_setting
from counterground.reporting.page._evidence import Answer
from counterground.reporting.page._forest import Forest, Line, draw_forest
from counterground.reporting.page._marks import Mark
from counterground.reporting.page._verdict import CAUSE
from counterground.results import (
    EFFECTS,
    SIGNIFICANT,
    BenchmarkRecord,
    Estimate,
    InterventionRecord,
    ModelScores,
    Run,
    effect_title,
    p_equals,
)
from counterground.text import counted

PLACEBO = 0.02
"""Cost of editing alone (fraction) above which the page warns."""
_PARTS = ("observed_drop", "background_effect", "size_effect", "rest")
_PARTS_OF_FEWER = ("background_effect", "observed_drop", "background_part", "size_effect", "rest")
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
    "background_only": "The object is removed",
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


_CHOSEN = (
    "The pairs were chosen on these photos: if a label has few photographs, this inflates the effect, too."
)


@dataclass(frozen=True)
class ModelEffects:
    """The estimates of one model on composites.

    ``rows`` are those of ``metrics.swap_effects`` by estimate, class and background (None: all classes, no
    background).
    """

    label: str
    mark: Mark
    rows: Mapping[tuple[str, str | None, str | None], Mapping[str, Any]]

    def get(self, estimate: str, class_name: str | None = None, background: str | None = None) -> Estimate:
        """Return an estimate; one without a value if the composites do not show it."""
        row = self.rows.get((estimate, class_name, background))
        return _NOTHING if row is None else Estimate.of(row)

    def classes(self, estimate: str) -> int:
        """Return the number of classes that an estimate is averaged over."""
        row = self.rows.get((estimate, None, None))
        return 0 if row is None else row["classes"]

    @property
    def placebos(self) -> list[tuple[str, Estimate]]:
        """The placebos whose cost is beyond `PLACEBO`, in either direction."""
        costs = [(name, self.get(name)) for name in _COSTS]
        return [(name, cost) for name, cost in costs if abs(cost.value or 0.0) > PLACEBO]


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

    ``name`` is the run's, if there are several. ``about`` says which objects were put on which backgrounds,
    ``limits`` whether these are other photos than the section's, or not all of them, or were evaluated with
    other settings. ``chose_pairs`` says whether the pairs were chosen on the photos of the objects. ``notes``
    are the notes and warnings of this run that the section does not have.
    """

    name: str | None
    about: str
    limits: str
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
    of: BenchmarkRecord | None,
    photos: int,
    *,
    name: str | None = None,
    setting: str = "",
    chose_pairs: bool = False,
    notes: Sequence[str] = (),
) -> Causes:
    """Gather what a run on composites shows.

    Args:
        run: run with an intervention.
        models: models of the run, with their marks on the page.
        of: photos that the section is about; None if it is about the composites.
        photos: number of those photos.
        name: name of the run, if there are several.
        setting: settings of the run, if they are not the section's.
        chose_pairs: whether the pairs were chosen on the photos of the objects.
        notes: notes and warnings of the run that the section does not have.
    """
    record = run.info.intervention
    assert record is not None
    effects = run.effects()
    known = []
    for model, mark in models:
        rows = effects.filter(in_setting(model.setting._asdict())).iter_rows(named=True)
        by = {(row["estimate"], row["class_name"], row["background"]): row for row in rows}
        known.append(ModelEffects(model.label, mark, by))
    labels = [(model.label, model.mark) for model in known]
    classes = sorted({key[1] for model in known for key in model.rows if key[1] is not None})
    names = sorted({key[2] for model in known for key in model.rows if key[2] is not None and key[1] is None})
    names.sort(key=lambda each: -_mean(_of(known, "background_against_mean", background=each)))
    classes.sort(key=lambda each: -_mean(_of(known, "background_effect", each)))
    return Causes(
        name=name,
        about=_about(record, of, photos),
        limits=" ".join(filter(None, [_limits(record, of, photos), other_setting(setting)])),
        chose_pairs=chose_pairs,
        notes=list(notes),
        models=known,
        parts=_parts(known, labels)
        if any(model.get("background_effect").value is not None for model in known)
        else None,
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
            Numbers(each, [[model.get(part, each) for part in _PARTS] for model in known]) for each in classes
        ],
    )


def _parts(models: Sequence[ModelEffects], labels: Sequence[tuple[str, Mark]]) -> Forest | None:
    is_of_fewer = _is_of_fewer(models)
    lines = [
        Line(effect_title(each, has_part=is_of_fewer), _of(models, each))
        for each in (_PARTS_OF_FEWER if is_of_fewer else _PARTS)
    ]
    return draw_forest(lines, labels)


def _is_of_fewer(models: Sequence[ModelEffects]) -> bool:
    """Whether the drop is decomposed over fewer classes than show the background effect."""
    return any(model.get("background_part").value is not None for model in models)


def cause_answer(causes: Sequence[Causes], lead: str | None) -> Answer | None:
    """Say how much of the drop is the background, for the lead or else the model with the largest effect.

    Args:
        causes: what the runs on composites of a section show.
        lead: label of the model that the section's verdict is about.
    """
    pairs = [(each, model) for each in causes for model in each.models]
    if not pairs:
        return None
    measured = [pair for pair in pairs if pair[1].get("background_effect").value is not None]
    # A run without the effect, such as one for the BG-Gap, says nothing against another that measures it.
    of_lead = [pair for pair in (*measured, *pairs) if pair[1].label == lead]
    largest = max(measured or pairs, key=lambda pair: pair[1].get("background_effect").value or 0.0)
    found, model = of_lead[0] if of_lead else largest
    corrected = holm(each.get("background_effect").p_value for _, each in pairs)
    p = next(p for (_, each), p in zip(pairs, corrected, strict=True) if each is model)
    answer, reason = _decomposed(model, p, len(measured), has_drop=lead is not None)
    more = [_CHOSEN if found.chose_pairs else "", _placebo_warning(model), found.limits]
    if model.label != lead and len(measured) > 1:
        more.insert(0, f"Selected as the largest of {len(measured)} effects, it may be somewhat inflated.")
    return Answer(CAUSE, answer, " ".join(filter(None, [reason, *more])))


def _decomposed(model: ModelEffects, p: float | None, effects: int, *, has_drop: bool) -> tuple[str, str]:
    """Return answer and reason; ``p``: of the background effect, corrected for the number of effects."""
    effect, drop = model.get("background_effect"), model.get("observed_drop")
    if effect.value is None:
        return _without_pairs(model, has_drop=has_drop)
    size = f"{effect.text} points {effect.interval}".rstrip()
    turn = "when the same objects stand on counter instead of common backgrounds"
    if effect.low is None or effect.high is None:
        few = "too few objects or backgrounds for an interval"
        return "Unknown.", f"{model.label} loses {effect.text} points {turn}: {few}. {_other_parts(model)}"
    if effect.low <= 0 <= effect.high or (p is not None and p >= SIGNIFICANT):
        doubt = f"{model.label} loses {size} {turn}, which is not significantly different from 0"
        if not effect.low <= 0 <= effect.high:
            doubt += f" ({p_equals(p)}, Holm-corrected over {effects} effects)"
        return "No significant part.", f"{doubt}. {_other_parts(model)}"
    if effect.value < 0:
        gained = Estimate(-effect.value, -effect.high, -effect.low)
        gains = f"{model.label} gains {gained.text} points {gained.interval} {turn}"
        return "None.", f"{gains}. {_other_parts(model)}"
    if model.get("background_part").value is not None:
        return f"{size}.", f"{model.label} loses that much {turn}. {_other_parts(model)}"
    whole = f", of a drop of {drop.text} {drop.interval}".rstrip() if drop.value is not None else ""
    share = model.get("background_share")
    portion = f": {share.text}\u00a0% {share.interval} of the drop" if share.value is not None else ""
    return (
        f"{size}{whole}.",
        f"{model.label} loses that much {turn}{portion}. {_other_parts(model, says_drop=False)}",
    )


def _other_parts(model: ModelEffects, *, says_drop: bool = True) -> str:
    drop, size, rest = (model.get(name) for name in ("observed_drop", "size_effect", "rest"))
    if drop.value is None:
        return "The drop of these photos was not measured."
    part = model.get("background_part")
    size_of_drop = f"The drop of these photos is {drop.text} points {drop.interval}".rstrip()
    whole = f"{size_of_drop}. " if says_drop else ""
    if part.value is not None:
        few, every = (model.classes(name) for name in ("observed_drop", "background_effect"))
        show, them = ("shows", "it") if few == 1 else ("show", "them")
        whole = (
            f"Only {few:,} of these {every:,} classes {show} all parts of the drop. "
            f"Over {them} the drop is {drop.text} points {drop.interval}".rstrip()
            + f". Background: {part.text} {part.interval}".rstrip()
            + ". "
        )
    remains = f"{rest.text} {rest.interval}".rstrip()
    if size.value is None:
        return f"{whole}The rest, with size and position: {remains}."
    return f"{whole}Size and position: {size.text} {size.interval}".rstrip() + f". Rest: {remains}."


def _without_pairs(model: ModelEffects, *, has_drop: bool) -> tuple[str, str]:
    gap = model.get("bg_gap")
    why = "The composites do not show the same objects on both common and counter backgrounds."
    if gap.value is None:
        return "Not measured.", why
    clear = gap.low is not None and gap.high is not None and not gap.low <= 0 <= gap.high
    doubt = "" if clear else ", which is not significantly different from 0"
    reason = (
        f"{why} {model.label}’s BG-Gap, accuracy on backgrounds of the same class minus on those of any "
        f"class, is {gap.text} points {gap.interval}".rstrip()
    )
    known = has_drop or model.get("observed_drop").value is not None
    return "Not measured." if known else "There is no drop to divide.", f"{reason}{doubt}."


def _placebo_warning(model: ModelEffects) -> str:
    if not model.placebos:
        return ""
    costs = "; ".join(
        f"{EFFECTS[name][0].lower()}{EFFECTS[name][1:]} {cost.signed} {cost.interval}".rstrip()
        for name, cost in model.placebos
    )
    return f"Placebos beyond ±2 points, from editing alone: {costs}."


def _about(record: InterventionRecord, of: BenchmarkRecord | None, photos: int) -> str:
    placed = (
        "at their own sizes and positions"
        if record.settings.get("placement") == "hold"
        else "at sizes and positions drawn from their class"
    )
    source = record.source.name
    objects, backgrounds = (counted(each, "photo") for each in (record.foregrounds, record.backgrounds))
    if of is not None and not _is_same(of, record.source):
        source += f", another set of photos (version {record.source.version[:12]})"
    elif of is not None and record.foregrounds < photos:
        objects = f"{record.foregrounds:,} of the {photos:,} photos"
    return f"The objects of {objects}, {placed}, on the backgrounds of {backgrounds} of {source}."


def _is_same(one: BenchmarkRecord, other: BenchmarkRecord) -> bool:
    return (one.name, one.version) == (other.name, other.version)


def other_setting(setting: str) -> str:
    """Say that models were evaluated with other settings than in the section; empty if they were not."""
    return f"Measured with other settings than the scores below: {setting}." if setting else ""


def _limits(record: InterventionRecord, of: BenchmarkRecord | None, photos: int) -> str:
    """Say if the objects are not from the photos that the section is about, or not from all of them."""
    if of is None:
        return ""
    if not _is_same(of, source := record.source):
        return f"Measured on another set of photos: {source.name}, version {source.version[:12]}."
    if record.foregrounds < photos:
        return f"Measured with the objects of {record.foregrounds:,} of the {photos:,} photos."
    return ""


def _table(models: Sequence[ModelEffects]) -> list[EffectRow]:
    rows = []
    for name, what in _MEANINGS.items():
        figures = _of(models, name)
        if all(figure.value is None for figure in figures):
            continue
        k = next(
            (model.rows[name, None, None]["k"] for model in models if (name, None, None) in model.rows), None
        )
        meaning, has_part = what, _is_of_fewer(models)
        if (name == "observed_drop" or (has_part and name == "background_effect")) and (
            over := _over(models, name)
        ):
            meaning += f" Over {over}."
        if name == "background_only":
            chance = next((each for each in _of(models, "chance") if each.value is not None), None)
            meaning += f"; guessing would give {chance.text} %." if chance else "."
        flagged = [name in dict(model.placebos) for model in models]
        rows.append(
            EffectRow(effect_title(name, k=k, has_part=has_part), meaning, figures, name in _SHARES, flagged)
        )
    return rows


def _over(models: Sequence[ModelEffects], estimate: str) -> str:
    """Return how many classes and photos an estimate is over, in words; empty if models differ in them."""
    rows = [model.rows.get((estimate, None, None)) for model in models]
    found = {(row["classes"], row["n"]) for row in rows if row is not None}
    if len(found) != 1:
        return ""
    classes, photos = found.pop()
    noun = "photo" if estimate == "observed_drop" else "composite"
    return f"{counted(classes, 'class')}, {counted(photos, noun)}"


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
