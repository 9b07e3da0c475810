"""One benchmark on the page: everything its templates draw, from the runs made on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import polars as pl

from counterground.catalogue import Finding
from counterground.comparison import (
    Comparison,
    identity_of,
    place_key,
    run_names,
    selection_of,
    tests_table,
)
from counterground.decision import Question, look_ahead
from counterground.findings import (
    Composites,
    Facts,
    Mitigation,
    PairTest,
    Words,
    facts_of,
    judge,
)
from counterground.metrics import (
    BACKGROUND_EFFECT,
    DROP,
    KEYS,
    Answers,
    Contrast,
    Design,
    Estimate,
    ScoreKey,
    corrected_differences,
    tests_against,
)
from counterground.published import PaperSetting
from counterground.reporting._blocks import (
    Block,
    Effects,
    class_block,
    design_blocks,
    mitigation_block,
)
from counterground.reporting._chart import MODELS_SHOWN, SIDES, Chart, Line, Mark, draw_chart, mark
from counterground.reporting._classes import ClassPage, make_class_page
from counterground.reporting.shell import FAMILY_NAMES
from counterground.reporting.shown_photos import ClassFacts, PhotoSource, class_facts
from counterground.results import (
    Measure,
    ModelScores,
    Run,
    measures,
    read_mitigation,
    regroup,
    strata_notes,
)

_PHOTO = ("path", "class_index", "class_name", "group", "background")
ASKED = Question(0.05, 0.8)
"""The drop that photos must be enough to detect, 5 points as `discover` asks for, and with what power."""


@dataclass(frozen=True)
class Row:
    """A model of the table, and its run.

    Attributes:
        model: its scores, under the label of the page.
        run: where they are from.
        identity: family, parameters and training data.
        point: its row of ``Comparison.models``; None without a drop.
        mark: how it is drawn.
    """

    model: ModelScores
    run: Run
    identity: dict[str, Any]
    point: dict[str, Any] | None
    mark: Mark = SIDES[0]

    @cached_property
    def answers(self) -> Answers:
        """What the model answered."""
        return self.run.answers[self.model.setting[: len(KEYS)]]

    @property
    def facts(self) -> str:
        """The family, the number of parameters and the training data, as far as they are known."""
        parameters, data = self.identity["parameters"], self.identity["pretrain_dataset"]
        size = f"{parameters / 1e6:,.0f} million parameters" if parameters else None
        family = FAMILY_NAMES.get(self.identity["family"], FAMILY_NAMES["other"])
        return ", ".join(filter(None, [family, size, data]))

    @property
    def residual(self) -> Estimate:
        """The effective robustness."""
        return Estimate.of(self.point, "residual", bounds="residual_") if self.point else Estimate()


@dataclass(frozen=True)
class Section:
    """All runs on one version of one benchmark; rows with the largest drop come first.

    ``words`` are those of the section's contrast, ``strata`` says what it averages over. ``lead`` is the
    model that the claim is about. ``sides`` are the accuracies of each model on both sides of the contrast;
    None if none has both. ``paper`` says which of the paper's tables the line is from; None if not all
    models can be compared with it. ``blocks`` are the folded tables.
    """

    number: int
    name: str
    notes: list[str]
    warnings: list[str]
    words: Words
    strata: list[str]
    findings: list[Finding]
    lead: str | None
    measures: list[Measure]
    rows: list[Row]
    sides: Chart | None
    paper: PaperSetting | None
    class_page: ClassPage
    blocks: list[Block]

    @property
    def claim(self) -> Finding:
        """What was found, in one sentence."""
        return self.findings[0]

    @property
    def limits(self) -> list[Finding]:
        """What limits the claim: warnings first, then notes."""
        return [each for each in self.findings[1:] if each.severity != "step"]

    @property
    def steps(self) -> list[Finding]:
        """What to do next, the first one first."""
        return [each for each in self.findings if each.severity == "step"]

    def block(self, anchor: str) -> Block | None:
        """Return a folded table by its anchor; None if the page has none."""
        return next((block for block in self.blocks if block.anchor == anchor), None)

    @property
    def has_groups(self) -> bool:
        """Whether any model has a drop, or the difference of another contrast."""
        return any(self.words.knows(row.model) for row in self.rows)


def make_section(
    number: int,
    runs: Sequence[Run],
    comparison: Comparison,
    *,
    sources: Mapping[str, PhotoSource] = MappingProxyType({}),
    budget: float | None = None,
    swapped: Sequence[Run] = (),
    mitigated: Sequence[Run] = (),
) -> Section:
    """Gather everything the page says about runs on one benchmark.

    Args:
        number: place of the section on the page, from 1.
        runs: runs on the same version of a benchmark.
        comparison: comparison of these runs, and of others on the page.
        sources: files of photos by photo_id.
        budget: megabytes that photos may take; None shows none.
        swapped: runs on composites that show what the background causes; they may be among ``runs``.
        mitigated: runs of `counterground mitigate`.
    """
    benchmark, words = runs[0].info.benchmark, Words(comparison.contrast)
    labelled = label_models(runs, comparison)
    by_run = [[row.model for row in labelled if row.run is run] for run in runs]
    labelled.sort(key=lambda row: _largest_drop_first(row, words))
    rows = [replace(row, mark=mark(k, row.identity["family"])) for k, row in enumerate(labelled)]
    photos = pl.concat([run.photos.select(_PHOTO) for run in runs]).unique()
    facts = class_facts(photos, words)
    notes = unique(note for run in runs for note in run.info.benchmark.notes)
    warnings = _warnings(runs)
    tests = comparison.every_test.filter(pl.col("benchmark_version") == benchmark.version)
    effects = [Effects.of(run, _on_composites(run, rows)) for run in swapped]
    mitigations = [_mitigation(run, rows, benchmark.version) for run in mitigated]
    judged = facts_of([(row.model, row.run) for row in rows], words)
    judged = replace(
        judged,
        photos=_photos_needed(rows, judged) if judged.lead else None,
        tests=_pair_tests(tests, rows, comparison),
        composites=_composites(effects),
        mitigations=mitigations,
    )
    lead = judged.lead.label if judged.lead else None
    drawn = [(row.model.label, row.mark) for row in rows]
    lines = [_class_line(index, each, rows, words) for index, each in facts.items()]
    lines.sort(key=lambda line: (-line.mean, line.title))

    def blocks() -> Iterator[Block]:
        names = run_names(swapped) if len(swapped) > 1 else [""] * len(swapped)
        for name, effect in zip(names, effects, strict=True):
            cautions = [*effect.run.info.benchmark.notes, *_warnings([effect.run])]
            said = [text for text in cautions if text not in {*notes, *warnings}]
            yield from effect.blocks(name, said, by_class=not words.is_effect)
        for place, (run, each) in enumerate(zip(mitigated, mitigations, strict=True)):
            cautions = unique([*_warnings([run]), *each.record.notes])
            said = [text for text in cautions if text not in warnings]
            yield mitigation_block(each.record, said, anchor=f"cures{place or ''}-")
        yield from design_blocks([(row.model, row.run) for row in rows], drawn, words)
        if any(line.known for line in lines):
            yield class_block(lines, drawn, words)
        first = judged.lead if len(rows) > MODELS_SHOWN else None
        if tests.height:
            yield _tests_block(tests, words.contrast, first.setting.model if first else None)

    return Section(
        number=number,
        name=benchmark.name,
        notes=notes,
        warnings=warnings,
        words=words,
        strata=_strata(runs, words),
        findings=judge(judged),
        lead=lead,
        measures=_measures([row.model for row in rows], words, runs[0].design),
        rows=rows,
        sides=_sides(rows, words),
        paper=comparison.setting if all(row.point["comparable"] for row in rows if row.point) else None,
        class_page=make_class_page(
            runs,
            by_run,
            [row.model for row in rows],
            {index: facts[index] for index in (line.class_index for line in lines) if index is not None},
            lead=lead or next((row.model.label for row in rows if words.knows(row.model)), None),
            sources=sources,
            budget=budget,
            words=words,
        ),
        blocks=list(blocks()),
    )


def _photos_needed(rows: Sequence[Row], facts: Facts) -> Finding:
    """Say whether there are enough photos, as `counterground plan` does.

    The largest of several differences needs more photos: the number corrected for them decides.
    """
    model, words = facts.lead, facts.words
    assert model is not None
    answers = next(row.answers for row in rows if row.model is model)
    found = look_ahead(answers, ASKED, contrast=words.contrast, alpha=1 - facts.size.confidence)
    if isinstance(found, str):
        return Finding("no_plan", model.label, {"reason": found.rstrip(".")})
    difference = words.difference(model)
    numbers = {
        "photos": difference.n,
        "clusters": difference.clusters or 0,
        "rows": "composites" if facts.of_composites else "photos",
        "noun": words.noun,
        "drop": ASKED.drop,
        "power": ASKED.power,
        "smallest": found.smallest,
        "power_now": found.power_now,
    }
    if found.needed_at is not None and found.needed_at <= found.now:
        return Finding("photos_enough", "", numbers)
    needed = "more than 10 million" if found.needed is None else found.needed
    return Finding("photos_needed", "", {**numbers, "needed": needed})


def _pair_tests(
    tests: pl.DataFrame, rows: Sequence[Row], comparison: Comparison
) -> dict[frozenset[str], PairTest]:
    """Return the tests of the contrast by the labels of both models."""
    labels: dict[int | None, str] = {row.point["row"]: row.model.label for row in rows if row.point}
    pairs: dict[frozenset[str], PairTest] = {}
    for test in tests.filter(pl.col("p_corrected").is_not_null()).iter_rows(named=True):
        if ScoreKey.of(test) == comparison.contrast.difference_key:
            pair = frozenset(labels.get(comparison.place_of(test, side), side) for side in ("", "versus_"))
            pairs.setdefault(pair, PairTest(test["p_corrected"], test["family"]))
    return pairs


def _tests_block(tests: pl.DataFrame, contrast: Contrast, lead: str | None) -> Block:
    """Return the paired tests of all models, or those of ``lead`` if it was tested."""
    of_lead = tests.clear() if lead is None else tests_against(tests, lead)
    table = tests_table(of_lead if of_lead.height else tests, contrast)
    return Block("tests", replace(table, title="Models against each other"))


def _class_line(index: int, facts: ClassFacts, rows: Sequence[Row], words: Words) -> Line:
    estimates = [row.model.of(words.contrast, index).difference for row in rows]
    where = facts.change if words.is_drop else ""
    missing = all(each.value is None for each in estimates)
    return Line(facts.name, estimates, "photos on one side only" if missing else where, class_index=index)


def _on_composites(run: Run, rows: Sequence[Row]) -> list[tuple[ModelScores, Mark]]:
    """Return the models of a run on composites, named and drawn as in the section's table, others last."""
    known = _by_weights(rows)
    records = {record.name: record for record in run.info.models}
    models = []
    for place, model in enumerate(regroup(run.estimates()), start=len(rows)):
        record = records[model.setting.model]
        if row := known.get(record.fingerprint):
            models.append((replace(model, label=row.model.label), row.mark))
        else:
            models.append((model, mark(place, identity_of(record)["family"])))
    return sorted(models, key=lambda each: each[1].number)


def _by_weights(rows: Sequence[Row]) -> dict[str, Row]:
    """Return the rows by the fingerprint of their model, unless several share it."""
    times = Counter(row.identity["fingerprint"] for row in rows)
    return {weights: row for row in rows if times[weights := row.identity["fingerprint"]] == 1}


def _composites(effects: Sequence[Effects]) -> list[Composites]:
    """Return the effect of the background on each model, corrected for the number of models."""
    shown = [(each, label, answers) for each in effects for label, answers in each.answers.items()]
    corrected = corrected_differences(
        [
            answers.sides(BACKGROUND_EFFECT)
            if each.get(label, "background_effect").value is not None
            else None
            for each, label, answers in shown
        ]
    )
    return [
        Composites(label, effect, each.cost(label), selection_of(each.run).on_these_photos)
        for (each, label, _), effect in zip(shown, corrected, strict=True)
    ]


def _mitigation(run: Run, rows: Sequence[Row], version: str) -> Mitigation:
    record, known = read_mitigation(run.path), _by_weights(rows)
    for model in run.info.models:
        if model.name == record.model and model.fingerprint in known:
            record = record.model_copy(update={"model": known[model.fingerprint].model.label})
    return Mitigation(record, selection_of(run).on_these_photos, run.info.benchmark.version != version)


def _largest_drop_first(row: Row, words: Words) -> tuple[bool, float, float]:
    """Return a sort key; without a drop, highest balanced accuracy first."""
    drop, accuracy = words.difference(row.model).value, row.model.get("accuracy").value
    return row.point is None, -(drop or 0.0), -(accuracy or 0.0) if drop is None else 0.0


def label_models(runs: Sequence[Run], comparison: Comparison) -> list[Row]:
    """Return the models of the runs, in order; what the comparison holds as one result is one model.

    The run's name is added to labels if two runs hold different results of the same model.
    """
    points = comparison.models.with_row_index("row").rows(named=True)
    found: list[Row] = []
    taken: set[int] = set()
    for run in runs:
        records = {record.name: record for record in run.info.models}
        for model in regroup(run.estimates(comparison.contrast)):
            place = comparison.places.get(place_key(run, model.setting._asdict()))
            if place not in taken:
                name = model.setting.model
                point = None if place is None else points[place]
                found.append(Row(model, run, identity_of(records[name]), point))
            if place is not None:
                taken.add(place)
    names = {id(run): name for run, name in zip(runs, run_names(runs), strict=True)}
    runs_of_model: dict[str, set[int]] = {}
    for row in found:
        runs_of_model.setdefault(row.model.setting.model, set()).add(id(row.run))
    return [
        row
        if len(runs_of_model[row.model.setting.model]) == 1
        else replace(row, model=replace(row.model, label=f"{row.model.label} ({names[id(row.run)]})"))
        for row in found
    ]


def unique(texts: Iterable[str]) -> list[str]:
    """Return the texts in order, each once."""
    return list(dict.fromkeys(texts))


def _strata(runs: Sequence[Run], words: Words) -> list[str]:
    """Say what a contrast other than the drop averages over."""
    if words.about_backgrounds:
        return []
    return unique(note for run in runs for note in strata_notes(run, words.contrast))


def _measures(models: Sequence[ModelScores], words: Words, design: Design) -> list[Measure]:
    """Return the table's columns: the sides of the contrast, their difference, what is of no contrast."""
    others = {contrast.name for contrast in (*design.contrasts, words.contrast) if contrast != DROP}
    others |= {f"average({name})" for name in design.weights}
    found = [each for each in measures(models) if not {each.key.metric, each.key.contrast} & others]
    if words.is_drop:
        return found
    keys = (*words.contrast.side_keys, words.contrast.difference_key)
    meanings = (
        f"Accuracy on {words.left}.",
        f"Accuracy on {words.right}.",
        f"Accuracy on {words.left} minus accuracy on {words.right}, in points.",
    )
    own = [Measure(key, title, what) for key, title, what in zip(keys, words.titles, meanings, strict=True)]
    return [*own, *(each for each in found if each.key.level is None and each.key != DROP.difference_key)]


def _sides(rows: Sequence[Row], words: Words) -> Chart | None:
    shown = [row.model for row in rows if words.knows(row.model)][:MODELS_SHOWN]
    lines = [
        Line(model.label, [sides.left, sides.right])
        for model, sides in ((model, model.of(words.contrast)) for model in shown)
    ]
    return draw_chart(lines, list(zip((words.left, words.right), SIDES, strict=True)), unit="%", joined=True)


def _warnings(runs: Sequence[Run]) -> list[str]:
    return unique(text for run in runs for text in run.info.all_warnings)
