"""One benchmark on the page: everything its templates draw, from the runs made on it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from counterground.comparison import (
    REFEREE,
    Comparison,
    chosen_on_its_photos,
    identity_of,
    is_counteranimal,
    measured_referees,
    run_names,
)
from counterground.decision import Question, look_ahead
from counterground.findings import Facts, Finding, PairTest, Selection, Words, judge, selection_of
from counterground.metrics import (
    ALPHA,
    CLASSIFICATION,
    DROP,
    KEYS,
    Design,
    Estimate,
    in_setting,
    score_predictions,
)
from counterground.published import PaperSetting
from counterground.reporting.class_facts import class_facts
from counterground.reporting.page._causes import Causes, cause_findings, make_causes
from counterground.reporting.page._class_drops import ClassDrops, draw_class_drops
from counterground.reporting.page._classes import ClassPage
from counterground.reporting.page._comparisons import Comparisons, tested_pairs
from counterground.reporting.page._cures import Cures, cure_findings, make_cures
from counterground.reporting.page._design import Breakdown, DesignPart, break_down, describe_design
from counterground.reporting.page._forest import SIDES, Forest, Line, Mark, draw_forest, mark
from counterground.reporting.sides import strata_left_out
from counterground.reporting.style import FAMILY_NAMES
from counterground.results import (
    BenchmarkRecord,
    Measure,
    ModelScores,
    Run,
    has_unpaired_backgrounds,
    measures,
    one_sided_note,
    read_mitigation,
    regroup,
    strata_notes,
)
from counterground.text import and_more

_PHOTO = ("path", "class_index", "class_name", "group", "background")
_STRATA_NAMED = 6
ASKED = Question(0.05, 0.8)
"""The drop that photos must be enough to detect, 5 points as `discover` asks for, and with what power."""
MODELS_FIRST = 6
"""So many models have room in the first picture."""


@dataclass(frozen=True)
class Row:
    """One model of the table: scores, marker, family, size and training data, and effective robustness."""

    model: ModelScores
    mark: Mark
    family: str
    facts: str
    residual: Estimate | None

    @property
    def family_name(self) -> str:
        """The family in words."""
        return FAMILY_NAMES.get(self.family, FAMILY_NAMES["other"])


@dataclass(frozen=True)
class Section:
    """All runs on one version of one benchmark; rows with the largest drop come first.

    ``words`` are those of the section's contrast, ``strata`` says what it averages over. ``design`` holds
    the other contrasts, the cells and the attributes of the benchmark.

    ``chosen_by`` is the model that chose which backgrounds are common and counter; None if people did.
    ``backgrounds`` are the accuracies of the models on each background, highest first; None if photos are
    in groups.
    ``sides`` are the accuracies of each model on both sides of the contrast; None if none has both.
    ``paper`` says which of the paper's tables the baseline line is from; None if not all models can be
    compared with it.
    """

    number: int
    name: str
    version: str
    photos: int
    classes: int
    notes: list[str]
    warnings: list[str]
    words: Words
    strata: list[str]
    findings: list[Finding]
    lead: str | None
    chosen_by: str | None
    measures: list[Measure]
    backgrounds: Breakdown | None
    rows: list[Row]
    settings: list[str]
    sides: Forest | None
    paper: PaperSetting | None
    class_drops: ClassDrops | None
    design: DesignPart
    comparisons: Comparisons
    class_page: ClassPage
    causes: list[Causes]
    cures: list[Cures]

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

    @property
    def drawn(self) -> list[tuple[ModelScores, Mark]]:
        """The models with their markers."""
        return [(row.model, row.mark) for row in self.rows]

    @property
    def has_groups(self) -> bool:
        """Whether any model has a drop, or the difference of another contrast."""
        return any(self.words.knows(row.model) for row in self.rows)

    @property
    def one_sided(self) -> str:
        """Why the drop is not common minus counter accuracy; empty if it is."""
        return one_sided_note([row.model for row in self.rows]).strip() if self.words.is_drop else ""

    @property
    def same_photos(self) -> bool:
        """Whether all rows have the same numbers of photos and clusters, so that these need no columns."""
        return len({(row.model.photos.n, row.model.photos.clusters) for row in self.rows}) == 1

    @property
    def has_residuals(self) -> bool:
        """Whether any model has an effective robustness."""
        return any(row.residual is not None for row in self.rows)


@dataclass(frozen=True)
class _Known:
    """A model, the number of its run, its identity, and its row of ``Comparison.models``.

    ``point`` is None without a drop.
    """

    model: ModelScores
    run: int
    identity: dict[str, Any]
    point: dict[str, Any] | None


def make_section(
    number: int,
    runs: Sequence[Run],
    comparison: Comparison,
    class_page: Any,
    *,
    swapped: Sequence[Run] = (),
    mitigated: Sequence[Run] = (),
) -> Section:
    """Gather everything the page says about runs on one benchmark.

    Args:
        number: place of the section on the page, from 1.
        runs: runs on the same version of a benchmark.
        comparison: comparison of these runs, and of others on the page.
        class_page: function of the runs, their labelled models, the rows in the page's order, the facts of
            the classes, and ``lead``, the label of the model with the largest drop (None: none is judged).
        swapped: runs on composites that show what the background causes; they may be among ``runs``.
        mitigated: runs of `counterground mitigate`.
    """
    benchmark = runs[0].info.benchmark
    words = Words(comparison.contrast)
    known = label_models(runs, comparison)
    by_run = [[k.model for k in known if k.run == place] for place in range(len(runs))]
    known.sort(key=lambda k: _largest_drop_first(k, words))
    models = [k.model for k in known]
    tests = comparison.every_test.filter(pl.col("benchmark_version") == benchmark.version)
    results = [comparison.results_of(runs[k.run], k.model.setting._asdict()) for k in known]
    of_composites = runs[0].info.intervention is not None
    judged = Facts(
        models,
        words,
        {k.model.label: runs[k.run].info.candidates.chance for k in known},
        _selection(runs, known, words),
        of_composites=of_composites,
        generative=frozenset(k.model.label for k in known if k.model.setting.protocol != CLASSIFICATION),
    )
    lead = judged.lead.label if judged.lead else None
    compared = tested_pairs(tests, models, results, lead, words)
    rows = _rows(known)
    photos = pl.concat([run.photos.select(_PHOTO) for run in runs]).unique()
    facts = class_facts(photos, words)
    total = photos["path"].n_unique()
    marks = _marks_by_weights(runs, known, rows)
    notes = unique(note for run in runs for note in run.info.benchmark.notes)
    warnings = _warnings(runs)
    page: ClassPage = class_page(runs, by_run, rows, facts, lead=lead)
    causes = _causes(swapped, marks, len(rows), (*notes, *warnings))
    cures = [_cures(run, marks, benchmark, warnings) for run in mitigated]
    further = [*cause_findings(causes, lead), *cure_findings(cures, lead, words.contrast)]
    if lead is not None:
        k = next(k for k in known if k.model.label == lead)
        level = _level(
            [words.difference(m).p_value for m in judged.judged], words.difference(k.model).p_value
        )
        further.append(_photos_needed(runs[k.run], k.model, words, level, of_composites=of_composites))
        corrected = _at_level(runs[k.run], k.model, words, level)
        judged = replace(judged, corrected=corrected, tests=_tests(compared))
    judged = replace(judged, further=further)
    return Section(
        number=number,
        name=benchmark.name,
        version=benchmark.version,
        photos=total,
        classes=photos["class_index"].n_unique(),
        notes=notes,
        warnings=warnings,
        words=words,
        strata=_strata(runs, words),
        findings=judge(judged),
        lead=lead,
        chosen_by=_chosen_by(runs, known),
        measures=_measures(models, words, runs[0].design),
        backgrounds=break_down([(k.model, runs[k.run]) for k in known], ("background",))
        if any(map(has_unpaired_backgrounds, runs))
        else None,
        rows=rows,
        settings=unique(map(_setting, runs)),
        sides=_sides(models, words),
        paper=comparison.setting if all(k.point["comparable"] for k in known if k.point) else None,
        class_drops=draw_class_drops([(row.model, row.mark) for row in rows], facts, words),
        design=describe_design(runs, [(k.model, runs[k.run]) for k in known], words),
        comparisons=compared,
        class_page=page,
        causes=causes,
        cures=cures,
    )


def _level(p_values: Sequence[float | None], own: float | None) -> float:
    """Return the level at which Holm tests one of several p-values, or stops before it."""
    known = sorted(p for p in p_values if p is not None)
    for place, p in enumerate(known):
        level = ALPHA / (len(known) - place)
        if p >= level or p == own:
            return level
    return ALPHA


def _at_level(run: Run, model: ModelScores, words: Words, level: float) -> Estimate:
    """Return a model's difference with an interval that agrees with its corrected test."""
    own = words.difference(model)
    if level == ALPHA or own.low is None:
        return own
    rows = run.rows.filter(in_setting(model.setting._asdict()))
    design = replace(run.design, contrasts=(words.contrast,))
    (found,) = regroup(score_predictions(rows, by_class=False, alpha=level, design=design))
    return replace(words.difference(found), value=own.value, p_value=own.p_value)


def _photos_needed(
    run: Run, model: ModelScores, words: Words, level: float, *, of_composites: bool
) -> Finding:
    """Say whether there are enough photos, as `counterground plan` does.

    The largest of several differences needs more photos: the number corrected for them decides.
    """
    answers = run.answers[tuple(model.setting._asdict()[name] for name in KEYS)]
    found = look_ahead(answers, ASKED, contrast=words.contrast, alpha=level)
    if isinstance(found, str):
        return Finding("no_plan", model.label, {"reason": found.rstrip(".")})
    difference = words.difference(model)
    numbers = {
        "photos": difference.n,
        "clusters": difference.clusters or 0,
        "rows": "composites" if of_composites else "photos",
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


def _tests(compared: Comparisons) -> dict[frozenset[str], PairTest]:
    return {
        frozenset((pair.model, pair.against)): PairTest(pair.drop.p_holm, pair.corrected_for)
        for pair in compared.pairs
        if pair.drop is not None and pair.drop.p_holm is not None
    }


def _marks_by_weights(
    runs: Sequence[Run], known: Sequence[_Known], rows: Sequence[Row]
) -> dict[str, tuple[str, Mark]]:
    """Return label and mark of the section's models by fingerprint, unless several of them share it."""
    found: dict[str, list[tuple[str, Mark]]] = {}
    for k, row in zip(known, rows, strict=True):
        found.setdefault(_fingerprint(runs[k.run], k.model.setting.model), []).append(
            (k.model.label, row.mark)
        )
    return {weights: of[0] for weights, of in found.items() if len(of) == 1}


def _fingerprint(run: Run, name: str) -> str:
    return next((record.fingerprint for record in run.info.models if record.name == name), name)


def _causes(
    swapped: Sequence[Run], marks: Mapping[str, tuple[str, Mark]], others: int, said: Collection[str]
) -> list[Causes]:
    """Return what runs on composites show, with models named and drawn as in the section's table."""
    names = run_names(swapped) if len(swapped) > 1 else [None] * len(swapped)
    found = []
    for run, name in zip(swapped, names, strict=True):
        records = {record.name: record for record in run.info.models}
        models = []
        for place, model in enumerate(regroup(run.estimates()), start=others):
            own = model.setting.model
            family = identity_of(own, records.get(own))["family"]
            label, drawn = marks.get(_fingerprint(run, own), (model.label, mark(place, family)))
            models.append((replace(model, label=label), drawn))
        # In the order of the section's table; models that are not in it come last.
        models.sort(key=lambda each: each[1].number)
        cautions = [*run.info.benchmark.notes, *_warnings([run])]
        found.append(
            make_causes(
                run,
                models,
                name=name,
                chose_pairs=chosen_on_its_photos(run),
                notes=[text for text in cautions if text not in said],
            )
        )
    return found


def _cures(
    run: Run, marks: Mapping[str, tuple[str, Mark]], benchmark: BenchmarkRecord, said: Collection[str]
) -> Cures:
    record = read_mitigation(run.path)
    label, _ = marks.get(_fingerprint(run, record.model), (record.model, None))
    own = run.info.model_warnings.get(record.model, [])
    repeated = {f"{each.model}: {text}" for each in record.methods for text in own}
    return make_cures(
        record,
        label,
        run.info.benchmark,
        benchmark,
        chose_pairs=chosen_on_its_photos(run),
        warnings=[text for text in _warnings([run]) if text not in (*said, *repeated)],
    )


def _largest_drop_first(known: _Known, words: Words) -> tuple[bool, float, float]:
    """Return a sort key; without a drop, highest balanced accuracy first."""
    drop, accuracy = words.difference(known.model).value, known.model.get("accuracy").value
    return known.point is None, -(drop or 0.0), -(accuracy or 0.0) if drop is None else 0.0


def label_models(runs: Sequence[Run], comparison: Comparison) -> list[_Known]:
    """Return the models of the runs, in order; what the comparison holds as one result is one model.

    The run's name is added to labels if two runs hold different results of the same model.
    """
    points = comparison.models.rows(named=True)
    found: list[_Known] = []
    taken: set[int] = set()
    for number, run in enumerate(runs):
        records = {record.name: record for record in run.info.models}
        for model in regroup(run.estimates(comparison.contrast)):
            place = comparison.place_of(run, model.setting._asdict())
            if place not in taken:
                name = model.setting.model
                point = None if place is None else points[place]
                found.append(_Known(model, number, identity_of(name, records.get(name)), point))
            if place is not None:
                taken.add(place)
    names = run_names(runs)
    runs_of_model: dict[str, set[int]] = {}
    for known in found:
        runs_of_model.setdefault(known.model.setting.model, set()).add(known.run)
    return [
        known
        if len(runs_of_model[known.model.setting.model]) == 1
        else replace(known, model=replace(known.model, label=f"{known.model.label} ({names[known.run]})"))
        for known in found
    ]


def _selection(runs: Sequence[Run], known: Sequence[_Known], words: Words) -> Selection:
    """Return which models chose the pairs; only contrasts that are about backgrounds have pairs."""
    if not words.about_backgrounds:
        return Selection()
    of_runs = [selection_of(run) for run in runs]
    effects = {
        k.model.label: of_runs[k.run].effects[k.model.setting.model]
        for k in known
        if k.model.setting.model in of_runs[k.run].effects
    }
    here, recorded = (getattr(of_runs[0], name) for name in ("on_these_photos", "is_known"))
    return Selection(effects, here or any(each.on_these_photos for each in of_runs), recorded)


def _chosen_by(runs: Sequence[Run], known: Sequence[_Known]) -> str | None:
    # The paper's benchmark comes as folders: no file says who chose.
    if is_counteranimal(runs[0]):
        return REFEREE
    discovery = runs[0].info.benchmark.discovery
    alone = discovery is not None and not (discovery.committee or discovery.earlier_referees)
    names = {each.model for run in runs for each in measured_referees(run, str(run.path))} if alone else set()
    labels = {k.model.label for k in known if k.model.setting.model in names}
    return labels.pop() if len(labels) == 1 else runs[0].info.benchmark.referee


def unique(texts: Iterable[str]) -> list[str]:
    """Return the texts in order, each once."""
    return list(dict.fromkeys(texts))


def _strata(runs: Sequence[Run], words: Words) -> list[str]:
    """Say what a contrast other than the drop averages over, and which strata do not count."""
    if words.about_backgrounds:
        return []
    left_out = unique(name for run in runs for name in strata_left_out(run.photos, words.contrast))
    named = [f"Left out: {and_more(left_out, _STRATA_NAMED)}."] if left_out else []
    return unique([*(note for run in runs for note in strata_notes(run, words.contrast)), *named])


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


def _rows(known: Sequence[_Known]) -> list[Row]:
    return [
        Row(
            k.model,
            mark(place, k.identity["family"]),
            k.identity["family"],
            _facts(k.identity),
            _residual(k.point),
        )
        for place, k in enumerate(known)
    ]


def _facts(identity: dict[str, Any]) -> str:
    parameters, data = identity["parameters"], identity["pretrain_dataset"]
    return ", ".join(
        [*([f"{parameters / 1e6:,.0f} million parameters"] if parameters else []), *filter(None, [data])]
    )


def _residual(point: dict[str, Any] | None) -> Estimate | None:
    if point is None or point["residual"] is None:
        return None
    return Estimate(point["residual"], point["residual_low"], point["residual_high"])


def _sides(models: Sequence[ModelScores], words: Words) -> Forest | None:
    known = [model for model in models if words.knows(model)][:MODELS_FIRST]
    lines = [
        Line(model.label, [figures.left, figures.right])
        for model, figures in ((model, model.of(words.contrast)) for model in known)
    ]
    return draw_forest(lines, list(zip((words.left, words.right), SIDES, strict=True)), unit="%")


def _warnings(runs: Sequence[Run]) -> list[str]:
    return unique(text for run in runs for text in run.info.all_warnings)


def _setting(run: Run) -> str:
    """Return the settings of a run in words."""
    info, space = run.info, run.info.candidates
    return f"{space.size} names ({space.name})" + "".join(
        f", {name} {getattr(info, name)}" for name in info.read_texts
    )
