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
from counterground.decision import Outlook, look_ahead
from counterground.metrics import CLASSIFICATION, DROP, KEYS, Design, Estimate
from counterground.published import PaperSetting
from counterground.reporting.class_facts import class_facts
from counterground.reporting.page._causes import Causes, cause_answer, make_causes
from counterground.reporting.page._class_drops import ClassDrops, draw_class_drops
from counterground.reporting.page._classes import ClassPage
from counterground.reporting.page._comparisons import Comparisons, tested_pairs
from counterground.reporting.page._cures import Cures, cure_answer, make_cures
from counterground.reporting.page._design import Breakdown, DesignPart, break_down, describe_design
from counterground.reporting.page._evidence import Selection
from counterground.reporting.page._forest import SIDES, Forest, Line, Mark, draw_forest, mark
from counterground.reporting.page._verdict import ASKED, Ahead, Verdict, find_lead, judge
from counterground.reporting.sides import strata_left_out
from counterground.reporting.style import FAMILY_NAMES
from counterground.reporting.words import Words
from counterground.results import (
    BenchmarkRecord,
    Measure,
    ModelScores,
    Run,
    has_unpaired_backgrounds,
    measures,
    near_chance,
    one_sided_note,
    read_mitigation,
    regroup,
    strata_notes,
)
from counterground.text import and_more

_PHOTO = ("path", "class_index", "class_name", "group", "background")
_STRATA_NAMED = 6


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
    verdict: Verdict
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
    guessing = _guessing(runs, known, words)
    lead = find_lead(models, guessing, words)
    tests = comparison.every_test.filter(pl.col("benchmark_version") == benchmark.version)
    results = [comparison.results_of(runs[k.run], k.model.setting._asdict()) for k in known]
    compared = tested_pairs(tests, models, results, lead.label if lead else None, words)
    rows = _rows(known)
    photos = pl.concat([run.photos.select(_PHOTO) for run in runs]).unique()
    facts = class_facts(photos, words)
    total = photos["path"].n_unique()
    marks = _marks_by_weights(runs, known, rows)
    notes = unique(note for run in runs for note in run.info.benchmark.notes)
    warnings = _warnings(runs)
    page: ClassPage = class_page(runs, by_run, rows, facts, lead=lead.label if lead else None)
    causes = _causes(swapped, marks, len(rows), (*notes, *warnings))
    cures = [_cures(run, marks, benchmark, warnings) for run in mitigated]
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
        verdict=judge(
            models,
            compared,
            guessing=guessing,
            of_composites=runs[0].info.intervention is not None,
            words=words,
            selection=_selection(runs, known, words),
            generative={k.model.label for k in known if k.model.setting.protocol != CLASSIFICATION},
            cause=cause_answer(causes, lead.label if lead else None),
            cure=cure_answer(cures, lead.label if lead else None, words.contrast),
            ahead=_ahead(runs, known, words),
        ),
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


def _ahead(runs: Sequence[Run], known: Sequence[_Known], words: Words) -> Ahead:
    """Return the function that says what photos detect of a drop, as `counterground plan` computes it."""
    places = {k.model.label: (runs[k.run], k.model.setting) for k in known}

    def ahead(label: str, alpha: float) -> Outlook | str:
        run, setting = places[label]
        answers = run.answers[tuple(setting._asdict()[name] for name in KEYS)]
        return look_ahead(answers, ASKED, contrast=words.contrast, alpha=alpha)

    return ahead


def _guessing(runs: Sequence[Run], known: Sequence[_Known], words: Words) -> set[str]:
    """Return the labels of models near chance: on common photos or, if no drop is known, on all photos."""
    found = {k.model.label for k in known if k.point and k.point["near_chance"]}
    if any(words.knows(k.model) for k in known):
        return found
    chance = [runs[k.run].info.candidates.chance for k in known]
    return found | {
        k.model.label
        for k, guess in zip(known, chance, strict=True)
        if near_chance(k.model.get("accuracy"), guess)
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
    effects = [{each.model: each.effect for each in measured_referees(run, str(run.path))} for run in runs]
    referees = {
        k.model.label: effects[k.run][k.model.setting.model]
        for k in known
        if k.model.setting.model in effects[k.run]
    }
    return Selection(referees, any(map(chosen_on_its_photos, runs)))


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
    known = [model for model in models if words.knows(model)]
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
