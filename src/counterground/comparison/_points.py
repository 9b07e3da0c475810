"""Models as points: common and counter accuracy, and what is known of each; equal results are kept once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from counterground.comparison._published import (
    COUNTERANIMAL,
    LABEL_SPACE,
    PAPER_CONTRAST,
    PUBLISHED,
    data_size_of,
    is_filtered,
    is_published,
    paper_row,
    paper_rows,
    parameters_of,
    reproduction_rows,
    word_for,
)
from counterground.errors import UsageError, did_you_mean
from counterground.metrics import (
    COMPETING,
    DROP,
    GROUPS,
    KEYS,
    SETTING,
    SETTING_SCHEMA,
    SIDES,
    Answers,
    Contrast,
)
from counterground.published import SETTINGS, PaperSetting, SettingName, load_table
from counterground.results import ModelRecord, Run, near_chance, regroup, short_name
from counterground.text import counted

FAMILIES = ("clip", "imagenet", "lvlm", "other")
# Unreadable photos, and what figure 3 and the paper's accuracies disagree on.
_TOLERATED = 0.02


def run_rows(run: Run, source: str, paper: PaperSetting, contrast: Contrast = DROP) -> list[dict[str, Any]]:
    """Return a row per model and setting of a run that has both sides of a contrast.

    ``source`` names the run, ``paper`` says which rows of the paper it is compared with.
    """
    records = {record.name: record for record in run.info.models}
    obstacle = why_not_paper(run)
    if contrast != PAPER_CONTRAST:
        obstacle = f"the paper has no contrast {contrast.name!r}"
    photos = _photos_of_sides(run, contrast)
    rows = []
    for model in regroup(run.estimates(contrast).filter(pl.col("class_index").is_null())):
        sides, setting = model.of(contrast), model.setting
        if sides.difference.value is None:
            continue
        note = obstacle or _other_setting(setting.label_space, paper)
        row = identity_of(records[setting.model]) | photos | setting._asdict()
        for name, each in zip((*GROUPS, "drop"), sides, strict=True):
            row |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
        row |= {
            "source": source,
            "averaging": "balanced",
            "benchmark": run.info.benchmark.name,
            "benchmark_version": run.info.benchmark.version,
            "comparable": not note,
            "near_chance": near_chance(sides.left, run.info.candidates.chance),
            "note": note or None,
        }
        rows.append(row)
    return rows


def _photos_of_sides(run: Run, contrast: Contrast) -> dict[str, int]:
    """Return how many photos are on the left and on the right."""
    answers, counts = next(iter(run.answers.values())), {}
    for group, quantity in zip(GROUPS, SIDES, strict=True):
        partition, averages, signs = answers.averages(quantity, contrast)
        counts[f"n_{group}"] = int(partition.photos[averages[signs.index(1)].strata].sum())
    return counts


def family_of(record: ModelRecord) -> str:
    """Return ``clip`` (dual encoders), ``lvlm`` (generative models), ``imagenet`` or ``other``.

    ``imagenet`` are classifiers trained on ImageNet-1K and nothing else, as the paper's are; a fitted or
    mitigated head makes any model ``other``.
    """
    if record.has_other_head:
        return "other"
    if record.kind == "dual_encoder":
        return "clip"
    if record.kind == "generative":
        return "lvlm"
    return "imagenet" if record.description.get("training_data") == "ImageNet-1K" else "other"


def why_not_paper(run: Run) -> str:
    """Return why a run's photos are not those of the paper's rows, or an empty string.

    The photos per class and group decide, not the name: 45 classes in ImageNet order whose group sizes are
    those of figure 3, or those the accuracies imply, except for 2 % of the photos.
    """
    name = run.info.benchmark.name
    sizes = load_table("group_sizes").sort("class_id")
    of_group = {group: (pl.col("group") == group).sum() for group in GROUPS}
    found = run.photos.group_by("class_index").agg(**of_group).filter(pl.min_horizontal(GROUPS) > 0)
    if found.height != sizes.height:
        return f"{name} has {counted(found.height, 'class')} with both groups, CounterAnimal 45"
    printed, implied = (
        sizes.select(f"n_{group}{which}" for group in GROUPS).to_numpy() for which in ("", "_implied")
    )
    sizes_here = found.sort("class_index").select(GROUPS).to_numpy()
    differing = np.minimum(abs(sizes_here - printed), abs(sizes_here - implied)).sum()
    if differing > _TOLERATED * printed.sum():
        return f"classes and groups of {name} have other sizes than the paper's"
    return ""


def is_counteranimal(run: Run) -> bool:
    """Return whether a run calls its benchmark CounterAnimal, whatever photos, or composites, it holds."""
    return run.info.source.name.casefold() == COUNTERANIMAL


def _other_setting(candidates: str | None, paper: PaperSetting) -> str:
    theirs = LABEL_SPACE[paper.setup]
    if candidates != theirs:
        return f"candidate names are {candidates}, those of the paper's rows {theirs}"
    if paper.averaging == "unbalanced":
        return "accuracies are means over classes, those of the paper's rows over photos"
    return ""


def identity_of(record: ModelRecord) -> dict[str, Any]:
    """Return a model's identity in columns of ``model_points``, in the paper's words if it is the paper's."""
    name, row = record.name, paper_row(record)
    data = record.stated("training_data", str)
    data = row.pretrain_dataset if row and row.main_model else data and word_for(data)
    parameters = record.stated("parameters", int)
    if parameters is None and row:
        parameters = parameters_of(row.model)
    return {
        "model": name,
        "label": short_name(name) if name == record.spec else name,
        "family": family_of(record),
        "backbone": row.backbone if row else record.stated("architecture", str),
        "pretrain_dataset": data,
        "parameters": parameters,
        "data_size": data_size_of(data),
        "high_quality": is_filtered(data),
        "paper_model": row.main_model if row else None,
        "fingerprint": record.fingerprint,
        "weights": name if is_published(name, record) else f"{name} {record.fingerprint}",
    }


POINTS_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "label": pl.String,
    "family": pl.String,
    "source": pl.String,
    "backbone": pl.String,
    "pretrain_dataset": pl.String,
    "parameters": pl.Int64,
    "data_size": pl.Int64,
    "high_quality": pl.Boolean,
    "common": pl.Float64,
    "counter": pl.Float64,
    "drop": pl.Float64,
    "common_low": pl.Float64,
    "common_high": pl.Float64,
    "counter_low": pl.Float64,
    "counter_high": pl.Float64,
    "drop_low": pl.Float64,
    "drop_high": pl.Float64,
    "n_common": pl.Int64,
    "n_counter": pl.Int64,
    **SETTING_SCHEMA,
    "averaging": pl.String,
    "benchmark": pl.String,
    "benchmark_version": pl.String,
    "comparable": pl.Boolean,
    "near_chance": pl.Boolean,
    "paper_model": pl.String,
    "fingerprint": pl.String,
    "weights": pl.String,
    "note": pl.String,
}
"""Columns of ``model_points``; accuracies, drops and their intervals are fractions.

For a contrast other than the drop, ``common`` is left, ``counter`` is right, ``drop`` is the difference.
"""


def model_points(
    runs: Sequence[Run] = (),
    *,
    published: bool = True,
    reproduction: bool = False,
    setting: SettingName = "one-prompt",
    contrast: Contrast = DROP,
) -> pl.DataFrame:
    """Return models as points: one row per model, setting and source.

    Identical results of several runs (the same weights on the same photos against the same names, with the
    same answers; classifiers read neither names nor prompts) are one row.

    Args:
        runs: their models come last, in order; models without both groups are left out.
        published: put the paper's 43 models first and, for 1 vs. 20, the two LVLMs of Table 5.
        reproduction: add the 30 models of the 2025 reproduction, which has only one prompt, 1 vs. 1000.
        setting: which tables of the paper (``published.SETTINGS``).
        contrast: what is taken from runs; the paper has only the drop.

    Returns:
        The columns of ``POINTS_SCHEMA``. ``model`` is the paper's name or the spec, ``label`` a short one;
        ``family`` is ``clip``, ``imagenet``, ``lvlm`` or ``other``; ``source`` is ``paper``, ``reproduction``
        or the names of the runs' folders (``a, b`` if two hold it). ``parameters`` and ``data_size`` (pairs
        or images) come from ``published`` if the run does not say. ``drop`` of published rows is ``common``
        minus ``counter``, also where another is printed. The paper prints neither intervals nor which names
        it used (null). ``averaging`` is ``balanced`` (over classes), or ``unbalanced`` (over
        photos) for the paper's rows of that setting. ``comparable`` says that a run was measured on the
        photos and against the label space of the paper's rows; ``note`` says why not, or what contradicts a
        printed figure. ``near_chance``: the model hardly beats guessing, so a small drop says nothing.
        ``paper_model`` is the paper's name for a run's model if the weights are those of its main tables,
        null for other checkpoints of Table 9; ``fingerprint`` distinguishes two files with one specification,
        and ``weights`` is the same for all results of the same weights.

    Raises:
        UsageError: an unknown setting.
    """
    return gather(
        runs, published=published, reproduction=reproduction, setting=setting, contrast=contrast
    ).points


class Gathered(NamedTuple):
    """Points, and where they come from.

    Attributes:
        points: what ``model_points`` returns.
        runs: the (first) run that holds each point; None for published rows.
        places: what ``place_key`` returns -> place among the points, for every result of every run.
    """

    points: pl.DataFrame
    runs: list[Run | None]
    places: dict[tuple[Any, ...], int]

    @property
    def answers(self) -> list[Answers | None]:
        """What the model of each point answered; None for published rows."""
        rows = zip(self.runs, self.points.iter_rows(named=True), strict=True)
        return [None if run is None else answers_of(run, row) for run, row in rows]


def gather(
    runs: Sequence[Run],
    *,
    published: bool,
    reproduction: bool,
    setting: SettingName,
    contrast: Contrast = DROP,
) -> Gathered:
    """Return ``model_points`` with the runs that hold each point.

    Raises:
        UsageError: the paper has no such setting.
    """
    if setting not in SETTINGS:
        hint = did_you_mean(setting, SETTINGS)
        raise UsageError(f"The paper has no setting {setting!r}; choose one of {', '.join(SETTINGS)}.{hint}")
    rows: list[dict[str, Any]] = paper_rows(setting) if published else []
    if reproduction and setting == "one-prompt":
        rows += reproduction_rows()
    own = [
        (run, row)
        for run, name in zip(runs, run_names(runs), strict=True)
        for row in run_rows(run, name, SETTINGS[setting], contrast)
    ]
    results = deduplicate_results(own)
    places = {
        place_key(run, row): place for place, held in enumerate(results, start=len(rows)) for run, row in held
    }
    runs_of_points: list[Run | None] = [*[None] * len(rows), *(held[0][0] for held in results)]
    rows += [held[0][1] | {"source": ", ".join(row["source"] for _, row in held)} for held in results]
    if not rows:
        return Gathered(pl.DataFrame(schema=POINTS_SCHEMA), runs_of_points, places)
    columns = {name: [row.get(name) for row in rows] for name in POINTS_SCHEMA}
    points = pl.DataFrame(columns, schema=POINTS_SCHEMA)
    of_runs = ~pl.col("source").is_in(PUBLISHED)
    named = points.filter(of_runs).select("label", "model").unique()
    shared = named.filter(pl.len().over("label") > 1)["label"]  # short names of models of two libraries
    unlike = of_runs & pl.col("label").is_in(shared.implode())
    points = points.with_columns(label=pl.when(unlike).then("model").otherwise("label"))
    paper_model = pl.when(pl.col("source").is_in(PUBLISHED)).then(pl.col("model")).otherwise("paper_model")
    return Gathered(points.with_columns(paper_model=paper_model), runs_of_points, places)


def place_key(run: Run, setting: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what identifies a model under a setting in a run: the run's folder, the values of ``KEYS``."""
    return (run.path.resolve(), *(setting[name] for name in KEYS))


def titles(rows: pl.DataFrame) -> dict[Any, str]:
    """Return what the benchmarks of points or tests are called, by version.

    It is the benchmark's name, with the first eight digits of its version if two share the name.
    """
    places = rows.select("benchmark_version", "benchmark").unique(maintain_order=True)
    return titles_of(places.iter_rows())


def titles_of(places: Iterable[tuple[str | None, str]]) -> dict[Any, str]:
    """Return what ``titles`` does, for pairs of a version (None: the paper's photos) and a name."""
    places = list(places)
    named = Counter(name for version, name in places if version)
    return {
        version: f"{name} (version {version[:8]})" if version and named[name] > 1 else str(name)
        for version, name in places
    }


def by_place(points: pl.DataFrame) -> list[pl.DataFrame]:
    """Split points into those on the paper's photos, and those of each other benchmark and label space."""
    same, others = points.filter("comparable"), points.filter(~pl.col("comparable"))
    apart = others.group_by("benchmark_version", COMPETING, maintain_order=True)
    return [*([same] if same.height else []), *(part for _, part in apart)]


def run_names(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run: its folder's, preceded by the folders above where two runs share it.

    So is the name of a folder that is called like a published source (``PUBLISHED``). No other folders are
    named, since names are written into files that others read.
    """
    paths = [run.path.absolute().parts[1:] for run in runs]
    ends = Counter(parts[-depth:] for parts in paths for depth in range(1, len(parts) + 1))
    reserved = {(name,) for name in PUBLISHED}
    return [
        next(
            (
                "/".join(parts[-depth:])
                for depth in range(1, len(parts) + 1)
                if ends[parts[-depth:]] == 1 and parts[-depth:] not in reserved
            ),
            str(run.path.absolute()),
        )
        for run, parts in zip(runs, paths, strict=True)
    ]


_Result = tuple[Run, dict[str, Any]]


def deduplicate_results(rows: Sequence[_Result]) -> list[list[_Result]]:
    """Return rows that are one result together, in order of first appearance.

    Rows are one result if they have equal weights (name and fingerprint), the same version of a benchmark,
    the same competing names and the same answer to every photo. They must also have the same names and
    prompts, except for classifiers and fitted heads, which read neither.
    """
    runs = {id(run): run for run, _ in rows}
    names = {key: competing_names(run, runs.values()) for key, run in runs.items()}
    keys = []
    for run, row in rows:
        record = next(record for record in run.info.models if record.name == row["model"])
        asked = {
            name: row[name] for name in SETTING if record.reads_names or name not in ("names", "prompts")
        }
        weights = record.name, record.fingerprint
        keys.append((*weights, run.info.benchmark.version, names[id(run)], *asked.values()))
    times = Counter(keys)
    groups: dict[Any, list[_Result]] = {}
    for key, (run, row) in zip(keys, rows, strict=True):
        answers = answers_key(answers_of(run, row)) if times[key] > 1 else None
        groups.setdefault((key, answers), []).append((run, row))
    return list(groups.values())


def competing_names(run: Run, runs: Iterable[Run]) -> str:
    """Return what runs on one benchmark share if the same names compete, however prompts write them.

    A built-in label space has a version for each way of writing its names. Where one way has several
    versions, they are told apart.
    """
    info, space = run.info, run.info.candidates
    alike = {
        other.info.candidates.version
        for other in runs
        if (other.info.benchmark.version, other.info.candidates.name, other.info.names)
        == (info.benchmark.version, space.name, info.names)
    }
    return f"{space.name} {space.source if space.is_built_in and len(alike) == 1 else space.version}"


def answers_of(run: Run, row: dict[str, Any]) -> Answers:
    """Return what the model of a row answered."""
    return run.answers[tuple(row[name] for name in KEYS)]


def answers_key(found: Answers) -> tuple[bytes, bytes]:
    """Return what equal answers to the same photos share."""
    return found.photos.fingerprint, found.rows.hash_rows(seed=0).to_numpy().tobytes()
